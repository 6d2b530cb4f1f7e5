import { Queue } from '../base/queue.ts'

/** Time, in ms, that replays may take in one turn of the event loop; the rest waits for the next turn. */
const MAX_REPLAY_MS = 2

/** Messages after which the clock is read again; each takes some µs. */
const MESSAGES_PER_CLOCK_READ = 16

/** A replay, as a {@link ReplayLoop} uses it. */
export interface Replay {
  /** Replays until it is done, has to wait, or the time of this turn is up. */
  run(): void
}

/** Shares the event loop among all replays of a hub, so that thousands of clients can return at once. */
export class ReplayLoop {
  readonly #begun = new Queue<Replay>()
  readonly #beginning = new Queue<Replay>()
  readonly #onThrow: (thrown: unknown) => void
  #isDue = false
  #endsAt = 0
  #count = 0

  /** @param onThrow receives what a replay throws; the other replays continue */
  constructor(onThrow: (thrown: unknown) => void) {
    this.#onThrow = onThrow
  }

  /** Runs a replay in a later turn. */
  schedule(replay: Replay): void {
    this.#begun.push(replay)
    this.#wake()
  }

  /**
   * Runs the first step of a replay in a later turn, after the replays that have begun, because the pages
   * that those have read take memory. At least one new replay begins in each turn.
   */
  begin(replay: Replay): void {
    this.#beginning.push(replay)
    this.#wake()
  }

  /** Counts a message that was replayed. @returns whether the time of this turn is up */
  countMessage(): boolean {
    return ++this.#count % MESSAGES_PER_CLOCK_READ === 0 && performance.now() >= this.#endsAt
  }

  #wake(): void {
    if (this.#isDue) return
    this.#isDue = true
    setImmediate(this.#turn)
  }

  readonly #turn = (): void => {
    this.#isDue = false
    this.#endsAt = performance.now() + MAX_REPLAY_MS
    this.#run(this.#begun)
    this.#run(this.#beginning)
    if (this.#begun.size + this.#beginning.size > 0) this.#wake()
  }

  /** Runs replays until the time is up, at least one. Those scheduled meanwhile wait for the next turn. */
  #run(queue: Queue<Replay>): void {
    for (let left = queue.size; left > 0; left--) {
      try {
        queue.shift()?.run()
      } catch (thrown) {
        this.#onThrow(thrown)
      }
      if (performance.now() >= this.#endsAt) return
    }
  }
}
