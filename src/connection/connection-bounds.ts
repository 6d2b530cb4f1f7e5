const MINUTE_S = 60
const HOUR_S = 3_600

/** The histograms of connections, with the upper bounds of their buckets, in seconds. */
export const CONNECTION_BOUNDS = {
  connectionDuration: [
    0.1,
    1,
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
  pingDuration: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
} as const

/** The name of a histogram of connections. */
export type ConnectionHistogram = keyof typeof CONNECTION_BOUNDS
