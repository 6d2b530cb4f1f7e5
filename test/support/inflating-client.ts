import { constants, createInflateRaw } from 'node:zlib'
import { onTestFinished } from 'vitest'
import { type Connection, type Frame, Opcode } from 'wshub'
import { type HubServer, inTime, type RawClient } from './hub-server.ts'

/** The bytes that a sender removes from the end of each message. @see RFC 7692 §7.2.1 */
const TAIL = Buffer.from([0x00, 0x00, 0xff, 0xff])

/** A client of raw bytes that inflates all its messages with one stream of zlib, as a browser does. */
export class InflatingClient {
  readonly raw: RawClient
  readonly connection: Connection
  readonly #inflate
  #inflated: Buffer[] = []
  #taken = 0

  private constructor(raw: RawClient, connection: Connection, windowBits: number) {
    this.raw = raw
    this.connection = connection
    // In small pieces, since zlib notices a distance beyond the window only between them.
    this.#inflate = createInflateRaw({ windowBits, flush: constants.Z_SYNC_FLUSH, chunkSize: 64 })
    this.#inflate.on('data', (data: Buffer) => this.#inflated.push(data))
    onTestFinished(() => this.#inflate.close())
  }

  static async open(served: HubServer, parameters = ''): Promise<InflatingClient> {
    const { client, connection } = await served.connectRaw([
      `Sec-WebSocket-Extensions: permessage-deflate${parameters}`,
    ])
    const bits = /server_max_window_bits=(\d+)/.exec(client.response)?.[1] ?? 15
    return new InflatingClient(client, connection, Number(bits))
  }

  /** The texts before a marker that comes plain, and after the one of the last call. */
  async upTo(marker: string): Promise<string[]> {
    const { frames } = this.raw
    const isMarker = ({ rsv1, payload }: Frame) => !rsv1 && payload.toString() === marker
    await frames.until(marker, (all) => all.slice(this.#taken).some(isMarker))
    const texts: string[] = []
    for (;;) {
      const frame = frames.all[this.#taken++]
      if (frame === undefined || isMarker(frame)) return texts
      if (frame.opcode !== Opcode.text) continue
      texts.push(frame.rsv1 ? await this.#read(frame.payload) : frame.payload.toString())
    }
  }

  async #read(payload: Buffer): Promise<string> {
    const inflate = this.#inflate
    const read = new Promise<void>((resolve, reject) => {
      inflate.once('error', reject)
      inflate.write(Buffer.concat([payload, TAIL]), () => {
        inflate.off('error', reject)
        resolve()
      })
    })
    await inTime('a message to be inflated', read, () => payload.toString('hex'))
    return Buffer.concat(this.#inflated.splice(0)).toString()
  }
}
