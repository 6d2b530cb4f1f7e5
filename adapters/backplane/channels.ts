interface Waiter {
  readonly confirmed: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** The channels that a backplane is subscribed to, and who waits for the engine to confirm one. */
export class Channels {
  readonly #waiters = new Map<string, Waiter | undefined>()

  has(channel: string): boolean {
    return this.#waiters.has(channel)
  }

  names(): IterableIterator<string> {
    return this.#waiters.keys()
  }

  /**
   * Adds a channel. Resolves with the next {@link confirm}, or when the channel is deleted: nobody waits for
   * it then.
   */
  add(channel: string): Promise<void> {
    let waiter = this.#waiters.get(channel)
    if (waiter === undefined) {
      let resolve = () => {}
      let reject: (error: Error) => void = () => {}
      const confirmed = new Promise<void>((...settle) => {
        ;[resolve, reject] = settle
      })
      confirmed.catch(() => {}) // a caller that does not wait is not told of the close that it asked for itself
      waiter = { confirmed, resolve, reject }
      this.#waiters.set(channel, waiter)
    }
    return waiter.confirmed
  }

  confirm(channel: string): void {
    const waiter = this.#waiters.get(channel)
    if (waiter === undefined) return
    this.#waiters.set(channel, undefined)
    waiter.resolve()
  }

  delete(channel: string): void {
    this.#waiters.get(channel)?.resolve()
    this.#waiters.delete(channel)
  }

  /** Deletes a channel that the engine has refused; who waits for it is told why. */
  refuse(channel: string, error: Error): void {
    this.#waiters.get(channel)?.reject(error)
    this.#waiters.delete(channel)
  }

  /** Deletes all; who still waits is told why. */
  clear(error: Error): void {
    for (const waiter of this.#waiters.values()) waiter?.reject(error)
    this.#waiters.clear()
  }
}
