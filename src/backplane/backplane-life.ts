import { deferred } from '../base/deferred.ts'
import { HubError } from '../base/errors.ts'
import { asError } from '../base/thrown.ts'
import type { BackplaneListener, BackplaneState } from './backplane.ts'
import { Channels } from './channels.ts'

/**
 * The part that every backplane has in common: it is started once, has a state and channels, calls its
 * listener, and is closed. A {@link Backplane} owns one, and adds the engine.
 */
export class BackplaneLife {
  /** The channels that the hub has subscribed to. Empty once it is closed. */
  readonly channels = new Channels()
  readonly #closing = new AbortController()
  readonly #connected = deferred()
  #state: BackplaneState = 'connecting'
  #listener: BackplaneListener | undefined

  constructor() {
    this.#connected.promise.catch(() => {}) // start() returns it; before that, nobody waits for it
  }

  get state(): BackplaneState {
    return this.#state
  }

  get isStarted(): boolean {
    return this.#listener !== undefined
  }

  /** Aborted when the backplane is closed. */
  get signal(): AbortSignal {
    return this.#closing.signal
  }

  /**
   * Resolves when the backplane is connected for the first time.
   * @param connect begins to connect; not called when the start is refused
   * @throws {HubError} WSHUB_ERR_BACKPLANE when it was started before, or is closed
   */
  async start(listener: BackplaneListener, connect: () => void): Promise<void> {
    if (this.#listener !== undefined) {
      throw new HubError('WSHUB_ERR_BACKPLANE', 'a backplane can be started only once')
    }
    if (this.#state === 'closed') throw closedError()
    this.#listener = listener
    connect()
    await this.#connected.promise
  }

  /** Rejects `start` with the reason why the backplane can never connect. Close it afterwards. */
  failStart(reason: Error): void {
    this.#connected.reject(reason)
  }

  /**
   * Adds a channel. Resolves when it is confirmed with `channels.confirm`, and rejects when the backplane is
   * closed. A rejection that nobody handles is ignored, unless the backplane was closed before.
   * @param request asks the engine for the channel; not called once the backplane is closed
   */
  subscribe(channel: string, request: () => void): Promise<void> {
    if (this.#state === 'closed') return Promise.reject(closedError())
    const confirmed = this.channels.add(channel)
    request()
    return confirmed
  }

  /** Calls `onMessage`, unless the channel was unsubscribed. An error that it throws is reported. */
  receive(channel: string, bytes: Uint8Array): void {
    if (!this.channels.has(channel)) return
    try {
      this.#listener?.onMessage(channel, asBuffer(bytes))
    } catch (error) {
      this.report(asError(error, 'onMessage')) // the caller is the parser of a client library, or delivers to others next
    }
  }

  /** Called when the engine can be reached and every subscription works. */
  connected(): void {
    this.#become('connected')
    this.#connected.resolve()
  }

  /** Called when the connection is lost. Without effect before the first connection. */
  disconnected(): void {
    if (this.#state === 'connected') this.#become('reconnecting')
  }

  /** Reports an error from which the backplane recovers by itself. Without effect once it is closed. */
  report(error: Error): void {
    if (this.#state !== 'closed') this.#listener?.onError(error)
  }

  /** Reports accepted messages that may not have arrived, also while it is being closed. */
  lost(what: string, cause?: unknown): void {
    const message = `${what} may not have been published`
    this.#listener?.onError(new HubError('WSHUB_ERR_NOT_PUBLISHED', message, { cause }))
  }

  /**
   * Closes permanently: pending promises reject, and `signal` is aborted.
   * @returns the state until then, so `closed` the second time
   */
  close(): BackplaneState {
    const before = this.#state
    if (before === 'closed') return before
    this.#state = 'closed'
    this.channels.clear(closedError())
    this.#connected.reject(closedError())
    this.#closing.abort()
    this.#listener?.onStateChange('closed')
    return before
  }

  #become(state: BackplaneState): void {
    if (this.#state === state || this.#state === 'closed') return
    this.#state = state
    this.#listener?.onStateChange(state)
  }
}

/** Returns a Buffer over the same memory. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function closedError(): HubError {
  return new HubError('WSHUB_ERR_BACKPLANE', 'the backplane is closed')
}
