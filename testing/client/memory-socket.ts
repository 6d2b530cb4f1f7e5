import { Duplex } from 'node:stream'
import type { UpgradeServer } from 'wshub'

/**
 * Most bytes held for a reader that does not read, in addition to the buffers of its stream: what the kernel
 * holds for a real socket.
 */
const CAPACITY_BYTES = 65_536

// Taken when the module is loaded: a test may fake the timers of its application.
const { setImmediate } = globalThis

/**
 * One end of a connection within the process. Bytes arrive in order, in a later turn of the event loop. A
 * reader that does not read makes the writer wait, and destroying one end ends the other. It does not keep
 * the process alive.
 */
export class MemorySocket extends Duplex {
  /** The other end. */
  readonly peer: MemorySocket
  remoteAddress = '127.0.0.1'
  /** The server that accepted the connection; `null` at the client's end. */
  server: UpgradeServer | null = null
  bytesRead = 0
  #bytesTaken = 0
  #inbox: Buffer[] = []
  #inboxBytes = 0
  /** Completes a write of the peer that waits for room in the inbox. */
  #parked: ((error?: Error) => void) | undefined
  #peerEnded = false
  /** Whether the stream has asked for more. */
  #wanted = false
  #scheduled = false

  constructor(peer?: MemorySocket) {
    super()
    this.peer = peer ?? new MemorySocket(this)
  }

  get bytesWritten(): number {
    return this.#bytesTaken + this.writableLength
  }

  // They have no effect in memory, but routes and middleware call them on the socket of any request.

  setTimeout(): this {
    return this
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  // `decodeStrings` is on, so that all chunks are buffers.
  override _writev(chunks: { chunk: Buffer }[], callback: (error?: Error | null) => void): void {
    const { peer } = this
    if (peer.destroyed) {
      callback(socketError('EPIPE'))
      return
    }
    // A copy: the receivers of a broadcast must not get the same memory, which a test may change.
    const bytes = Buffer.concat(chunks.map(({ chunk }) => chunk))
    peer.#inbox.push(bytes)
    peer.#inboxBytes += bytes.length
    peer.#schedule()
    const taken = (error?: Error): void => {
      if (error === undefined) this.#bytesTaken += bytes.length
      callback(error)
    }
    if (peer.#inboxBytes < CAPACITY_BYTES) taken()
    else peer.#parked = taken
  }

  override _final(callback: () => void): void {
    this.peer.#end()
    callback()
  }

  override _read(): void {
    this.#wanted = true
    this.#schedule()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#inbox = []
    this.#unpark(socketError('ECONNRESET'))
    this.peer.#end()
    callback(error)
  }

  #end(): void {
    this.#peerEnded = true
    this.#schedule()
  }

  /** Delivers in a later turn, as a network does: the reader never runs inside the writer's call. */
  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#deliver()
    })
  }

  #deliver(): void {
    while (this.#wanted && !this.destroyed) {
      const bytes = this.#inbox.shift()
      if (bytes === undefined) break
      this.#inboxBytes -= bytes.length
      this.bytesRead += bytes.length
      this.#wanted = false // before the push, in which `_read` may be called
      if (this.push(bytes)) this.#wanted = true
    }
    if (this.destroyed) return
    if (this.#inboxBytes < CAPACITY_BYTES) this.#unpark()
    if (this.#peerEnded && this.#inbox.length === 0) this.push(null)
  }

  #unpark(error?: Error): void {
    const parked = this.#parked
    this.#parked = undefined
    parked?.(error)
  }
}

function socketError(code: string): Error {
  return Object.assign(new Error(`write ${code}`), { code })
}
