import { type Deferred, deferred } from '../base/deferred.ts'
import type { Mark } from './history-store.ts'

/** Those who wait until a message has been delivered. */
export class MarkWaiters {
  #waiters: { readonly mark: Mark; readonly reached: Deferred<void> }[] = []

  wait(mark: Mark): Promise<void> {
    const reached = deferred()
    this.#waiters.push({ mark, reached })
    return reached.promise
  }

  /** Resolves the promises of the messages that have been reached. */
  moved(hasReached: (mark: Mark) => boolean): void {
    if (this.#waiters.length === 0) return
    const waiters = this.#waiters
    this.#waiters = waiters.filter(({ mark }) => !hasReached(mark))
    for (const { mark, reached } of waiters) if (hasReached(mark)) reached.resolve()
  }
}
