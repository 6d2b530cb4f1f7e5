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

  /** Resolves when none is running. */
  async idle(): Promise<void> {
    while (this.#count > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve
      })
    }
  }
}
