import { runHandler } from '../base/run-handler.ts'
import { CloseCode } from '../protocol/close-code.ts'
import {
  OPEN,
  type SessionWebSocket,
  tell,
  type WebSocketLike,
  type WebSocketListener,
} from './hub-websocket.ts'

/**
 * A WebSocket that was opened elsewhere. Its members are not those of the hub, and may throw: that is an
 * error of its connection alone, which is closed.
 */
export class ForeignWebSocket implements SessionWebSocket {
  listener: WebSocketListener | undefined
  readonly #ws: WebSocketLike
  /** Whether reading a property has thrown. It is reported once: the hub goes on reading. */
  #isUnreadable = false

  /** @param ws emits messages as Buffers from now on */
  constructor(ws: WebSocketLike) {
    this.#ws = ws
    ws.binaryType = 'nodebuffer'
    for (const event of ['message', 'ping', 'pong', 'error', 'close']) {
      ws.on(event, (...args: unknown[]) => {
        if (this.listener !== undefined) tell(this.listener, event, args)
      })
    }
  }

  get readyState(): number {
    return this.#read('readyState', OPEN)
  }

  get protocol(): string {
    return this.#read('protocol', '')
  }

  get extensions(): string | undefined {
    return this.#read('extensions', undefined)
  }

  get bufferedAmount(): number {
    return this.#read('bufferedAmount', 0)
  }

  get isPaused(): boolean {
    return this.#read('isPaused', false)
  }

  on(event: string, listener: (...args: never[]) => void): void {
    this.#ws.on(event, listener)
  }

  send(...args: Parameters<WebSocketLike['send']>): void {
    this.#call('send', () => this.#ws.send(...args))
  }

  ping(...args: Parameters<WebSocketLike['ping']>): void {
    this.#call('ping', () => this.#ws.ping(...args))
  }

  pong(...args: Parameters<WebSocketLike['pong']>): void {
    this.#call('pong', () => this.#ws.pong(...args))
  }

  pause(): void {
    this.#call('pause', () => this.#ws.pause())
  }

  resume(): void {
    this.#call('resume', () => this.#ws.resume())
  }

  close(code?: number, reason?: string): void {
    this.#call('close', () => this.#ws.close(code, reason))
  }

  terminate(): void {
    const ended = () => this.listener?.closed(CloseCode.abnormal, '') // it will not emit `close`
    this.#call('terminate', () => this.#ws.terminate(), ended)
  }

  /** @param otherwise what the property is taken for when reading it throws */
  #read<Name extends keyof WebSocketLike>(name: Name, otherwise: WebSocketLike[Name]): WebSocketLike[Name] {
    let value = otherwise
    const read = () => {
      value = this.#ws[name]
    }
    runHandler(`${name} of the WebSocket`, read, {
      failed: (error, where) => {
        if (this.#isUnreadable) return
        this.#isUnreadable = true
        this.#failed(error, where)
      },
    })
    return value
  }

  #call(method: string, call: () => unknown, onFailure?: () => void): void {
    runHandler(`${method} of the WebSocket`, call, {
      failed: (error, where) => this.#failed(error, where, onFailure),
    })
  }

  /** In a separate turn: the connection may be writing, or closing. */
  #failed(error: Error, where: string, onFailure?: () => void): void {
    process.nextTick(() => {
      onFailure?.()
      this.listener?.failed(error, where)
    })
  }
}
