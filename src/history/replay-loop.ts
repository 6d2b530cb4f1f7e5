/** Time, in ms, that replays may take of the event loop at once; the rest follows in its next turn. */
const MAX_REPLAY_MS = 2

/** The clock is read once for so many messages, each of which takes some µs. */
const MESSAGES_PER_CLOCK_READ = 16

/** A replay, as a {@link ReplayLoop} uses it. */
export interface Replay {
  /** Replays until it is done, has to wait, or the loop says that the time is up. */
  run(): void
}

/** Shares the event loop among all replays of a hub, so that thousands of clients can return at once. */
export class ReplayLoop {
  #waiting: Replay[] = []
  #isDue = false
  #endsAt = 0
  #count = 0

  /** Has a replay run in a later turn. */
  schedule(replay: Replay): void {
    this.#waiting.push(replay)
    if (this.#isDue) return
    this.#isDue = true
    setImmediate(this.#turn)
  }

  /** Counts a message that was replayed. @returns whether the time of this turn is up */
  countMessage(): boolean {
    return ++this.#count % MESSAGES_PER_CLOCK_READ === 0 && performance.now() >= this.#endsAt
  }

  readonly #turn = (): void => {
    this.#isDue = false
    const waiting = this.#waiting
    this.#waiting = []
    this.#endsAt = performance.now() + MAX_REPLAY_MS
    let done = 0
    for (const replay of waiting) {
      replay.run()
      done++
      if (performance.now() >= this.#endsAt) break
    }
    if (done === waiting.length) return
    this.#waiting = waiting.slice(done).concat(this.#waiting)
    if (this.#isDue) return
    this.#isDue = true
    setImmediate(this.#turn)
  }
}
