import type { Mark } from './history-store.ts'

/** Time, in ms, within which the feed usually delivers a message that this node has appended. */
const FEED_MS = 1_000

/** Checks, some time after an append, whether the feed of the store has delivered the message. */
export class FeedWatch {
  readonly #hasReached: (mark: Mark) => boolean
  readonly #onMissing: () => void
  #timer: NodeJS.Timeout | undefined
  /** The latest message that the feed has yet to deliver. */
  #latest: Mark | undefined

  /**
   * @param hasReached whether the log is past a message
   * @param onMissing called when the feed has not delivered a message in time, although the store has it
   */
  constructor(hasReached: (mark: Mark) => boolean, onMissing: () => void) {
    this.#hasReached = hasReached
    this.#onMissing = onMissing
  }

  /** Expects a message, which was appended after all that were expected before. */
  expect(mark: Mark): void {
    this.#latest = mark
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      const latest = this.#latest
      if (!this.#hasReached(mark)) this.#onMissing()
      else if (latest !== undefined && !this.#hasReached(latest)) this.expect(latest)
    }, FEED_MS).unref()
  }

  stop(): void {
    clearTimeout(this.#timer)
  }
}
