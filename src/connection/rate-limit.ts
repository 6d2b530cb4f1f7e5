import { MAX_INT32 } from '../base/option-rules.ts'
import { TokenBucket } from '../base/token-bucket.ts'

/** The rates that a client may keep up; 0 = no limit. A second's worth may come at once. */
export interface Rates {
  readonly maxMessagesPerSecond: number
  readonly maxBytesPerSecond: number
}

/** What may be stopped for a while. */
export interface Holdable {
  hold(): void
  release(): void
}

/** How far one client is ahead of its rates. */
export class RateLimit {
  readonly #messages: TokenBucket | undefined
  readonly #bytes: TokenBucket | undefined
  #timer: NodeJS.Timeout | undefined

  constructor({ maxMessagesPerSecond, maxBytesPerSecond }: Rates) {
    if (maxMessagesPerSecond > 0) this.#messages = new TokenBucket(maxMessagesPerSecond)
    if (maxBytesPerSecond > 0) this.#bytes = new TokenBucket(maxBytesPerSecond)
  }

  /** Takes a message of so many bytes out of the buckets, which may go below empty; `false` when they do. */
  take(bytes: number): boolean {
    const now = performance.now()
    this.#messages?.take(1, now)
    this.#bytes?.take(bytes, now)
    return this.#debtMs(now) === 0
  }

  /** Holds it until the client is within its rates again. */
  delay(inbox: Holdable): void {
    if (this.#timer !== undefined) return
    inbox.hold()
    const wait = (): void => {
      this.#timer = setTimeout(
        () => {
          if (this.#debtMs() > 0) return wait()
          this.#timer = undefined
          inbox.release()
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
