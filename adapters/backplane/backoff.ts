import { setTimeout as sleep } from 'node:timers/promises'

const FIRST_MS = 100
/** Limits how long it takes to notice that the engine is reachable again. */
const MAX_MS = 2_000

/**
 * Returns how long to wait after a number of failures, in ms: longer each time, and random, so that nodes
 * which failed together do not retry together.
 */
export function backoffMs(failures: number): number {
  const most = Math.min(MAX_MS, FIRST_MS * 2 ** failures)
  return (most + Math.random() * most) / 2
}

/**
 * Waits. Resolves early when `signal` is aborted.
 * @param ref whether the timer keeps the process alive: nothing else does while the first connection is
 *   awaited
 */
export async function pause(ms: number, signal: AbortSignal, ref: boolean): Promise<void> {
  await sleep(ms, undefined, { signal, ref }).catch(() => {})
}
