/** The least time, in ms, that `close` of a backplane gives the engine to receive what was published. */
const LEAST_CLOSE_MS = 1_000

/**
 * Returns for how long `close` of a backplane waits for its engine, in ms.
 * @param timeoutMs the time that its caller has
 */
export function closeMs(timeoutMs = 0): number {
  return Math.max(LEAST_CLOSE_MS, timeoutMs)
}
