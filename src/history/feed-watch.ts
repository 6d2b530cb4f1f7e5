import type { Mark } from './history-store.ts'

/** Time, in ms, in which the feed usually shows what comes before a message that this node has appended. */
const FEED_MS = 1_000

/** Checks after a while whether the feed of the store has shown the messages that this node has appended. */
export class FeedWatch {
  readonly #hasReached: (mark: Mark) => boolean
  readonly #onMissing: () => void
  #timer: NodeJS.Timeout | undefined
  /** The latest message that the feed has yet to deliver. */
  #latest: Mark | undefined

  /**
   * @param hasReached whether the log is past a message
   * @param onMissing called when the feed does not show a message in time; the store has it
   */
  constructor(hasReached: (mark: Mark) => boolean, onMissing: () => void) {
    this.#hasReached = hasReached
    this.#onMissing = onMissing
  }

  /** Expects a message that was appended after all before. */
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
