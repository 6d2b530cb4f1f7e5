import { setTimeout as sleep } from 'node:timers/promises'

const FIRST_MS = 100
/** Small enough that an engine which has returned is found within two seconds. */
const MAX_MS = 2_000

/**
 * How long to wait after a number of failures, in ms: longer each time, and never the same for two nodes that
 * failed together.
 */
export function backoffMs(failures: number): number {
  const most = Math.min(MAX_MS, FIRST_MS * 2 ** failures)
  return (most + Math.random() * most) / 2
}

/**
 * Waits; ends early, and resolves as well, when `signal` is aborted.
 * @param ref whether the process is to stay alive meanwhile: a job that awaits its first connection has
 *   nothing else that keeps it
 */
export async function pause(ms: number, signal: AbortSignal, ref: boolean): Promise<void> {
  await sleep(ms, undefined, { signal, ref }).catch(() => {})
}
