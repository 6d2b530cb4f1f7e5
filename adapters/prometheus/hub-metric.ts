import { Gauge, type OpenMetricsContentType, type PrometheusContentType, Registry } from 'prom-client'
import { type Distribution, HubError, type Instrument, type Labels } from 'wshub'
import type { HubSource } from './hub-source.ts'

type Metric = Awaited<ReturnType<Gauge['get']>>

/** A register of either format. */
export type AnyRegistry = Registry<PrometheusContentType> | Registry<OpenMetricsContentType>

/** A line of a scrape. */
type Value = Metric['values'][number] & { readonly metricName?: string }

/**
 * A metric whose values are those of hubs at the moment of a scrape. A counter and a histogram of
 * `prom-client` keep values of their own, and cannot be set, so each kind is based on a gauge here.
 */
export class HubMetric extends Gauge {
  readonly #name: string
  readonly #instrument: Instrument
  readonly #register: AnyRegistry
  readonly #sources = new Set<HubSource>()

  private constructor(name: string, instrument: Instrument, register: AnyRegistry) {
    super({ name, help: instrument.description, registers: [] })
    this.#name = name
    this.#instrument = instrument
    this.#register = register
  }

  /**
   * Returns the metric of that name in a register, which may serve other hubs already.
   * @throws {HubError} WSHUB_ERR_INVALID_OPTION when the name belongs to another metric
   */
  static of(name: string, instrument: Instrument, register: AnyRegistry): HubMetric {
    const metric: unknown = register.getSingleMetric(name)
    if (metric instanceof HubMetric) return metric
    if (metric === undefined) return new HubMetric(name, instrument, register)
    throw new HubError('WSHUB_ERR_INVALID_OPTION', `the register has another metric ${name}: set a prefix`)
  }

  /** Returns whether it has a hub with the same labels. */
  has(source: HubSource): boolean {
    return [...this.#sources].some((other) => other.equals(source))
  }

  /** Shows the values of a hub from now on. */
  add(source: HubSource): void {
    this.#sources.add(source)
    this.#register.registerMetric(this)
  }

  /** Stops showing the values of a hub. */
  delete(source: HubSource): void {
    this.#sources.delete(source)
    const isOurs = this.#register.getSingleMetric(this.#name) === this // a register may have been cleared
    if (this.#sources.size === 0 && isOurs) this.#register.removeSingleMetric(this.#name)
  }

  override async get(): Promise<Metric> {
    const { kind, description } = this.#instrument
    // OpenMetrics names a counter without the `_total` of its lines, which the register adds.
    const isOpen = this.#register.contentType === OPEN_METRICS
    return {
      name: isOpen && kind === 'counter' ? this.#name.replace(/_total$/, '') : this.#name,
      help: description,
      // The types declare an enum, which `prom-client` does not have: it uses these words.
      type: kind as unknown as Metric['type'],
      values: [...this.#sources].flatMap((source) => this.#valuesOf(source)),
      aggregator: NOT_SUMMED.has(this.#instrument.unit) ? 'max' : 'sum',
      collect: () => {},
    }
  }

  #valuesOf(source: HubSource): Value[] {
    const reading = source.read(this.#instrument.name)
    if (reading === undefined) return []
    const { samples, distribution } = reading
    if (distribution !== undefined) return linesOf(this.#name, distribution, source.labels)
    return samples.map(({ labels, value }) => ({ labels: { ...source.labels, ...labels }, value }))
  }
}

/** The units of values that all processes have in common, or that are shares: the sum would mean nothing. */
const NOT_SUMMED: ReadonlySet<string> = new Set(['1', '{node}'])

const OPEN_METRICS: string = Registry.OPENMETRICS_CONTENT_TYPE

/** Returns the lines of a histogram: how many values are not above each bound, their sum and their number. */
function linesOf(name: string, { bounds, counts, sum }: Distribution, labels: Labels): Value[] {
  let count = 0
  const buckets = counts.map((each, index): Value => {
    count += each
    return { metricName: `${name}_bucket`, labels: { ...labels, le: bounds[index] ?? '+Inf' }, value: count }
  })
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ]
}
