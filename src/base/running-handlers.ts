import { type Deferred, deferred } from './deferred.ts'

/** Counts the callbacks that have not settled. */
export class RunningHandlers {
  #count = 0
  #idle: Deferred<void> | undefined

  /** Counts a callback that has returned a promise. */
  begin(): void {
    this.#count++
  }

  /** Ends the counting of a callback: its promise has settled. */
  end(): void {
    this.#count--
    if (this.#count > 0) return
    this.#idle?.resolve()
    this.#idle = undefined
  }

  /**
   * Counts a callback until its promise has settled.
   * @param pending never rejects; `undefined` if the callback returned no promise
   */
  watch(pending: Promise<void> | undefined): void {
    if (pending === undefined) return
    this.begin()
    void pending.then(() => this.end())
  }

  /** Resolves when no callback is running. */
  async idle(): Promise<void> {
    while (this.#count > 0) {
      this.#idle ??= deferred()
      await this.#idle.promise
    }
  }
}
