import { channel } from 'node:diagnostics_channel'
import type { Distribution } from '../base/histogram.ts'
import { Meters } from '../base/meters.ts'
import { CONNECTION_BOUNDS } from '../connection/connection-bounds.ts'
import { FLUSH_BOUNDS } from '../delivery/flush-bounds.ts'

const measureChannel = channel('wshub:measure')

/**
 * The histograms of a hub, each with the upper bounds of its buckets, in seconds or connections.
 * `docs/metrics.md` says why these; a test compares the two.
 */
export const HISTOGRAM_BOUNDS = {
  ...CONNECTION_BOUNDS,
  broadcastRecipients: [0, 1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000],
  ...FLUSH_BOUNDS,
  loopbackDuration: [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
} as const satisfies Readonly<Record<string, readonly number[]>>

/** The name of a histogram of a hub. */
export type HistogramName = keyof typeof HISTOGRAM_BOUNDS

/** The histograms of a hub, as of now. */
export type Distributions = Readonly<Record<HistogramName, Distribution>>

/**
 * Returns the histograms of a hub. A value is counted once for a broadcast, a flush, a pong or an end, never
 * for a delivery.
 * @param hub the hub that diagnostics name
 */
export function hubMeters(hub: object): Meters<HistogramName> {
  return new Meters(HISTOGRAM_BOUNDS, (histogram, value) => {
    if (measureChannel.hasSubscribers) measureChannel.publish({ hub, histogram, value })
  })
}
