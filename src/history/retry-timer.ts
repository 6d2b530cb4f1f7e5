/** Delay, in ms, before the first retry, doubled for each further one, and the longest delay. */
const MIN_DELAY_MS = 100
const MAX_DELAY_MS = 5_000

/**
 * Calls a function some time after a failure. The delay doubles with each further one, and varies by ±50 %.
 */
export class RetryTimer {
  readonly #retry: () => void
  #delayMs = MIN_DELAY_MS
  #timer: NodeJS.Timeout | undefined

  constructor(retry: () => void) {
    this.#retry = retry
  }

  /** Whether the function is going to be called. */
  get isWaiting(): boolean {
    return this.#timer !== undefined
  }

  /** Calls the function once, later, however often this is called until then. */
  later(): void {
    if (this.#timer !== undefined) return
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined
        this.#retry()
      },
      this.#delayMs * (0.5 + Math.random()),
    ).unref()
    this.#delayMs = Math.min(MAX_DELAY_MS, this.#delayMs * 2)
  }

  /** An attempt has succeeded: the next failure counts as the first. */
  reset(): void {
    this.#delayMs = MIN_DELAY_MS
  }

  /** Cancels the call of the function, until {@link later}. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
