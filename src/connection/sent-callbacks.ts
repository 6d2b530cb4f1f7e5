import { HubError } from '../base/errors.ts'
import { type HandlerOwner, runHandler } from '../base/run-handler.ts'

/** Called once: without an error when the message was written, otherwise with a {@link HubError}. */
export type SentCallback = (error?: Error) => void

/** The connection that {@link SentCallbacks} belong to. */
export interface SentCallbacksOwner extends HandlerOwner {
  readonly outbox: {
    readonly maxWaitingFrames: number
    awaitRoom(then: () => void, isDue?: boolean): void
  }
}

/** The callbacks of messages that were sent and have yet to be written to the socket. */
export class SentCallbacks {
  readonly #owner: SentCallbacksOwner
  #waiting: SentCallback[] = []

  constructor(owner: SentCallbacksOwner) {
    this.#owner = owner
  }

  /** Adds the callback of a message. @param isAccepted whether the message was accepted for sending */
  add(callback: SentCallback, isAccepted: boolean): void {
    // Never inside the call: the code after it has not run.
    if (!isAccepted)
      process.nextTick(() => this.#fail([callback], 'it was dropped, or the connection is not open'))
    else if (this.#waiting.push(callback) === 1) this.#awaitWrite()
  }

  /**
   * Messages that waited were dropped, the oldest first. Their callbacks are not known, as messages of rooms
   * may wait among them: the oldest callbacks fail.
   */
  dropped(messages: number): void {
    this.#fail(this.#waiting.splice(0, messages), 'messages that waited were dropped')
  }

  /** The connection is closed: nothing more is written. */
  closed(): void {
    this.#fail(this.#waiting.splice(0), 'the connection was closed')
  }

  #awaitWrite(): void {
    const { outbox } = this.#owner
    outbox.awaitRoom(() => {
      // What waits was sent last. Frames without a callback may be among it, so a callback may be late, but
      // never early; all that are due are called when nothing waits.
      const written = this.#waiting.splice(0, Math.max(0, this.#waiting.length - outbox.maxWaitingFrames))
      if (this.#waiting.length > 0) this.#awaitWrite()
      for (const callback of written) this.#call(callback, undefined)
    }, true)
  }

  #fail(callbacks: readonly SentCallback[], why: string): void {
    for (const callback of callbacks) {
      this.#call(callback, new HubError('WSHUB_ERR_NOT_SENT', `a message was not sent: ${why}`))
    }
  }

  #call(callback: SentCallback, error: Error | undefined): void {
    runHandler('the callback of send', () => callback(error), this.#owner)
  }
}
