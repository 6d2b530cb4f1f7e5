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

/** The largest delay of a timer. */
const MAX_DELAY_MS = 2_147_483_647

/** How far one client is ahead of its rates: a token bucket for messages, and one for bytes. */
export class RateLimit {
  readonly #rates: Rates
  // Times in ms at which the buckets are full again; a second ahead of now they are empty.
  #messagesFullAt = 0
  #bytesFullAt = 0
  #timer: NodeJS.Timeout | undefined

  constructor(rates: Rates) {
    this.#rates = rates
  }

  /** Takes a message of so many bytes out of the buckets, which may go below empty; `false` when they do. */
  take(bytes: number): boolean {
    const now = performance.now()
    const { maxMessagesPerSecond, maxBytesPerSecond } = this.#rates
    if (maxMessagesPerSecond > 0) {
      this.#messagesFullAt = Math.max(this.#messagesFullAt, now) + 1_000 / maxMessagesPerSecond
    }
    if (maxBytesPerSecond > 0) {
      this.#bytesFullAt = Math.max(this.#bytesFullAt, now) + (bytes * 1_000) / maxBytesPerSecond
    }
    return this.#debtMs === 0
  }

  /** Holds it until the client is within its rates again. */
  delay(inbox: Holdable): void {
    if (this.#timer !== undefined) return
    inbox.hold()
    const wait = (): void => {
      this.#timer = setTimeout(
        () => {
          if (this.#debtMs > 0) return wait()
          this.#timer = undefined
          inbox.release()
        },
        Math.min(this.#debtMs, MAX_DELAY_MS),
      ).unref()
    }
    wait()
  }

  /** Stops the timer. */
  stop(): void {
    clearTimeout(this.#timer)
  }

  /** Time, in ms, until neither bucket is below empty. */
  get #debtMs(): number {
    return Math.max(0, Math.max(this.#messagesFullAt, this.#bytesFullAt) - performance.now() - 1_000)
  }
}
