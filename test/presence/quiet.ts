import { EventEmitter } from 'node:events'
import type { Connection, Hub, WebSocketLike } from 'wshub'

/** The WebSocket of somebody who sends nothing, of which thousands are open. */
class QuietSocket implements WebSocketLike {
  readonly #events = new EventEmitter()
  readonly readyState = 1
  readonly protocol = ''
  readonly bufferedAmount = 0
  readonly isPaused = false
  binaryType = 'nodebuffer'
  on(event: string, listener: (...args: never[]) => void): void {
    this.#events.on(event, listener as (...args: unknown[]) => void) // given what ws would
  }
  send(): void {}
  ping(): void {}
  pong(): void {}
  pause(): void {}
  resume(): void {}
  close(): void {
    this.terminate()
  }
  terminate(): void {
    setImmediate(() => this.#events.emit('close', 1006, Buffer.alloc(0)))
  }
}

/** Registers a connection of a user, without a socket. */
export function quiet(hub: Hub, user: string): Connection {
  return hub.register(new QuietSocket(), {}, { metadata: { user } })
}
