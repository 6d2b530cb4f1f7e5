/**
 * Calls code that observes a hub: a logger, a meter, a tracer. It runs inside the hub or in a timer, where an
 * error would end the process: the first one becomes a process warning, and the others are ignored.
 */
export class Guard {
  readonly #what: string
  #hasFailed = false

  /** @param what names the code in the warning: `the logger of logTo` */
  constructor(what: string) {
    this.#what = what
  }

  run<Args extends readonly unknown[]>(call: (...args: Args) => unknown, ...args: Args): void {
    try {
      const result = call(...args)
      if (typeof result === 'object' && result !== null) void this.#settled(result)
    } catch (error) {
      this.#failed(error)
    }
  }

  async #settled(result: object): Promise<void> {
    try {
      await result
    } catch (error) {
      this.#failed(error)
    }
  }

  #failed(error: unknown): void {
    if (this.#hasFailed) return
    this.#hasFailed = true
    process.emitWarning(`${this.#what} has failed: ${textOf(error)}`, 'HubWarning')
  }
}

/** Anything can be thrown, also what has no text. */
function textOf(error: unknown): string {
  try {
    return String(error)
  } catch {
    return 'an error without a text'
  }
}
