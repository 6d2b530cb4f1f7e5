import { randomBytes } from 'node:crypto'
import { constants, inflateRawSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { Frame, Opcode } from 'wshub'
import { negotiatedWindowBits, OutgoingMessage } from '../src/deflate.ts'
import { encodeMessage } from '../src/frame.ts'
import { COMPRESSION_DEFAULTS } from '../src/options.ts'
import { KEY, serve } from './support/hub-server.ts'

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

  it.each([8, 9, 10, 11, 12, 13, 14, 15])('inflates within a window of %d bits', (bits) => {
    const bytes = new OutgoingMessage(text, COMPRESSION_DEFAULTS).frame(bits)
    const frame = Frame.decode(bytes)?.frame
    expect(frame).toMatchObject({ fin: true, rsv1: true, rsv2: false, rsv3: false, opcode: Opcode.text })
    expect(bytes.length).toBeLessThan(Buffer.byteLength(text))
    const payload = Buffer.concat([frame?.payload ?? Buffer.alloc(0), Buffer.from([0, 0, 0xff, 0xff])])
    const inflated = inflateRawSync(payload, { windowBits: bits, finishFlush: constants.Z_SYNC_FLUSH })
    expect(inflated.toString()).toBe(text)
  })

  it('keeps bytes binary', () => {
    const frame = Frame.decode(
      new OutgoingMessage(Buffer.alloc(5_000), COMPRESSION_DEFAULTS).frame(15),
    )?.frame
    expect(frame).toMatchObject({ rsv1: true, opcode: Opcode.binary })
  })

  it('leaves what is short or does not shrink plain', () => {
    const short = new OutgoingMessage('x'.repeat(500), COMPRESSION_DEFAULTS)
    expect(short.frame(15)).toBe(short.frame(0))
    const random = new OutgoingMessage(randomBytes(4_000), COMPRESSION_DEFAULTS)
    expect(random.frame(15)).toBe(random.frame(0))
  })
})

describe('negotiatedWindowBits', () => {
  it.each([
    { line: undefined, bits: 0 },
    { line: 'Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover', bits: 15 },
    { line: 'sec-websocket-extensions: permessage-deflate; server_max_window_bits=9', bits: 9 },
    { line: 'X-Other: permessage-deflate', bits: 0 },
  ])('reads $bits from $line', ({ line, bits }) => {
    expect(
      negotiatedWindowBits(['HTTP/1.1 101 Switching Protocols', ...(line === undefined ? [] : [line])]),
    ).toBe(bits)
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

  it('serves a client that demands a window of 10 bits', async () => {
    const { connectRaw } = await serve({ enableCompression: true })
    const offer = 'Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10'
    const { client, connection } = await connectRaw([offer])
    expect(client.response).toMatch(/server_max_window_bits=10/)
    expect(client.response).toMatch(/server_no_context_takeover/)
    connection.sendText(text)
    const { rsv1, payload } = await client.frames.first('the message', () => true)
    expect(rsv1).toBe(true)
    const whole = Buffer.concat([payload, Buffer.from([0, 0, 0xff, 0xff])])
    expect(inflateRawSync(whole, { windowBits: 10, finishFlush: constants.Z_SYNC_FLUSH }).toString()).toBe(
      text,
    )
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

  it('answers broken compressed data with 1007', async () => {
    const { connectRaw, errors, log } = await serve({ enableCompression: true })
    const { client } = await connectRaw(['Sec-WebSocket-Extensions: permessage-deflate'])
    client.send({ opcode: Opcode.text, rsv1: true, payload: Buffer.from([0xff, 0xff, 0xff]) })
    expect((await client.closeFrame()).code).toBe(1007)
    await log.first('the error', (entry) => entry.startsWith('error'))
    expect(errors).toEqual([expect.objectContaining({ code: 'WSHUB_ERR_INVALID_DATA' })])
  })
})
