import { EventEmitter } from 'node:events'

/** The WebSocket of somebody who sends nothing. */
export class QuietSocket {
  #events = new EventEmitter()
  readyState = 1
  protocol = ''
  bufferedAmount = 0
  isPaused = false
  binaryType = 'nodebuffer'
  on(event, listener) {
    this.#events.on(event, listener)
  }
  send() {}
  ping() {}
  pong() {}
  pause() {}
  resume() {}
  close() {
    this.terminate()
  }
  terminate() {
    setImmediate(() => this.#events.emit('close', 1006, Buffer.alloc(0)))
  }
}
