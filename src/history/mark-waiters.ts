import { type Deferred, deferred } from '../base/deferred.ts'
import type { Mark } from './history-store.ts'

/** Promises that resolve when a message has been delivered. */
export class MarkWaiters {
  #waiters: { readonly mark: Mark; readonly since: number; readonly reached: Deferred<void> }[] = []

  /** @param since how many times the store may have lost messages until now */
  wait(mark: Mark, since: number): Promise<void> {
    const reached = deferred()
    this.#waiters.push({ mark, since, reached })
    return reached.promise
  }

  /** Resolves the promises of the messages that have been reached. */
  moved(hasReached: (mark: Mark, since: number) => boolean): void {
    if (this.#waiters.length === 0) return
    const waiters = this.#waiters
    this.#waiters = waiters.filter(({ mark, since }) => !hasReached(mark, since))
    for (const { mark, since, reached } of waiters) if (hasReached(mark, since)) reached.resolve()
  }
}
