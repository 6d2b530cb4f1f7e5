import { onTestFinished, vi } from 'vitest'
import { eventually } from './hub-server.ts'

export interface HeldClock {
  /** Whether intervals are held as well, such as heartbeats. Default `true`. */
  readonly intervals?: boolean
  /**
   * Whether `performance.now()` is held as well, which begins with zero then: only before a hub is made.
   * Default `false`.
   */
  readonly performance?: boolean
}

/**
 * Holds the clock of the hubs until the test is over, so that a process that stands still makes nothing
 * happen in between. It goes on by `vi.advanceTimersByTime`, {@link passingUntil} and {@link passing}.
 */
export function holdClock({ intervals = true, performance = false }: HeldClock = {}): void {
  vi.useFakeTimers({
    toFake: [
      'setTimeout',
      'clearTimeout',
      ...(intervals ? (['setInterval', 'clearInterval'] as const) : []),
      ...(performance ? (['performance'] as const) : []),
    ],
  })
  onTestFinished(() => void vi.useRealTimers())
}

/** Waits until a condition holds; a clock that is held goes on by 10 ms in each turn. */
export function passingUntil(what: string, holds: () => boolean, seen: () => unknown): Promise<void> {
  const pass = vi.isFakeTimers() ? () => vi.advanceTimersByTime(10) : undefined
  return eventually(what, holds, seen, pass)
}

/** Waits for a promise; a clock that is held goes on by 10 ms in each turn. */
export async function passing<Value>(promise: Promise<Value>): Promise<Value> {
  let isSettled = false
  const settle = () => {
    isSettled = true
  }
  promise.then(settle, settle)
  await passingUntil(
    'a promise',
    () => isSettled,
    () => '',
  )
  return promise
}
