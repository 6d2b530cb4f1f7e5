/** Times of one process, in seconds: from half a millisecond to a few seconds. */
const TURN_S = [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5] as const

/** The histograms of the writes of a turn, with the upper bounds of their buckets. */
export const FLUSH_BOUNDS = { flushDelay: TURN_S, flushDuration: TURN_S } as const

/** The name of a histogram of the writes of a turn. */
export type FlushHistogram = keyof typeof FLUSH_BOUNDS
