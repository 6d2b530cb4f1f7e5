import type { Registry } from 'prom-client'

/** The values of a series, one for each reading; `undefined` while it was not there. */
export interface Series {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly values: (number | undefined)[]
}

/** A moment of a drill, and its name. */
export interface Mark {
  readonly index: number
  readonly text: string
}

/**
 * The readings that Prometheus would have made during a drill. Time is stretched: a reading counts as the
 * next one after `stepSeconds`, however soon it follows.
 */
export class Recording {
  /** The label `job` of all series. */
  readonly job: string
  readonly stepSeconds: number
  /** The number of readings. */
  length = 0
  /** When the fault began, and when it was repaired. */
  fault: Mark | undefined
  repair: Mark | undefined
  readonly #series = new Map<string, Series>()

  constructor(job: string, stepSeconds: number) {
    this.job = job
    this.stepSeconds = stepSeconds
  }

  get series(): Iterable<Series> {
    return this.#series.values()
  }

  /** Reads the metrics of all instances. */
  async read(registers: ReadonlyMap<string, Registry>): Promise<void> {
    const index = this.length++
    for (const [instance, register] of registers) {
      this.#add(index, instance, 'up', { labels: {}, value: 1 }) // as Prometheus adds it to what it reads
      for (const { name, values } of await register.getMetricsAsJSON()) {
        for (const value of values) this.#add(index, instance, name, value)
      }
    }
  }

  /** Returns the values as a file for `promtool tsdb create-blocks-from openmetrics`. */
  *openMetrics(endSeconds: number): Generator<string> {
    for (const series of this.series) {
      for (const [index, value] of series.values.entries()) {
        if (value === undefined) continue
        yield `${keyOf(series)} ${value} ${this.timeOf(index, endSeconds)}\n`
      }
    }
  }

  /** Returns the time of a reading when the last one was at `endSeconds`. */
  timeOf(index: number, endSeconds: number): number {
    return endSeconds - (this.length - 1 - index) * this.stepSeconds
  }

  #add(index: number, instance: string, metric: string, value: object): void {
    // Buckets have a name of their own, which the types of `prom-client` leave out.
    const {
      labels,
      metricName: name = metric,
      ...rest
    } = value as {
      labels: Record<string, string | number>
      metricName?: string
      value: number
    }
    const own = Object.entries(labels).map(([label, text]) => [label, String(text)])
    const all = { job: this.job, instance, ...Object.fromEntries(own) }
    const key = keyOf({ name, labels: all })
    const series = this.#series.get(key) ?? { name, labels: all, values: [] }
    this.#series.set(key, series)
    series.values[index] = rest.value
  }
}

function keyOf({ name, labels }: Pick<Series, 'name' | 'labels'>): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${text}"`)
  return `${name}{${pairs.join(',')}}`
}
