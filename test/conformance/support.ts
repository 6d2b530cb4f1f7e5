/**
 * Tools to test the rules of RFC 6455 and RFC 7692: a client of raw bytes, a hub that echoes, and a second
 * client.
 */
import { expect } from 'vitest'
import { type EventHandler, type Frame, type HubErrorCode, type HubOptions, Opcode } from 'wshub'
import { type HubServer, type RawClient, serve } from '../support/hub-server.ts'
import { inPieces, text } from './wire.ts'

const MARKER = 'the marker'

export const echo: EventHandler = {
  onMessage(connection, message) {
    if (message.type === 'text') connection.sendText(message.data)
    else connection.sendBinary(message.data)
  },
}

/** A frame in words: `text abc`, `binary 0x00`, `pong x`, `close 1000 bye`. */
export function inWords({ opcode, payload }: Frame): string {
  switch (opcode) {
    case Opcode.text:
      return `text ${payload}`
    case Opcode.binary:
      return `binary 0x${payload.toString('hex')}`
    case Opcode.close:
      return ['close', ...(payload.length < 2 ? [] : [payload.readUInt16BE(), payload.subarray(2)])]
        .join(' ')
        .trim()
    case Opcode.ping:
      return `ping ${payload}`.trim()
    case Opcode.pong:
      return `pong ${payload}`.trim()
    default:
      return 'continuation'
  }
}

/** A client of raw bytes, beside a second one that must not be affected. */
export class Peer {
  readonly client: RawClient
  readonly served: HubServer
  readonly #neighbour: RawClient

  private constructor(served: HubServer, client: RawClient, neighbour: RawClient) {
    this.served = served
    this.client = client
    this.#neighbour = neighbour
  }

  /** Performs the handshake with its own hub, which echoes. */
  static async meet(options: HubOptions = {}, headers: readonly string[] = []): Promise<Peer> {
    const served = await serve(options, echo)
    const { client: neighbour } = await served.connectRaw()
    const { client } = await served.connectRaw(headers)
    return new Peer(served, client, neighbour)
  }

  /** Writes in one packet. */
  write(...bytes: Buffer[]): void {
    this.client.socket.write(Buffer.concat(bytes))
  }

  /** Writes one byte at a time, each in its own packet. */
  async writeBytewise(...bytes: Buffer[]): Promise<void> {
    for (const piece of inPieces(Buffer.concat(bytes), 1)) await this.flush(piece)
  }

  /** Writes, and resolves once the operating system has all bytes. */
  async flush(bytes: Uint8Array): Promise<void> {
    await new Promise<void>((resolve) => this.client.socket.write(bytes, () => resolve()))
  }

  /** The frames that were received, once everything written before has been handled. */
  async heard(): Promise<Frame[]> {
    const isMarker = ({ opcode, payload }: Frame) => opcode === Opcode.text && payload.toString() === MARKER
    this.write(text(MARKER))
    await this.client.frames.first('the marker', isMarker)
    const { all } = this.client.frames
    return all.splice(0, all.findIndex(isMarker) + 1).slice(0, -1)
  }

  /** The same frames, in words. */
  async heardWords(): Promise<string[]> {
    return (await this.heard()).map(inWords)
  }

  /** The callbacks that ran for this client, after `open`. */
  get log(): string[] {
    return this.served.log.all.filter((entry) => entry !== 'open')
  }

  /**
   * Expects the hub to fail the connection: after the given frames, a close frame with that code and the end
   * of TCP; after the given callbacks, one error for the application; and a second client that is still
   * served.
   */
  async fails(
    closeCode: number,
    error: HubErrorCode,
    { frames = [], callbacks = [] }: Partial<Record<'frames' | 'callbacks', readonly string[]>> = {},
  ): Promise<void> {
    await this.closes(
      [...frames, `close ${closeCode}`],
      [...callbacks, `error ${error}`, `close ${closeCode}`],
    )
    expect(this.served.errors).toEqual([expect.objectContaining({ code: error, closeCode })])
  }

  /**
   * Expects the connection to end with those frames and callbacks, and a second client that is still served.
   */
  async closes(frames: readonly string[], callbacks: readonly string[]): Promise<void> {
    await this.client.hungUp()
    expect(this.client.frames.all.map(inWords)).toEqual(frames)
    await this.served.log.first('onClose', (entry) => entry.startsWith('close'))
    expect(this.log).toEqual(callbacks)
    await this.#neighbourIsServed()
  }

  async #neighbourIsServed(): Promise<void> {
    this.#neighbour.socket.write(text('still here?'))
    const { payload } = await this.#neighbour.frames.first('the echo of the neighbour', () => true)
    expect(payload.toString()).toBe('still here?')
    expect(this.served.hub.size).toBe(1)
  }
}
