import { channel } from 'node:diagnostics_channel'
import type { HubError } from '../base/errors.ts'
import type { Outbox } from '../delivery/outbox.ts'
import { CloseCode } from '../protocol/close-code.ts'
import { type CloseCause, closeCause, type Ending } from './close-cause.ts'
import type { Connection, ConnectionState } from './connection.ts'
import type { ConnectionOptions } from './connection-options.ts'
import * as endings from './endings.ts'
import type { EventHandler } from './event-handler.ts'
import { OPEN } from './hub-websocket.ts'
import { type CallbackOwner, runCallback } from './run-callback.ts'
import type { Tally } from './tally.ts'
import type { Transport } from './transport.ts'

const closeChannel = channel('wshub:close')

/** The connection that a {@link Closing} belongs to. */
export interface ClosingOwner<Meta extends object> extends CallbackOwner {
  readonly connection: Connection<Meta>
  readonly handler: EventHandler<Meta>
  /** The state as this side sees it; the WebSocket of an open connection may be closing. */
  phase: ConnectionState
  readonly ws: Transport['ws']
  readonly socket: Transport['socket']
  readonly options: ConnectionOptions
  readonly outbox: Outbox
  /** Stops when this side begins to close the connection. */
  readonly receiver: { stop(): void }
  setDeadline(ms: number): void
  report(error: Error): void
}

/**
 * The end of a connection, from the first reason for it to the cause that `onClose` receives. Created when
 * there is a reason, so that an idle connection does without its fields.
 */
export class Closing<out Meta extends object> {
  readonly #owner: ClosingOwner<Meta>
  /** How this side began the end; the first one counts. */
  #ending: Ending | undefined
  /** Whether the close frame of that was handed to the socket. */
  #isCloseSent = false
  /** The end that waits for callbacks to settle. */
  pending: Ending | undefined
  /** The rooms at the time of closing. */
  rooms: ReadonlySet<string> | undefined

  constructor(owner: ClosingOwner<Meta>) {
    this.#owner = owner
  }

  /**
   * Sends a close frame after everything that was accepted for sending.
   * @param then is called after the close frame
   */
  sayGoodbye(ending: Ending, then?: () => void): void {
    const { ws, outbox } = this.#owner
    this.#begin(ending)
    ws.resume() // the answer could not be read from a paused socket
    outbox.end(() => {
      this.#sendClose(ending)
      then?.()
    })
  }

  /** Destroys the socket. */
  terminate(ending: Ending): void {
    const { ws } = this.#owner
    // After a close frame this only completes the end which that frame began.
    if (ws.readyState <= OPEN) this.#ending ??= ending
    ws.terminate()
  }

  /** Closes an open connection: too much waits for it, or for all of the hub and this one has the most. */
  overflow(ending: endings.Failure, of: 'client' | 'hub'): void {
    const owner = this.#owner
    const { ws, socket, outbox, options } = owner
    this.#begin(ending)
    outbox.clear('overflow')
    // In a separate turn: no user code runs inside a broadcast.
    process.nextTick(() => {
      outbox.tellDrops()
      ws.resume() // the answer could not be read from a paused socket
      // A close frame after so many bytes would arrive late, and the hub needs the memory.
      if (of === 'hub' && socket.writableLength > options.maxBufferedBytes) ws.terminate()
      else this.#sendClose(ending)
      owner.report(ending.error)
    })
  }

  /** Records that the client violated the protocol; `ws` has sent the close frame. */
  protocolError(error: HubError): void {
    if (this.#ending?.error !== undefined) return // the hub has ended it already
    if (this.#ending === undefined) {
      const isConnecting = this.#owner.phase === 'connecting'
      this.#ending = isConnecting ? endings.neverOpened(error) : endings.protocolFailure(error)
      this.#isCloseSent = true
    }
    this.#owner.report(error)
  }

  /** Unless this side has begun to terminate the open connection, `ws` does. */
  terminating(): void {
    if (this.#ending !== undefined) return
    const ending = endings.tooManyPings()
    this.#ending = ending
    this.#owner.report(ending.error)
  }

  /** Closes the connection after invalid text. @param hangUp ends the socket after the close frame */
  invalidText(hangUp: () => void): void {
    const ending = endings.invalidText()
    this.sayGoodbye(ending, hangUp)
    this.#owner.report(ending.error)
  }

  /**
   * Works out how the connection ended, and counts it.
   * @param received code and reason of the client's close frame; 1006 without one
   * @returns a function that calls `onClose`
   */
  end(
    received: { readonly code: number; readonly reason: string },
    openMs: number,
    tally: Tally,
  ): () => void {
    const { cause, reason } = closeCause(received, this.#ending, this.#isCloseSent, openMs)
    tally.countClosed(cause, received.code !== CloseCode.abnormal)
    return () => this.#runOnClose(cause, reason)
  }

  #runOnClose(cause: CloseCause, reason: string): void {
    const owner = this.#owner
    const { connection } = owner
    const { code } = cause
    if (closeChannel.hasSubscribers) closeChannel.publish({ connection, code, reason, cause })
    runCallback('onClose', () => owner.handler.onClose?.(connection, code, reason, cause), owner)
  }

  #begin(ending: Ending): void {
    const owner = this.#owner
    this.#ending ??= ending
    owner.phase = 'closing'
    owner.setDeadline(owner.options.closeTimeoutMs)
    owner.receiver.stop()
  }

  #sendClose({ code, text }: Ending): void {
    const { ws } = this.#owner
    if (ws.readyState === OPEN) this.#isCloseSent = true
    ws.close(code, text)
  }
}
