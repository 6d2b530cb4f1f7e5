import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { HubError } from '../base/errors.ts'

/**
 * The most bytes that are read from a client which writes before it is answered; twice as many may be held.
 */
const MAX_EARLY_BYTES = 65_536

/**
 * The socket of a request. A duplex stream that was injected into the server may lack the optional members.
 */
export type UpgradeSocket = Duplex &
  Partial<Pick<Socket, 'remoteAddress' | 'bytesRead' | 'bytesWritten' | 'destroySoon'>>

/** The events of the socket that its upgrade reacts to. */
export interface ClientEvents {
  /** The client has disconnected; what was written to it may still be sent. */
  readonly ended: () => void
  readonly closed: () => void
  readonly drained: () => void
  readonly timedOut: () => void
}

/**
 * The listener of each event. Node has removed its own: without one for `drain`, a response that is larger
 * than the buffers would stall.
 */
const LISTENERS = { close: 'closed', end: 'ended', drain: 'drained', timeout: 'timedOut' } as const

/** The client of a pending upgrade: its socket, until something else owns that. */
export class UpgradeClient {
  readonly socket: UpgradeSocket
  #events: ClientEvents | undefined
  /** The bytes that earlier responses on the same TCP connection had written. */
  readonly #bytesWrittenBefore: number
  #head: Buffer

  constructor(socket: UpgradeSocket, head: Buffer) {
    this.socket = socket
    this.#head = head
    this.#bytesWrittenBefore = socket.bytesWritten ?? 0
  }

  /** Adds the listeners: a reset of the connection during an async hook must not be an uncaught error. */
  watch(events: ClientEvents): void {
    const { socket } = this
    this.#events = events
    socket.on('error', ignore)
    for (const [event, name] of Object.entries(LISTENERS)) socket.on(event, events[name])
  }

  /** The bytes that the client sent after its request, as far as they were read from the socket. */
  get head(): Buffer {
    return this.#head
  }

  /** Whether the client has disconnected. */
  get isGone(): boolean {
    return this.socket.destroyed || !this.socket.writable
  }

  /** Whether somebody has written to the client since its request. */
  get isAnswered(): boolean {
    return (this.socket.bytesWritten ?? 0) > this.#bytesWrittenBefore
  }

  /** The number of listeners that {@link UpgradeClient.watch} has added to the socket, but for errors. */
  get ownListeners(): number {
    return this.#events === undefined ? 0 : Object.keys(LISTENERS).length
  }

  /**
   * Reads what the client has sent in the meantime, because a socket reports its end only after all bytes are
   * read.
   */
  readEarlyBytes(): void {
    if (this.#head.length >= MAX_EARLY_BYTES) return
    const bytes: unknown = this.socket.read()
    if (bytes instanceof Buffer) this.#head = Buffer.concat([this.#head, bytes])
  }

  /** Watches for a client that disconnects. */
  watchEnd(): void {
    if (this.#events !== undefined) this.socket.on('end', this.#events.ended)
  }

  /**
   * Stops watching, before `ws` adds its own listener: a list that had three listeners keeps room for twenty
   * when one is removed, which takes 144 bytes a connection (`npm run bench -- memory`).
   */
  unwatchEnd(): void {
    if (this.#events !== undefined) this.socket.off('end', this.#events.ended)
  }

  /** Answers with an error, and ends the socket. */
  refuse({ status, headers, message }: HubError): void {
    this.socket.on('error', () => {}) // a separate listener, because a later release removes `ignore`
    const lines = Object.entries({
      ...headers,
      'Content-Type': 'text/plain; charset=utf-8',
      'Content-Length': Buffer.byteLength(message),
    }).map(([name, value]) => `${name}: ${value}\r\n`)
    this.socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${message}`)
    this.end()
  }

  /** Ends the socket after what was written to it. */
  end(): void {
    const { socket } = this
    // Bytes that the client still sends are useless, but unread they would turn our answer into a reset.
    socket.resume()
    if (socket.destroySoon !== undefined) socket.destroySoon()
    else socket.end(() => socket.destroy())
  }

  /** Removes all listeners: the socket has a new owner. */
  release(): void {
    const { socket } = this
    const events = this.#events
    // A socket that an earlier response has broken has yet to emit its error, which would have no other
    // listener.
    if (events === undefined) {
      if (!socket.writable) socket.on('error', ignore)
      return
    }
    for (const [event, name] of Object.entries(LISTENERS)) socket.off(event, events[name])
    if (socket.writable) socket.off('error', ignore)
  }
}

function ignore(): void {}
