import type { IncomingMessage } from 'node:http'
import type { WebSocket } from 'ws'
import type { Message, Payload } from 'wshub'
import { Wait } from './wait.ts'

/**
 * How a connection ended: the code and the reason of the close frame, 1005 without a code and 1006 without a
 * frame.
 */
export interface CloseInfo {
  readonly code: number
  readonly reason: string
}

/** Messages that are kept for `next`. */
const MAX_UNREAD = 10_000

/** How many messages an error shows, the latest ones, and how much of each, in characters or bytes. */
const SHOWN_MESSAGES = 20
const SHOWN_LENGTH = 100

/**
 * A WebSocket client for tests, made by `connect`. It answers pings, and keeps what it receives until that is
 * taken: up to 10,000 messages, and with one more it gives the connection up.
 */
export class TestClient {
  /** The 101: `client.response.headers['set-cookie']`. */
  readonly response: IncomingMessage
  readonly #ws: WebSocket
  readonly #timeoutMs: number
  readonly #unread: Message[] = []
  readonly #takers = new Set<Wait<Message>>()
  readonly #leavers = new Set<Wait<void>>()
  readonly #shown: string[] = []
  #received = 0
  #closeInfo: CloseInfo | undefined
  /** Why the client itself gave the connection up. */
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

  /** Bytes sent that the application has not read: it grows while the application does not read. */
  get bufferedAmount(): number {
    return this.#ws.bufferedAmount
  }

  /**
   * How the connection ended. Each access is a wait of its own: it rejects when the connection has not ended
   * after `timeoutMs`. A rejection that nobody looks at is no unhandled one.
   */
  get closed(): Promise<CloseInfo> {
    const closed = this.#left()
    closed.catch(() => {})
    return closed
  }

  /**
   * Sends a text message for a string, and a binary message for bytes.
   * @returns `false` when the connection is closing or closed
   */
  send(data: Payload): boolean {
    if (this.#ws.readyState !== this.#ws.OPEN) return false
    this.#ws.send(data)
    return true
  }

  /** Sends a ping, for an application that has an `onPing`. */
  ping(data: Payload = ''): void {
    this.#ws.ping(data)
  }

  /**
   * Takes the next message that nobody has taken yet, in order; it may have come already.
   * Rejects when none comes within `timeoutMs`, or the connection ends first, and tells what has come until
   * then.
   */
  async next(): Promise<Message> {
    const message = await this.#take()
    if (message !== undefined) return message
    throw this.#error(
      this.#closeInfo === undefined ? `no message within ${this.#timeoutMs} ms` : 'no message',
    )
  }

  /** The messages up to the end of the connection; waits for each as `next` does. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Message, void, undefined> {
    for (;;) {
      const message = await this.#take()
      if (message !== undefined) yield message
      else if (this.#closeInfo !== undefined) return
      else throw this.#error(`no message within ${this.#timeoutMs} ms`)
    }
  }

  /**
   * Stops reading, as a client that stalls: the application finds its socket full. Pings are not answered
   * then.
   */
  pause(): void {
    this.#ws.pause()
  }

  /** Reads on. */
  resume(): void {
    this.#ws.resume()
  }

  /**
   * Starts the closing handshake. A client that was paused reads on.
   * @param code 1000, or from 3000 to 4999; without it the application gets 1005
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
      this.#takers.delete(taker) // now, not once it goes on: the next message may come before that
      taker.end(message)
      return
    }
    if (this.#unread.push(message) <= MAX_UNREAD) return
    this.#fault = new Error(`${MAX_UNREAD} messages wait to be taken with next()`)
    this.#ws.terminate()
  }

  #leave(closeInfo: CloseInfo): void {
    this.#closeInfo = closeInfo
    for (const wait of [...this.#takers, ...this.#leavers]) wait.end()
  }

  /** The next message; `undefined` when the time is over or the connection has ended. */
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
    // An unanswered close frame: the timer of `ws` for it would keep the process alive for half a minute.
    if (this.#ws.readyState === this.#ws.CLOSING) this.#ws.terminate()
    throw error
  }

  /** An error that tells what has come so far. */
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
