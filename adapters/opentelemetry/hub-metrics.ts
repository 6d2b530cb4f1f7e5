import { type Attributes, type Histogram, type Meter, metrics, type Observable } from '@opentelemetry/api'
import {
  type HistogramName,
  type Hub,
  type Instrument,
  instruments,
  type Labels,
  readInstruments,
} from 'wshub'
import { checkHub, checkMethods, checkOptions } from '../arguments.ts'
import { HubEvents } from '../observing/hub-events.ts'

/** Options of {@link hubMetrics}. An explicit `undefined` means the default. */
export interface HubMetricsOptions {
  /** The meter that makes the instruments. Default that of the global provider named `wshub`. */
  meter?: Meter | undefined
  /** Attributes of all values of this hub: several hubs in one process need different ones. Default {}. */
  attributes?: Attributes | undefined
}

/**
 * Makes the instruments of a hub with a meter of OpenTelemetry. Counters and gauges are read when the meter
 * is collected; the values of histograms are recorded one by one, as OpenTelemetry demands. Ends when the hub
 * is closed.
 * @returns a function that ends it
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION for an unknown option
 */
export function hubMetrics(hub: Hub<object>, options: HubMetricsOptions = {}): () => void {
  checkHub(hub, 'hubMetrics')
  checkOptions(options, ['meter', 'attributes'], 'hubMetrics')
  const { meter = metrics.getMeter('wshub'), attributes = {} } = options
  checkMethods(meter, ['createHistogram', 'addBatchObservableCallback'], 'the meter')
  if (hub.state === 'closed') return () => {}
  const observables = new Map<string, Observable>()
  const histograms = new Map<HistogramName, Histogram>()
  for (const instrument of instruments) {
    const { name, histogram } = instrument
    if (histogram === undefined) observables.set(name, observableOf(meter, instrument))
    else histograms.set(histogram, histogramOf(meter, instrument))
  }
  const all = [...observables.values()]
  const observe: Parameters<Meter['addBatchObservableCallback']>[0] = (result) => {
    for (const { instrument, samples } of readInstruments(hub)) {
      const observable = observables.get(instrument.name)
      if (observable === undefined) continue
      for (const { labels, value } of samples) {
        result.observe(observable, value, { ...attributes, ...attributesOf(labels) })
      }
    }
  }
  meter.addBatchObservableCallback(observe, all)
  const events = new HubEvents(hub, 'hubMetrics', () => meter.removeBatchObservableCallback(observe, all))
  events.on('wshub:measure', ({ histogram, value }) => histograms.get(histogram)?.record(value, attributes))
  return () => events.stop()
}

/** Shares cannot be added up, so they are gauges; other current values can. */
function observableOf(meter: Meter, { name, kind, unit, description }: Instrument): Observable {
  const options = { unit, description }
  if (kind === 'counter') return meter.createObservableCounter(name, options)
  if (unit === '1') return meter.createObservableGauge(name, options)
  return meter.createObservableUpDownCounter(name, options)
}

function histogramOf(meter: Meter, { name, unit, description, bounds }: Instrument): Histogram {
  return meter.createHistogram(name, {
    unit,
    description,
    advice: { explicitBucketBoundaries: [...bounds] },
  })
}

function attributesOf(labels: Labels): Attributes {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [`wshub.${name}`, value]))
}
