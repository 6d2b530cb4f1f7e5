/** The end of a connection, as in a `close` event. */
export interface End {
  readonly code: number
  readonly reason: string
}

/** The times, in ms, between which a client waits before it connects again. */
export interface DelayRange {
  readonly minDelayMs: number
  readonly maxDelayMs: number
}

/** The longest wait that a server can ask for, in seconds: the delay of a timer is limited. */
const MAX_RETRY_AFTER_S = 3_600

/** Returns whether a client may reconnect after this close code. */
export function mayReturn(code: number, hasToken: boolean): boolean {
  if (code === 4401) return hasToken // the credential has expired, and `token` gets another one
  return code !== 1000 && code !== 1008 && !(code >= 4400 && code < 4500)
}

/** Returns whether the server asks its clients to spread: it restarts, or is overloaded. */
export function isSpread(code: number): boolean {
  return code === 1012 || code === 1013
}

/** Returns the longest wait of an attempt, in ms: it doubles with each, up to `maxDelayMs`. */
export function longestDelay(attempt: number, { minDelayMs, maxDelayMs }: DelayRange): number {
  return Math.min(maxDelayMs, minDelayMs * 2 ** (attempt + 1))
}

/**
 * Returns the wait, in ms, before a client connects again.
 * @param attempt how many attempts have failed in a row before; 0 for the first
 * @param random from 0 to 1, of a uniform distribution
 */
export function delayOf(attempt: number, { code, reason }: End, random: number, range: DelayRange): number {
  if (!isSpread(code)) return between(range.minDelayMs, longestDelay(attempt, range), random)
  // All clients of a server get the same reason, so the spread comes on top of what it asks for.
  const [, seconds] = /^retry-after=(\d+)$/.exec(reason) ?? []
  const least = seconds === undefined ? 0 : Math.min(Number(seconds), MAX_RETRY_AFTER_S) * 1_000
  return between(Math.max(range.minDelayMs, least), least + range.maxDelayMs, random)
}

function between(least: number, most: number, random: number): number {
  return least + random * Math.max(0, most - least)
}
