/** Counts the callbacks that have not settled, and tells when none is left. */
export class RunningHandlers {
  #count = 0
  #onIdle: (() => void) | undefined

  /** A callback has returned a promise. */
  begin(): void {
    this.#count++
  }

  /** The promise of a callback has settled. */
  end(): void {
    this.#count--
    if (this.#count === 0) this.#onIdle?.()
  }

  /** Counts a callback that has returned a promise, which never rejects; `undefined` for one that has not. */
  watch(pending: Promise<void> | undefined): void {
    if (pending === undefined) return
    this.begin()
    void pending.then(() => this.end())
  }

  /** Resolves when none is running. */
  async idle(): Promise<void> {
    while (this.#count > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve
      })
    }
  }
}
