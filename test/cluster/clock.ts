import { onTestFinished, vi } from 'vitest'

/**
 * Holds the clock of the hubs until the test is over, but for their heartbeats: no time limit passes because
 * the process stood still. It goes on by `vi.advanceTimersByTime`. To be called before a hub is made, since
 * the clock begins with zero.
 */
export function holdClock(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
}
