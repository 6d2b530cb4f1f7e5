import { type Deferred, deferred } from '../base/deferred.ts'
import { Queue } from '../base/queue.ts'
import { notStored } from './guarded-store.ts'
import type { Mark } from './history-store.ts'

/** The fate of a message: `past` = it was delivered or never will be, `lost` = the store has lost it. */
export type MarkFate = 'past' | 'lost'

interface MarkWaiter {
  readonly mark: Mark
  readonly since: number
  readonly reached: Deferred<void>
}

/**
 * Promises that resolve when a message has been delivered, in the order in which they were made. That is the
 * order of the messages, since the appends of a node resolve in that order.
 */
export class MarkWaiters {
  readonly #waiters = new Queue<MarkWaiter>()

  /**
   * @param since how many times the store may have lost messages until now
   * @throws {HubError} WSHUB_ERR_NOT_STORED, as a rejection; other nodes may have delivered the message
   */
  wait(mark: Mark, since: number): Promise<void> {
    const reached = deferred()
    this.#waiters.push({ mark, since, reached })
    return reached.promise
  }

  /** Settles the promises of messages whose fate is known by now. */
  moved(fateOf: (mark: Mark, since: number) => MarkFate | undefined): void {
    for (let next = this.#waiters.first; next !== undefined; next = this.#waiters.first) {
      const fate = fateOf(next.mark, next.since)
      if (fate === undefined) return
      this.#waiters.shift()
      if (fate === 'past') next.reached.resolve()
      else next.reached.reject(notStored('the store has lost it since', { mayBeStored: true }))
    }
  }
}
