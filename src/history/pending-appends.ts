import { type Deferred, deferred } from '../base/deferred.ts'
import { Queue } from '../base/queue.ts'

/** The messages that wait for the store. */
export class PendingAppends {
  #count = 0
  /** Their numbers. */
  readonly #pending = new Set<number>()
  /** The lowest of them, or the number of the next message. */
  #oldest = 1
  readonly #waiters = new Queue<{ readonly last: number; readonly settled: Deferred<void> }>()

  /** Adds a message. @returns its number */
  begin(): number {
    this.#pending.add(++this.#count)
    return this.#count
  }

  /** A message was stored and delivered here, or refused. */
  end(number: number): void {
    this.#pending.delete(number)
    while (this.#oldest <= this.#count && !this.#pending.has(this.#oldest)) this.#oldest++
    for (let next = this.#waiters.first; next !== undefined; next = this.#waiters.first) {
      if (next.last >= this.#oldest) return
      this.#waiters.shift()
      next.settled.resolve()
    }
  }

  /** Resolves when all messages that wait now are stored or refused; `undefined` if none waits. */
  get settled(): Promise<void> | undefined {
    if (this.#pending.size === 0) return undefined
    const settled = deferred()
    this.#waiters.push({ last: this.#count, settled })
    return settled.promise
  }
}
