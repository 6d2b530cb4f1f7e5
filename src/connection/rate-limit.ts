import { MAX_INT32 } from '../base/option-rules.ts'
import { TokenBucket } from '../base/token-bucket.ts'

/**
 * The measure against a client that sends faster than its limits: it is read more slowly, or closed with
 * 1008.
 */
export type RateLimitPolicy = 'pause' | 'close'

/** The rates that a client may sustain; 0 = no limit. A second's worth may arrive at once. */
export interface RateOptions {
  readonly maxMessagesPerSecond: number
  readonly maxBytesPerSecond: number
  readonly rateLimitPolicy: RateLimitPolicy
}

/** Messages that can be held back for a while. */
export interface Holdable {
  hold(): void
  release(): void
}

/** Measures how far one client is ahead of its rates. */
export class RateLimit {
  readonly policy: RateLimitPolicy
  readonly #messages: TokenBucket | undefined
  readonly #bytes: TokenBucket | undefined
  #timer: NodeJS.Timeout | undefined

  constructor({ maxMessagesPerSecond, maxBytesPerSecond, rateLimitPolicy }: RateOptions) {
    this.policy = rateLimitPolicy
    if (maxMessagesPerSecond > 0) this.#messages = new TokenBucket(maxMessagesPerSecond)
    if (maxBytesPerSecond > 0) this.#bytes = new TokenBucket(maxBytesPerSecond)
  }

  /** Returns the limit of a client; `undefined` when there is none. */
  static of(rates: RateOptions): RateLimit | undefined {
    const isLimited = rates.maxMessagesPerSecond > 0 || rates.maxBytesPerSecond > 0
    return isLimited ? new RateLimit(rates) : undefined
  }

  /** Counts a message. @returns whether the client is within its rates */
  take(bytes: number): boolean {
    const now = performance.now()
    this.#messages?.take(1, now)
    this.#bytes?.take(bytes, now)
    return this.#debtMs(now) === 0
  }

  /** Holds messages back until the client is within its rates again. */
  delay(messages: Holdable): void {
    if (this.#timer !== undefined) return
    messages.hold()
    const wait = (): void => {
      this.#timer = setTimeout(
        () => {
          if (this.#debtMs() > 0) return wait()
          this.#timer = undefined
          messages.release()
        },
        Math.min(this.#debtMs(), MAX_INT32),
      ).unref()
    }
    wait()
  }

  /** Stops the timer. */
  stop(): void {
    clearTimeout(this.#timer)
  }

  /** Returns the time, in ms, until neither bucket is below empty. */
  #debtMs(now = performance.now()): number {
    return Math.max(this.#messages?.debtMs(now) ?? 0, this.#bytes?.debtMs(now) ?? 0)
  }
}
