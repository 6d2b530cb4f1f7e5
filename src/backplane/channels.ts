import { type Deferred, deferred } from '../base/deferred.ts'

/** The channels that a hub has subscribed to, with the promises that wait for the engine to confirm them. */
export class Channels {
  /** Confirmed channels have `undefined`. */
  readonly #pending = new Map<string, Deferred<void> | undefined>()

  has(channel: string): boolean {
    return this.#pending.has(channel)
  }

  names(): IterableIterator<string> {
    return this.#pending.keys()
  }

  /** Adds a channel. Resolves when it is confirmed, or deleted: then nobody waits for it any more. */
  add(channel: string): Promise<void> {
    let pending = this.#pending.get(channel)
    if (pending === undefined) {
      pending = deferred()
      pending.promise.catch(() => {}) // a caller that ignores the promise has asked for the close itself
      this.#pending.set(channel, pending)
    }
    return pending.promise
  }

  /** Resolves the promises of a channel: the engine has subscribed to it. */
  confirm(channel: string): void {
    const pending = this.#pending.get(channel)
    if (pending === undefined) return
    this.#pending.set(channel, undefined)
    pending.resolve()
  }

  delete(channel: string): void {
    this.#pending.get(channel)?.resolve()
    this.#pending.delete(channel)
  }

  /** Deletes a channel that the engine has refused, and rejects its promises. */
  refuse(channel: string, error: Error): void {
    this.#pending.get(channel)?.reject(error)
    this.#pending.delete(channel)
  }

  /** Deletes all channels, and rejects their promises. */
  clear(error: Error): void {
    for (const pending of this.#pending.values()) pending?.reject(error)
    this.#pending.clear()
  }
}
