import { type Deferred, deferred } from '../base/deferred.ts'
import { Queue } from '../base/queue.ts'
import type { Mark } from './history-store.ts'

interface MarkWaiter {
  readonly mark: Mark
  readonly since: number
  readonly reached: Deferred<void>
}

/**
 * Promises that resolve when a message has been delivered, in the order in which they were made: that is the
 * order of the messages, since a node hears of its own in that order.
 */
export class MarkWaiters {
  readonly #waiters = new Queue<MarkWaiter>()

  /** @param since how many times the store may have lost messages until now */
  wait(mark: Mark, since: number): Promise<void> {
    const reached = deferred()
    this.#waiters.push({ mark, since, reached })
    return reached.promise
  }

  /** Resolves the promises of the messages that have been reached. */
  moved(hasReached: (mark: Mark, since: number) => boolean): void {
    for (let next = this.#waiters.first; next !== undefined; next = this.#waiters.first) {
      if (!hasReached(next.mark, next.since)) return
      this.#waiters.shift()
      next.reached.resolve()
    }
  }
}
