/**
 * The sizes and patterns that the public fuzzing suites send to an echo server, for the example that those
 * suites are run against.
 */
import { createHash, randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Frame, Opcode } from 'wshub'
import { start } from '../../examples/echo.ts'
import { handshake, Journal } from '../support/hub-server.ts'
import { inWords } from './support.ts'
import { close, fragments, inFragments, inPieces, ping, text, wire } from './wire.ts'

const KiB = 1024
const MiB = 1024 * KiB
const types = [
  { type: 'text', opcode: Opcode.text },
  { type: 'binary', opcode: Opcode.binary },
]

/**
 * A client that takes frames of any size: it joins their bytes once for each frame, not once for each chunk.
 */
class EchoClient {
  readonly frames = new Journal<Frame>()
  readonly #socket: Socket
  readonly #events = new Journal<string>()
  #chunks: Buffer[] = []
  #bytes = 0
  #wanted = 1
  #response = ''

  constructor(port: number) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true })
    this.#socket.on('data', (chunk) => this.#take(chunk))
    this.#socket.on('error', () => {}) // 'close' follows
    this.#socket.on('close', () => this.#events.push('close'))
    onTestFinished(() => {
      this.#socket.destroy()
    })
  }

  /** Starts the example and performs the handshake. */
  static async open(headers: readonly string[] = []): Promise<EchoClient> {
    const { url, close } = await start({ port: 0, host: '127.0.0.1' })
    onTestFinished(close)
    const client = new EchoClient(Number(new URL(url).port))
    client.#socket.write(handshake(headers))
    await client.#events.first('the answer to the handshake', () => true)
    expect(client.#response).toMatch(/^HTTP\/1.1 101/)
    return client
  }

  get response(): string {
    return this.#response
  }

  /** Writes everything at once. */
  write(...bytes: Buffer[]): void {
    this.#socket.write(Buffer.concat(bytes))
  }

  /** Writes in packets of the given size. */
  async writePackets(bytes: Buffer, length: number): Promise<void> {
    for (const packet of inPieces(bytes, length)) {
      await new Promise<void>((resolve) => this.#socket.write(packet, () => resolve()))
    }
  }

  /** Returns the next frame. */
  async next(): Promise<Frame> {
    await this.frames.until('a frame', (all) => all.length > 0)
    const [frame] = this.frames.all.splice(0, 1)
    if (frame === undefined) throw new Error('the frame has gone')
    return frame
  }

  /** Expects the message back in one frame, followed by a clean close. */
  async returns(opcode: number, payload: Buffer): Promise<void> {
    const echo = await this.next()
    expect(inWords(echo).slice(0, 20)).not.toMatch(/^close/)
    expect([echo.opcode, echo.payload.length, digest(echo.payload)]).toEqual([
      opcode,
      payload.length,
      digest(payload),
    ])
    this.write(close(1000))
    expect(inWords(await this.next())).toBe('close 1000')
    await this.hungUp()
  }

  async hungUp(): Promise<void> {
    await this.#events.first('the server to hang up', (event) => event === 'close')
  }

  #take(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes < this.#wanted) return
    let bytes = Buffer.concat(this.#chunks)
    if (this.#response === '') {
      const end = bytes.indexOf('\r\n\r\n')
      if (end >= 0) {
        this.#response = bytes.subarray(0, end).toString('latin1')
        bytes = bytes.subarray(end + 4)
        this.#events.push('response')
      }
    }
    if (this.#response !== '') {
      for (let next = Frame.decode(bytes); next !== null; next = Frame.decode(bytes)) {
        bytes = bytes.subarray(next.bytes)
        this.frames.push(next.frame)
      }
    }
    this.#chunks = [bytes]
    this.#bytes = bytes.length
    this.#wanted = lengthOf(bytes)
  }
}

/**
 * Returns the size of the frame that begins with these bytes; one more than there are while its header is
 * incomplete.
 */
function lengthOf(bytes: Buffer): number {
  const short = (bytes[1] ?? 0) & 0x7f
  const head = short < 126 ? 2 : short === 126 ? 4 : 10
  if (bytes.length < head) return bytes.length + 1
  return (
    head + (short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2)))
  )
}

const digest = (bytes: Uint8Array) => createHash('sha1').update(bytes).digest('hex')

