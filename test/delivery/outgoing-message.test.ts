import { randomBytes } from 'node:crypto'
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { type CompressionOptions, Frame, Opcode } from 'wshub'
import { COMPRESSION_DEFAULTS, type CompressionSettings } from '../../src/delivery/delivery-options.ts'
import { OutgoingMessage } from '../../src/delivery/outgoing-message.ts'
import { encodeMessage, payloadOf } from '../../src/protocol/message-frame.ts'
import { KEY, type RawClient, serve } from '../support/hub-server.ts'

/** Inflates the payload of a compressed message as a client does. @see RFC 7692 §7.2.2 */
const inflate = (payload: Buffer, windowBits = 15) =>
  inflateRawSync(Buffer.concat([payload, Buffer.from([0, 0, 0xff, 0xff])]), {
    windowBits,
    finishFlush: constants.Z_SYNC_FLUSH,
  }).toString()

const OFFER = 'Sec-WebSocket-Extensions: permessage-deflate'

const text = Array.from({ length: 400 }, (_, i) => `{"id":${i * 7919},"name":"grün ${i % 13}"}`).join()

describe('OutgoingMessage', () => {
  it('is plain for a connection without compression', () => {
    expect(new OutgoingMessage(text, COMPRESSION_DEFAULTS).frame(0).equals(encodeMessage(text))).toBe(true)
  })

  it('shares one compressed frame for each window', () => {
    const message = new OutgoingMessage(text, COMPRESSION_DEFAULTS)
    expect(message.frame(15)).toBe(message.frame(15))
    expect(message.frame(10)).toBe(message.frame(10))
    expect(message.frame(0)).toBe(message.frame(0))
  })

  const WINDOWS = [15, 14, 13, 12, 11, 10, 9, 8]
  const framesOf = (data: string) => {
    const message = new OutgoingMessage(data, COMPRESSION_DEFAULTS)
    return WINDOWS.map((bits) => message.frame(bits))
  }

  it.each([
    { bytes: 700, frames: 2 },
    { bytes: 3_000, frames: 2 },
    { bytes: 7_000, frames: 3 },
    { bytes: 14_000, frames: 3 },
    { bytes: 64_000, frames: 3 },
  ])('is compressed at most $frames times for eight window sizes, with $bytes bytes', ({ bytes, frames }) => {
    const data = text.repeat(10).slice(0, bytes)
    const all = framesOf(data)
    expect(new Set(all).size).toBe(frames)
    for (const [place, bits] of WINDOWS.entries()) {
      expect(inflate(payloadOf(all[place] ?? Buffer.alloc(0)), bits)).toBe(data)
    }
  })

  it('is the same frame for all windows that hold the whole message', () => {
    expect(new Set(framesOf(text.slice(0, 700)).slice(0, 5)).size).toBe(1) // 15 to 11 bits
  })

  it('is compressed as well for a full window when other clients have smaller ones', () => {
    const alone = new OutgoingMessage(text, COMPRESSION_DEFAULTS).frame(15)
    const message = new OutgoingMessage(text, COMPRESSION_DEFAULTS)
    for (const bits of WINDOWS.toReversed()) message.frame(bits)
    expect(message.frame(15)).toEqual(alone)
  })

  it.each([8, 9, 10, 11, 12, 13, 14, 15])('inflates within a window of %d bits', (bits) => {
    const bytes = new OutgoingMessage(text, COMPRESSION_DEFAULTS).frame(bits)
    const frame = Frame.decode(bytes)?.frame
    expect(frame).toMatchObject({ fin: true, rsv1: true, rsv2: false, rsv3: false, opcode: Opcode.text })
    expect(bytes.length).toBeLessThan(Buffer.byteLength(text))
    expect(inflate(frame?.payload ?? Buffer.alloc(0), bits)).toBe(text)
  })

  it('is a binary message for bytes', () => {
    const frame = Frame.decode(
      new OutgoingMessage(Buffer.alloc(5_000), COMPRESSION_DEFAULTS).frame(15),
    )?.frame
    expect(frame).toMatchObject({ rsv1: true, opcode: Opcode.binary })
  })

  it('is plain when it is short or does not shrink', () => {
    const short = new OutgoingMessage('x'.repeat(500), COMPRESSION_DEFAULTS)
    expect(short.frame(15)).toBe(short.frame(0))
    const random = new OutgoingMessage(randomBytes(4_000), COMPRESSION_DEFAULTS)
    expect(random.frame(15)).toBe(random.frame(0))
  })

  const isCompressed = (bytes: number, settings: Partial<CompressionSettings>) => {
    const message = new OutgoingMessage('x'.repeat(bytes), { ...COMPRESSION_DEFAULTS, ...settings })
    return Frame.decode(message.frame(15))?.frame.rsv1
  }

  it.each([100, 512, 70_000])('is compressed from a thresholdBytes of %d on', (thresholdBytes) => {
    expect(isCompressed(thresholdBytes - 1, { thresholdBytes })).toBe(false)
    expect(isCompressed(thresholdBytes, { thresholdBytes })).toBe(true)
  })

  it.each([100, 512, 70_000])('is compressed up to a maxBytes of %d', (maxBytes) => {
    expect(isCompressed(maxBytes, { thresholdBytes: 0, maxBytes })).toBe(true)
    expect(isCompressed(maxBytes + 1, { thresholdBytes: 0, maxBytes })).toBe(false)
  })

  it('is plain when it is empty, even without a threshold', () => {
    expect(isCompressed(0, { thresholdBytes: 0 })).toBe(false)
  })

  it.each([
    { setting: 'level', low: { level: 1 }, high: { level: 9 } },
    { setting: 'memLevel', low: { memLevel: 1 }, high: { memLevel: 9 } },
  ])('is smaller with a higher $setting', ({ low, high }) => {
    const [longer = 0, shorter = 0] = [low, high].map((settings) => {
      const bytes = new OutgoingMessage(text, { ...COMPRESSION_DEFAULTS, ...settings }).frame(15)
      expect(inflate(payloadOf(bytes))).toBe(text)
      return bytes.length
    })
    expect(shorter).toBeLessThan(longer)
  })
})

