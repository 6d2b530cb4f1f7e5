import { Frame, isTextFrame, Opcode, payloadOf } from './frame.ts'
import type { OutboxSocket } from './outbox.ts'
import type { WebSocketLike } from './websocket-events.ts'

/** More than this waiting in the WebSocket counts as congestion. */
const HIGH_WATER_BYTES = 65_536

/**
 * The outbox of a connection whose WebSocket was opened elsewhere writes here: each frame goes through the public
 * sending methods, since the socket beneath belongs to whoever opened it.
 */
export class WebSocketWritable implements OutboxSocket {
  readonly #ws: WebSocketLike
  #drained: (() => void) | undefined
  readonly #sent = (): void => {
    if (this.writableNeedDrain) return
    const drained = this.#drained
    this.#drained = undefined
    drained?.()
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
      if (opcode === Opcode.ping) this.#ws.ping(payload)
      else if (opcode === Opcode.pong) this.#ws.pong(payload)
      else this.#ws.send(payloadOf(rest.subarray(0, next.bytes)), { binary: !isTextFrame(rest) }, this.#sent)
      rest = rest.subarray(next.bytes)
    }
  }
}
