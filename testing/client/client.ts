import type { IncomingMessage } from 'node:http'
import { types } from 'node:util'
import type { WebSocket } from 'ws'
import type { Message, Payload } from 'wshub'
import { Wait } from './wait.ts'

/**
 * How a connection ended: the code and the reason of the close frame. The code is 1005 when the frame had
 * none, and 1006 when there was no frame.
 */
export interface CloseInfo {
  readonly code: number
  readonly reason: string
}

/** Most messages that are kept for `next`. */
const MAX_UNREAD = 10_000

/** How many of the latest messages an error shows, and how much of each, in characters or bytes. */
const SHOWN_MESSAGES = 20
const SHOWN_LENGTH = 100

/**
 * A WebSocket client for tests, made by `connect`. It answers pings, and keeps up to 10,000 messages until
 * they are read with `next`. One more terminates the connection.
 */
export class TestClient {
  /** The 101 response, for its headers: `client.response.headers['set-cookie']`. */
  readonly response: IncomingMessage
  readonly #ws: WebSocket
  readonly #timeoutMs: number
  readonly #unread: Message[] = []
  readonly #takers = new Set<Wait<Message>>()
  readonly #leavers = new Set<Wait<void>>()
  readonly #shown: string[] = []
  #received = 0
  #closeInfo: CloseInfo | undefined
  /** Why the client itself ended the connection. */
  #fault: Error | undefined

  /** @internal */
  constructor(ws: WebSocket, response: IncomingMessage, timeoutMs: number) {
    this.response = response
    this.#ws = ws
    this.#timeoutMs = timeoutMs
    ws.on('message', (data: Buffer, isBinary: boolean) => {
      this.#receive(isBinary ? { type: 'binary', data } : { type: 'text', data: data.toString() })
    })
    ws.on('error', (error) => {
      this.#fault ??= error
    })
    ws.on('close', (code, reason) => this.#leave({ code, reason: reason.toString() }))
  }

  /** The subprotocol that the application chose; empty when there is none. */
  get protocol(): string {
    return this.#ws.protocol
  }

  /** Bytes sent that the application has not read yet. */
  get bufferedAmount(): number {
    return this.#ws.bufferedAmount
  }

  /**
   * How the connection ended. Each access starts a wait, which rejects when the connection has not ended
   * within `timeoutMs`. An unobserved rejection does not raise `unhandledRejection`.
   */
  get closed(): Promise<CloseInfo> {
    const closed = this.#left()
    closed.catch(() => {})
    return closed
  }

  /**
   * Sends a text message for a string, and a binary message for bytes.
   * @returns `false` when the connection is closing or closed
   * @throws {TypeError} for anything else
   */
  send(data: Payload): boolean {
    if (typeof data !== 'string' && !ArrayBuffer.isView(data) && !types.isArrayBuffer(data)) {
      throw new TypeError('a message is a string or bytes; serialize objects yourself')
    }
    if (this.#ws.readyState !== this.#ws.OPEN) return false
    this.#ws.send(data)
    return true
  }

  /** Sends a ping, for an application that has an `onPing`. */
  ping(data: Payload = ''): void {
    this.#ws.ping(data)
  }

  /**
   * Returns the next message, in order. It may have been received already. Rejects when none arrives within
   * `timeoutMs`, or when the connection ends first; the error says what was received.
   */
  async next(): Promise<Message> {
    const message = await this.#take()
    if (message !== undefined) return message
    throw this.#error(
      this.#closeInfo === undefined ? `no message within ${this.#timeoutMs} ms` : 'no message',
    )
  }

  /** Yields messages until the connection ends, and waits for each as `next` does. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Message, void, undefined> {
    for (;;) {
      const message = await this.#take()
      if (message !== undefined) yield message
      else if (this.#closeInfo !== undefined) return
      else throw this.#error(`no message within ${this.#timeoutMs} ms`)
    }
  }

  /**
   * Stops reading, like a client that stalls: the socket of the application fills up. Pings are not answered
   * then.
   */
  pause(): void {
    this.#ws.pause()
  }

  /** Continues to read. */
  resume(): void {
    this.#ws.resume()
  }

  /**
   * Starts the closing handshake. A paused client continues to read.
   * @param code 1000, or 3000 to 4999; without it the application gets 1005
   * @returns the same as `closed`; a connection that is not closed within `timeoutMs` is terminated
   */
  close(code?: number, reason?: string): Promise<CloseInfo> {
    this.#ws.resume() // the answer could not be read from a paused socket
    this.#ws.close(code, reason)
    return this.closed
  }

  /** Ends the connection without a closing handshake: the application gets 1006. */
  terminate(): void {
    this.#ws.terminate()
  }

  #receive(message: Message): void {
    this.#received++
    this.#shown.push(shown(message))
    if (this.#shown.length > SHOWN_MESSAGES) this.#shown.shift()
    const [taker] = this.#takers
    if (taker !== undefined) {
      this.#takers.delete(taker) // at once: the next message may arrive before the waiting code continues
      taker.end(message)
      return
    }
    if (this.#unread.push(message) <= MAX_UNREAD) return
    this.#fault = new Error(`${MAX_UNREAD} messages were not read with next()`)
    this.#ws.terminate()
  }

  #leave(closeInfo: CloseInfo): void {
    this.#closeInfo = closeInfo
    for (const wait of [...this.#takers, ...this.#leavers]) wait.end()
  }

  /** Returns the next message, or `undefined` when the time is over or the connection has ended. */
  async #take(): Promise<Message | undefined> {
    const message = this.#unread.shift()
    if (message !== undefined || this.#closeInfo !== undefined) return message
    const taker = new Wait<Message>(this.#timeoutMs)
    this.#takers.add(taker)
    try {
      return await taker.promise
    } finally {
      this.#takers.delete(taker)
    }
  }

  async #left(): Promise<CloseInfo> {
    if (this.#closeInfo !== undefined) return this.#closeInfo
    const leaver = new Wait<void>(this.#timeoutMs)
    this.#leavers.add(leaver)
    await leaver.promise
    this.#leavers.delete(leaver)
    if (this.#closeInfo !== undefined) return this.#closeInfo
    const error = this.#error(`not closed within ${this.#timeoutMs} ms`)
    // When a close frame is not answered, a timer of `ws` would keep the process alive for half a minute.
    if (this.#ws.readyState === this.#ws.CLOSING) this.#ws.terminate()
    throw error
  }

  /** Returns an error that says what was received so far. */
  #error(what: string): Error {
    const hidden = this.#received - this.#shown.length
    const messages = [...(hidden > 0 ? [`${hidden} more`] : []), ...this.#shown].join(', ')
    const end = this.#closeInfo
    const isOpen = this.#ws.readyState === this.#ws.OPEN
    const state = end && `closed with ${end.code} ${JSON.stringify(end.reason)}`
    const text = `${what}; received: ${messages || 'nothing'}; the connection is ${state ?? (isOpen ? 'open' : 'closing')}`
    return this.#fault === undefined ? new Error(text) : new Error(text, { cause: this.#fault })
  }
}

function shown({ type, data }: Message): string {
  const text = type === 'text' ? JSON.stringify(data.slice(0, SHOWN_LENGTH)) : hex(data)
  return data.length > SHOWN_LENGTH
    ? `${text}… (${data.length} ${type === 'text' ? 'characters' : 'bytes'})`
    : text
}

function hex(data: Buffer): string {
  return `0x${data.subarray(0, SHOWN_LENGTH).toString('hex')}`
}
