import type { OutboxSocket } from '../delivery/outbox.ts'
import { Frame } from '../protocol/frame.ts'
import { Opcode } from '../protocol/frame-header.ts'
import { isTextFrame, payloadOf } from '../protocol/message-frame.ts'
import type { WebSocketLike } from './hub-websocket.ts'

/** More than this waiting in the WebSocket counts as congestion. */
const HIGH_WATER_BYTES = 65_536

/** How often, in ms, it is looked whether what others have sent has gone. */
const FOREIGN_POLL_MS = 20

/**
 * The outbox of a connection whose WebSocket was opened elsewhere writes here: each frame goes through the public
 * sending methods, since the socket beneath belongs to whoever opened it.
 */
export class WebSocketWritable implements OutboxSocket {
  readonly #ws: WebSocketLike
  #drained: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined
  readonly #sent = (): void => {
    const drained = this.#drained
    if (drained === undefined) return
    if (this.writableNeedDrain) {
      // What waits now is of others who send through the same WebSocket; nobody tells when it has gone.
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined
        this.#sent()
      }, FOREIGN_POLL_MS).unref()
      return
    }
    this.#drained = undefined
    drained()
  }

  constructor(ws: WebSocketLike) {
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

  /** Takes whole frames, as the outbox joined them. */
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
