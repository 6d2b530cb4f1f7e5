import { type Deferred, deferred } from '../base/deferred.ts'

/** The messages that wait for the store. */
export class PendingAppends {
  #count = 0
  /** Their numbers, oldest first. */
  readonly #pending = new Set<number>()
  #waiters: { readonly last: number; readonly settled: Deferred<void> }[] = []

  /** Adds a message. @returns its number */
  begin(): number {
    this.#pending.add(++this.#count)
    return this.#count
  }

  /** A message was stored and delivered here, or refused. */
  end(number: number): void {
    this.#pending.delete(number)
    if (this.#waiters.length === 0) return
    const [oldest = Number.POSITIVE_INFINITY] = this.#pending
    for (const { last, settled } of this.#waiters) if (last < oldest) settled.resolve()
    this.#waiters = this.#waiters.filter(({ last }) => last >= oldest)
  }

  /** Resolves when the messages that wait now do not any more; `undefined` when none does. */
  get settled(): Promise<void> | undefined {
    if (this.#pending.size === 0) return undefined
    const settled = deferred()
    this.#waiters.push({ last: this.#count, settled })
    return settled.promise
  }
}
