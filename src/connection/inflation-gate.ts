import { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { FIN, headerLength, OPCODE, Opcode, payloadLength, RSV1 } from '../protocol/frame-header.ts'

const NOTHING = Buffer.alloc(0)

/**
 * The stream between a socket and `ws` where messages may be compressed. `ws` inflates everything that it
 * receives, even while it is paused, and so turns one read of 64 KiB into 50 MB. This stream passes one
 * compressed message at a time: the next one once that was emitted and the connection is not paused.
 */
export class InflationGate extends Duplex {
  readonly #socket: Duplex
  #rest: Buffer = NOTHING
  #isStarted = false
  #isEnded = false
  #isPumping = false
  /** The number of messages that were passed to `ws` in full and that it has not emitted yet. */
  #awaited = 0
  /** Bytes of the current payload that have not arrived yet. */
  #left = 0
  /** Whether the current frame is the last of a message, and whether that message is compressed. */
  #isLast = false
  #isCompressed = false

  constructor(socket: Duplex) {
    super()
    this.#socket = socket
  }

  /**
   * Starts reading from the socket.
   * @param head bytes that were read before
   */
  start(head: Buffer): void {
    const socket = this.#socket
    this.#isStarted = true
    this.#rest = head
    if (socket instanceof Socket) socket.setTimeout(0).setNoDelay() // as `ws` does with a socket
    socket.on('data', this.#read)
    socket.on('end', this.#ended)
    socket.on('error', this.#failed)
    socket.on('close', this.#closed)
    this.#pump()
  }

  /** Bytes that were read and not passed to `ws` yet. */
  get heldBytes(): number {
    return this.#rest.length
  }

  /** To be called when `ws` has emitted a message. */
  emitted(): void {
    if (this.#awaited > 0) this.#awaited--
    this.#pump()
  }

  override resume(): this {
    super.resume()
    this.#pump()
    return this
  }

  override _read(): void {
    this.#pump()
  }

  override _write(bytes: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(bytes, encoding, done)
  }

  // `ws` writes a frame in two parts. What the connection itself writes to the socket must not come between
  // them.
  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#socket.write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done)
  }

  override _final(done: () => void): void {
    this.#socket.end(done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const socket = this.#socket
    socket.off('data', this.#read)
    this.#rest = NOTHING
    socket.destroy()
    done(error)
  }

  readonly #read = (bytes: Buffer): void => {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    this.#pump()
  }

  readonly #ended = (): void => {
    this.#isEnded = true
    this.#pump()
  }

  readonly #failed = (error: Error): void => {
    this.destroy(error)
  }

  readonly #closed = (): void => {
    if (!this.#isEnded) this.destroy()
  }

  /** Passes to `ws` what it may receive, and resumes reading when nothing is left. */
  #pump(): void {
    if (!this.#isStarted || this.#isPumping || this.destroyed) return
    this.#isPumping = true
    // Without a listener `ws` has finished with the client, and the rest is only read to find its end.
    while (this.#mayPass) {
      const bytes = this.listenerCount('data') === 0 ? this.#rest : this.#nextPiece()
      if (bytes.length === 0) break
      this.#rest = this.#rest.subarray(bytes.length)
      this.push(bytes)
    }
    this.#isPumping = false
    if (!this.#mayPass) {
      this.#socket.pause()
    } else if (!this.#isEnded) {
      this.#socket.resume()
    } else {
      this.#isStarted = false
      this.push(this.#rest.length > 0 ? this.#rest : null)
      if (this.#rest.length > 0) this.push(null)
    }
  }

  get #mayPass(): boolean {
    return !this.isPaused() && (this.#awaited === 0 || this.listenerCount('data') === 0)
  }

  /**
   * Returns whole headers with their payloads as far as received, up to the end of the first compressed
   * message.
   */
  #nextPiece(): Buffer {
    const bytes = this.#rest
    let at = 0
    for (let isCut = false; at < bytes.length && !isCut; ) {
      if (this.#left === 0) {
        const end = at + headerLength(bytes, at)
        if (end > bytes.length) break
        this.#begin(bytes, at)
        at = end
      }
      const taken = Math.min(this.#left, bytes.length - at)
      this.#left -= taken
      at += taken
      if (this.#left === 0 && this.#isLast) {
        this.#awaited++
        isCut = this.#isCompressed
      }
    }
    return bytes.subarray(0, at)
  }

  /** Starts a frame. Frames that violate the protocol are left to `ws`. */
  #begin(bytes: Buffer, at: number): void {
    const first = bytes[at] ?? 0
    const opcode = first & OPCODE
    this.#left = payloadLength(bytes, at)
    this.#isLast = opcode <= Opcode.binary && (first & FIN) !== 0
    if (opcode === Opcode.text || opcode === Opcode.binary) this.#isCompressed = (first & RSV1) !== 0
  }
}
