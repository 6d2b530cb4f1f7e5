import type { OutboxSocket } from '../delivery/outbox-owner.ts'
import { Frame } from '../protocol/frame.ts'
import { Opcode } from '../protocol/frame-header.ts'
import { isTextFrame, payloadOf } from '../protocol/message-frame.ts'
import { ForeignWebSocket } from './foreign-websocket.ts'
import type { WebSocketLike } from './hub-websocket.ts'
import type { Transport } from './transport.ts'

/** A WebSocket with more than this many waiting bytes counts as congested. */
const HIGH_WATER_BYTES = 65_536

/** The interval, in ms, of checks whether the bytes sent by others were written. */
const FOREIGN_POLL_MS = 20

/**
 * Writes the frames of an outbox to a WebSocket that was opened elsewhere. They go through its public
 * methods, since the socket beneath belongs to the code that opened it.
 */
export class WebSocketWritable implements OutboxSocket {
  readonly #ws: ForeignWebSocket
  #drained: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined
  readonly #sent = (): void => {
    const drained = this.#drained
    if (drained === undefined) return
    if (this.writableNeedDrain) {
      // The bytes that wait now were sent by others through the same WebSocket, and no event says when they
      // are written.
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined
        this.#sent()
      }, FOREIGN_POLL_MS).unref()
      return
    }
    this.#drained = undefined
    drained()
  }

  constructor(ws: ForeignWebSocket) {
    this.#ws = ws
  }

  get writableLength(): number {
    return this.#ws.bufferedAmount
  }

  get writableNeedDrain(): boolean {
    return this.#ws.bufferedAmount > HIGH_WATER_BYTES
  }

  once(_event: 'drain', listener: () => void): void {
    this.#drained = listener
  }

  /** Writes whole frames, as the outbox joined them. */
  write(bytes: Buffer): void {
    let rest = bytes
    for (let next = Frame.decode(rest); next !== null; next = Frame.decode(rest)) {
      const { opcode, payload } = next.frame
      if (opcode === Opcode.ping) this.#ws.ping(payload, undefined, this.#sent)
      else if (opcode === Opcode.pong) this.#ws.pong(payload, undefined, this.#sent)
      else this.#ws.send(payloadOf(rest.subarray(0, next.bytes)), { binary: !isTextFrame(rest) }, this.#sent)
      rest = rest.subarray(next.bytes)
    }
  }
}

/** Returns the transport of a WebSocket that was opened elsewhere. From now on its messages are Buffers. */
export function transportOf(socket: WebSocketLike, remoteAddress: string | undefined): Transport {
  const ws = new ForeignWebSocket(socket)
  return {
    ws,
    socket: new WebSocketWritable(ws),
    remoteAddress,
    path: undefined,
    windowBits: 0,
    keepsContext: false,
    gate: undefined,
    server: undefined,
  }
}
