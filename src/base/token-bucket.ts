/** Time, in ms, in which an empty bucket fills up. */
const CAPACITY_MS = 1_000
/** Sums of fractions of a ms are not exact. */
const TOLERANCE_MS = 0.001

/**
 * Grants a number of tokens a second, and at most that many at once. `now` is a time in ms, such as
 * `performance.now()`.
 */
export class TokenBucket {
  readonly #msPerToken: number
  /** When the bucket is full again. It is empty while that is a second ahead, and owes tokens beyond that. */
  #fullAt = 0

  constructor(tokensPerSecond: number) {
    this.#msPerToken = 1_000 / tokensPerSecond
  }

  /** Takes one token; `false`, and takes nothing, when there is none. */
  tryTake(now: number): boolean {
    const fullAt = this.#after(1, now)
    if (fullAt - now > CAPACITY_MS + TOLERANCE_MS) return false
    this.#fullAt = fullAt
    return true
  }

  /** Takes tokens, even when the bucket holds fewer: it owes the rest. */
  take(tokens: number, now: number): void {
    this.#fullAt = this.#after(tokens, now)
  }

  /** Returns the time, in ms, until the bucket owes nothing. */
  debtMs(now: number): number {
    const debtMs = this.#fullAt - now - CAPACITY_MS
    return debtMs > TOLERANCE_MS ? debtMs : 0
  }

  /** Returns whether a new bucket would do as well. */
  isFull(now: number): boolean {
    return this.#fullAt <= now
  }

  #after(tokens: number, now: number): number {
    return Math.max(this.#fullAt, now) + tokens * this.#msPerToken
  }
}
