import { Duplex } from 'node:stream'
import type { Random } from './random.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** Bytes that a server writes before its socket counts as congested; few, so that short scripts get there. */
export const HIGH_WATER_BYTES = 512
/** Most time, in ms, that bytes take between a client and its node. */
const LATENCY_MS = 3

/** The client's end of a {@link Wire}. */
export interface WireClient {
  /** Bytes have arrived. @param taken to be called when they are read */
  received(bytes: Buffer, taken: () => void): void
  /** The server has ended or destroyed the connection. */
  ended(): void
}

/**
 * A connection between a client and a node, over which bytes take some time. The server's end is a socket as
 * `node:http` and `ws` use it.
 */
export class Wire {
  readonly socket: ServerSocket
  readonly #clock: VirtualClock
  readonly #random: Random
  readonly #client: WireClient
  readonly #owners: { readonly client: string; readonly node: string }
  #toClientAt = 0
  #toServerAt = 0
  /** Whether nothing arrives at either end any more, and neither is notified. */
  isSilent = false

  constructor(
    clock: VirtualClock,
    random: Random,
    client: WireClient,
    owners: { readonly client: string; readonly node: string },
  ) {
    this.#clock = clock
    this.#random = random
    this.#client = client
    this.#owners = owners
    this.socket = new ServerSocket(this)
  }

  /** Sends bytes of the client. */
  send(bytes: Buffer): void {
    this.#toServer(() => {
      if (this.socket.destroyed || this.socket.readableEnded) return
      this.socket.bytesRead += bytes.length // by which a hub sees that a client is alive
      this.socket.push(bytes)
    })
  }

  /** Ends the connection at the client's end: the server learns it later. */
  hangUp(): void {
    this.#toServer(() => {
      if (!this.socket.destroyed) this.socket.push(null)
    })
  }

  /** Makes the node accept the connection, before anything that the client sends. */
  accepted(accept: () => void): void {
    this.#toServer(accept)
  }

  /** @internal For the socket. */
  write(bytes: Buffer, taken: () => void): void {
    this.#toClient(() => this.#client.received(bytes, () => this.#clock.post(this.#owners.node, taken)))
  }

  /** @internal For the socket. */
  end(): void {
    this.#toClient(() => this.#client.ended())
  }

  #toClient(arrive: () => void): void {
    const { now } = this.#clock
    this.#toClientAt = Math.max(this.#toClientAt, now + this.#random.between(0, LATENCY_MS))
    const run = (): void => {
      if (!this.isSilent) arrive()
    }
    this.#clock.post(this.#owners.client, run, this.#toClientAt - now)
  }

  #toServer(arrive: () => void): void {
    const { now } = this.#clock
    this.#toServerAt = Math.max(this.#toServerAt, now + this.#random.between(0, LATENCY_MS))
    const run = (): void => {
      if (!this.isSilent) arrive()
    }
    this.#clock.post(this.#owners.node, run, this.#toServerAt - now)
  }
}

/** The server's end. */
class ServerSocket extends Duplex {
  readonly #wire: Wire
  remoteAddress = '127.0.0.1'
  bytesRead = 0
  bytesWritten = 0

  constructor(wire: Wire) {
    super({ writableHighWaterMark: HIGH_WATER_BYTES })
    this.#wire = wire
  }

  // Without effect here, but `node:http` and `ws` call them.

  setTimeout(): this {
    return this
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  override _writev(chunks: { chunk: Buffer }[], callback: (error?: Error | null) => void): void {
    this.#wire.write(Buffer.concat(chunks.map(({ chunk }) => chunk)), () => {
      if (!this.destroyed) callback()
    })
  }

  override _final(callback: () => void): void {
    this.#wire.end()
    callback()
  }

  override _read(): void {}

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#wire.end()
    callback(error)
  }
}