describe('Hub with enableCompression', () => {
  it('serves a compressing and a plain client in one room', async () => {
    const { connect, hub, log } = await serve({ enableCompression: true })
    const { client: deflating, connection } = await connect({ perMessageDeflate: true })
    const { client: plain, connection: other } = await connect()
    expect(deflating.socket.extensions).toBe('permessage-deflate')
    expect(plain.socket.extensions).toBe('')
    for (const member of [connection, other]) hub.joinRoom(member, 'tea')
    for (const data of [text, 'short', Buffer.alloc(3_000), text, 'end']) hub.broadcastToRoom('tea', data)
    const expected = [text, 'short', `0x${'00'.repeat(3_000)}`, text]
    expect(await deflating.upTo('end')).toEqual(expected)
    expect(await plain.upTo('end')).toEqual(expected)
    deflating.socket.send(text)
    await log.first('the message', (entry) => entry === `message ${text}`)
  })

  it.each([8, 9, 10, 11, 12, 13, 14, 15])(
    'serves a client that demands a window of %d bits',
    async (bits) => {
      const { connectRaw, hub } = await serve({ enableCompression: true })
      const { client, connection } = await connectRaw([`${OFFER}; server_max_window_bits=${bits}`])
      expect(client.response).toContain(`server_max_window_bits=${bits}`)
      expect(client.response).toContain('server_no_context_takeover')
      expect(client.response).toContain('client_no_context_takeover')
      connection.sendText(text)
      hub.broadcast(text)
      const frames = await client.frames.until('both messages', (all) => all.length === 2)
      for (const { rsv1, payload } of frames) {
        expect(rsv1).toBe(true)
        expect(inflate(payload, bits)).toBe(text)
      }
    },
  )

  const first = (client: RawClient) => client.frames.first('the message', () => true)

  it('compresses direct messages, text and binary', async () => {
    const { connectRaw } = await serve({ enableCompression: true })
    const { client, connection } = await connectRaw([OFFER])
    connection.sendText(text)
    connection.sendBinary(Buffer.from(text))
    connection.sendText('short')
    const frames = await client.frames.until('three messages', (all) => all.length === 3)
    expect(frames.map(({ opcode, rsv1 }) => ({ opcode, rsv1 }))).toEqual([
      { opcode: Opcode.text, rsv1: true },
      { opcode: Opcode.binary, rsv1: true },
      { opcode: Opcode.text, rsv1: false },
    ])
    expect(frames.slice(0, 2).map(({ payload }) => inflate(payload))).toEqual([text, text])
  })

  it('sends plain frames to a client that did not offer compression', async () => {
    const { connectRaw, hub } = await serve({ enableCompression: { thresholdBytes: 0 } })
    const { client, connection } = await connectRaw()
    expect(client.response).not.toMatch(/extensions/i)
    connection.sendText(text)
    hub.broadcast(text)
    const frames = await client.frames.until('both messages', (all) => all.length === 2)
    for (const { rsv1, payload } of frames) {
      expect(rsv1).toBe(false)
      expect(payload.toString()).toBe(text)
    }
  })

  it('never compresses pings', async () => {
    const { connectRaw } = await serve({ enableCompression: { thresholdBytes: 0 } })
    const { client, connection } = await connectRaw([OFFER])
    connection.sendPing('x'.repeat(125))
    expect(await first(client)).toMatchObject({ opcode: Opcode.ping, rsv1: false })
  })

  it('takes its settings from the option', async () => {
    const sizeWith = async (enableCompression: CompressionOptions, data = text) => {
      const { connectRaw } = await serve({ enableCompression })
      const { client, connection } = await connectRaw([OFFER])
      connection.sendText(data)
      const { rsv1, payload } = await first(client)
      return rsv1 ? payload.length : 'plain'
    }
    expect(await sizeWith({})).toBeLessThan(text.length / 2)
    expect(await sizeWith({ thresholdBytes: Buffer.byteLength(text) + 1 })).toBe('plain')
    expect(await sizeWith({ maxBytes: Buffer.byteLength(text) - 1 })).toBe('plain')
    expect(await sizeWith({}, 'x'.repeat(100))).toBe('plain')
    expect(await sizeWith({ thresholdBytes: 0 }, 'x'.repeat(100))).toBeLessThan(20)
    expect(await sizeWith({ level: 9 })).toBeLessThan(Number(await sizeWith({ level: 1 })))
    expect(await sizeWith({ memLevel: 9 })).toBeLessThan(Number(await sizeWith({ memLevel: 1 })))
  })

  it('does not negotiate without the option', async () => {
    const { connect } = await serve()
    const { client } = await connect({ perMessageDeflate: true, headers: { 'x-key': KEY } })
    expect(client.socket.extensions).toBe('')
  })

  it('answers a compression bomb with 1009', async () => {
    const { connect, log, errors } = await serve({ enableCompression: true })
    const { client } = await connect({ perMessageDeflate: { threshold: 0 } })
    client.socket.send(Buffer.alloc(10 * 1024 * 1024))
    expect(await client.closed()).toBe('1009')
    await log.first('onClose', (entry) => entry.startsWith('close'))
    expect(errors).toEqual([expect.objectContaining({ code: 'WSHUB_ERR_MESSAGE_TOO_BIG' })])
  })

  it('inflates at most maxMessageSize of a compression bomb', async () => {
    const maxMessageSize = 1_048_576
    const { connectRaw, errors, log } = await serve({ enableCompression: true, maxMessageSize })
    const { client } = await connectRaw([OFFER])
    // A flushed block can be repeated: 900 of them are 900 MiB of zeros.
    const block = deflateRawSync(Buffer.alloc(1_048_576), { finishFlush: constants.Z_FULL_FLUSH })
    const payload = Buffer.concat(Array<Buffer>(900).fill(block))
    expect(payload.length).toBeLessThan(maxMessageSize)
    const peakMib = () => process.resourceUsage().maxRSS / 1_024
    const before = peakMib()
    client.send({ opcode: Opcode.binary, rsv1: true, payload })
    expect((await client.closeFrame()).code).toBe(1009)
    await log.first('onClose', (entry) => entry.startsWith('close'))
    expect(errors).toEqual([expect.objectContaining({ code: 'WSHUB_ERR_MESSAGE_TOO_BIG' })])
    expect(peakMib() - before).toBeLessThan(100) // and not 900
  })

  it('answers corrupt compressed data with 1007', async () => {
    const { connectRaw, errors, log } = await serve({ enableCompression: true })
    const { client } = await connectRaw([OFFER])
    client.send({ opcode: Opcode.text, rsv1: true, payload: Buffer.from([0xff, 0xff, 0xff]) })
    expect((await client.closeFrame()).code).toBe(1007)
    await log.first('the error', (entry) => entry.startsWith('error'))
    expect(errors).toEqual([expect.objectContaining({ code: 'WSHUB_ERR_INVALID_DATA' })])
  })
})
