import { channel } from 'node:diagnostics_channel'
import { type Distribution, Histogram } from './histogram.ts'

const measureChannel = channel('wshub:measure')

const SECOND_S = 1
const MINUTE_S = 60
const HOUR_S = 3_600

/** Times of one process: from half a millisecond to a few seconds. */
const TURN_S = [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, SECOND_S, 2.5]

/**
 * The histograms of a hub, each with the upper bounds of its buckets, in seconds or connections.
 * `docs/metrics.md` says why these; a test compares the two.
 */
export const HISTOGRAM_BOUNDS = {
  connectionDuration: [
    0.1,
    SECOND_S,
    5,
    15,
    30,
    MINUTE_S,
    5 * MINUTE_S,
    15 * MINUTE_S,
    HOUR_S,
    4 * HOUR_S,
    12 * HOUR_S,
    24 * HOUR_S,
  ],
  pingDuration: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, SECOND_S, 2.5, 5, 10],
  broadcastRecipients: [0, 1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000],
  flushDelay: TURN_S,
  flushDuration: TURN_S,
  loopbackDuration: [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, SECOND_S, 2.5, 5, 10],
} as const satisfies Readonly<Record<string, readonly number[]>>

/** The name of a histogram of a hub. */
export type HistogramName = keyof typeof HISTOGRAM_BOUNDS

/** The histograms of a hub, as of now. */
export type Distributions = Readonly<Record<HistogramName, Distribution>>

const NAMES = Object.keys(HISTOGRAM_BOUNDS) as HistogramName[] // `keys` forgets the names

/** Counts values by size: once for a broadcast, a flush, a pong or an end, never for a delivery. */
export class Meters {
  readonly #hub: object | undefined
  readonly #histograms: Readonly<Record<HistogramName, Histogram>>

  /** @param hub the hub that diagnostics name; `undefined` = nothing is published */
  constructor(hub?: object) {
    this.#hub = hub
    const entries = NAMES.map((name) => [name, new Histogram(HISTOGRAM_BOUNDS[name])])
    this.#histograms = Object.fromEntries(entries) // has all names, which `fromEntries` forgets
  }

  record(name: HistogramName, value: number): void {
    this.#histograms[name].record(value)
    if (!measureChannel.hasSubscribers || this.#hub === undefined) return
    measureChannel.publish({ hub: this.#hub, histogram: name, value })
  }

  snapshot(): Distributions {
    const entries = NAMES.map((name) => [name, this.#histograms[name].snapshot()])
    return Object.fromEntries(entries) // likewise
  }
}