describe('the echo example', () => {
  describe.each(types)('returns a $type message', ({ opcode }) => {
    it.each([0, 125, 126, 127, 128, 65_535, 65_536, 256 * KiB, MiB, 4 * MiB, 8 * MiB, 16 * MiB])(
      'a message of %d bytes is returned',
      async (length) => {
        const client = await EchoClient.open()
        const payload = Buffer.alloc(length, 'BAsd7&jh23')
        client.write(wire({ opcode, payload }))
        await client.returns(opcode, payload)
      },
    )

    // In fragments of 64 bytes, the message has 65,536 of them: the example has to allow that many.
    it.each([64, 256, KiB, 4 * KiB, 16 * KiB, 64 * KiB, 256 * KiB, MiB, 4 * MiB])(
      'a message of 4 MiB in fragments of %d bytes is returned',
      async (length) => {
        const client = await EchoClient.open()
        const payload = Buffer.alloc(4 * MiB, 'BAsd7&jh23')
        client.write(...inFragments(opcode, payload, length))
        await client.returns(opcode, payload)
      },
    )

    it.each([64, 128, 256, 512, KiB, 2 * KiB])(
      'a message of 1 MiB in packets of %d bytes is returned',
      async (length) => {
        const client = await EchoClient.open()
        const payload = Buffer.alloc(MiB, 'BAsd7&jh23')
        await client.writePackets(wire({ opcode, payload }), length)
        await client.returns(opcode, payload)
      },
    )

    it('a message of 64 KiB in fragments of 1,300 bytes is returned', async () => {
      const client = await EchoClient.open()
      const payload = Buffer.alloc(64 * KiB, '*')
      client.write(...inFragments(opcode, payload, 1_300))
      await client.returns(opcode, payload)
    })

    it.each([0, 16, 64, 256, KiB, 4 * KiB])(
      'two hundred messages of %d bytes are returned',
      async (length) => {
        const client = await EchoClient.open()
        const payload = Buffer.alloc(length, 'BAsd7&jh23')
        const message = wire({ opcode, payload })
        for (let i = 0; i < 200; i++) {
          client.write(message)
          const echo = await client.next()
          expect(echo.opcode === opcode && echo.payload.equals(payload)).toBe(true)
        }
      },
    )
  })

  it('returns a message that arrives in fragments of a byte, one in each packet', async () => {
    const client = await EchoClient.open()
    const payload = randomBytes(500)
    await client.writePackets(Buffer.concat(inFragments(Opcode.binary, payload, 1)), 1)
    await client.returns(Opcode.binary, payload)
  })

  it('returns a message of 256 KiB and one more before it answers the close frame after them', async () => {
    const client = await EchoClient.open()
    const payload = 'BAsd7&jh23'.repeat(26_214)
    client.write(text(payload), text('Hello World!'), close(1000), ping())
    await client.hungUp()
    const words = client.frames.all.map(inWords)
    expect(words.map((frame) => frame.length)).toEqual([payload.length + 5, 17, 10])
    expect(words.slice(1)).toEqual(['text Hello World!', 'close 1000'])
  })

  it('answers pings within and after a message that is cut into packets', async () => {
    const client = await EchoClient.open()
    const parts = fragments(Opcode.text, ['fragment1', 'fragment2', 'fragment3'])
    const [first, second, third] = parts
    const bytes = Buffer.concat([first, ping('1'), second ?? first, ping('2'), third ?? first, ping('3')])
    await client.writePackets(bytes, 1)
    await client.frames.until('four frames', (all) => all.length === 4)
    expect(client.frames.all.map(inWords).toSorted()).toEqual([
      'pong 1',
      'pong 2',
      'pong 3',
      'text fragment1fragment2fragment3',
    ])
  })
})

describe('the echo example, compressing', () => {
  const TAIL = Buffer.from([0, 0, 0xff, 0xff])
  const corpora = [
    {
      what: 'JSON',
      opcode: Opcode.text,
      data: Buffer.from(
        JSON.stringify(
          Array.from({ length: 4_000 }, (_, id) => ({ id, name: `Größe ${id % 97}`, x: id * 0.37 })),
        ),
      ),
    },
    { what: 'noise', opcode: Opcode.binary, data: randomBytes(300_000) },
    { what: 'zeros', opcode: Opcode.binary, data: Buffer.alloc(200_000) },
  ]
  const offers = [
    { offer: '', bits: 15 },
    { offer: '; client_no_context_takeover; client_max_window_bits', bits: 15 },
    { offer: '; server_max_window_bits=8', bits: 8 },
    { offer: '; server_max_window_bits=9', bits: 9 },
    { offer: '; server_no_context_takeover; server_max_window_bits=8', bits: 8 },
  ]
  const sizes = [
    { length: 16, fragment: 0 },
    { length: 64, fragment: 0 },
    { length: 256, fragment: 0 },
    { length: KiB, fragment: 0 },
    { length: 4 * KiB, fragment: 0 },
    { length: 16 * KiB, fragment: 0 },
    { length: 64 * KiB, fragment: 0 },
    { length: 128 * KiB, fragment: 0 },
    { length: 8 * KiB, fragment: 256 },
    { length: 64 * KiB, fragment: 256 },
    { length: 128 * KiB, fragment: 256 },
    { length: 128 * KiB, fragment: KiB },
    { length: 128 * KiB, fragment: 32 * KiB },
  ]

  async function exchange(client: EchoClient, bits: number, corpus: (typeof corpora)[number]): Promise<void> {
    const { opcode, data } = corpus
    let from = 0
    for (const { length, fragment } of sizes) {
      for (let i = 0; i < 3; i++) {
        // The text is cut between characters, so each message is valid UTF-8.
        let to = (from + length) % data.length
        while (opcode === Opcode.text && ((data[to] ?? 0) & 0xc0) === 0x80) to++
        const payload =
          to > from ? data.subarray(from, to) : Buffer.concat([data.subarray(from), data.subarray(0, to)])
        from = to
        const body = deflateRawSync(payload, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(
          0,
          -TAIL.length,
        )
        const frames =
          fragment === 0 ? [wire({ opcode, rsv: 4, payload: body })] : inFragments(opcode, body, fragment, 4)
        client.write(...frames)
        const echo = await client.next()
        expect(echo.opcode).toBe(opcode)
        const returned = echo.rsv1
          ? inflateRawSync(Buffer.concat([echo.payload, TAIL]), {
              windowBits: bits,
              finishFlush: constants.Z_SYNC_FLUSH,
            })
          : echo.payload
        expect(digest(returned)).toBe(digest(payload))
      }
    }
  }

  describe.each(corpora)('$what', (corpus) => {
    it.each(offers)('returns messages of all sizes for the offer "$offer"', async ({ offer, bits }) => {
      const client = await EchoClient.open([`Sec-WebSocket-Extensions: permessage-deflate${offer}`])
      expect(client.response).toMatch(/permessage-deflate/)
      await exchange(client, bits, corpus)
    })
  })
})
