import { randomBytes } from 'node:crypto'
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { type Frame, type HubOptions, Opcode } from 'wshub'
import { RawClient, serve } from '../support/hub-server.ts'
import { inWords, Peer } from './support.ts'
import { close, fragments, inFragments, ping, text, wire } from './wire.ts'

const RSV1 = 4
const TAIL = Buffer.from([0, 0, 0xff, 0xff])
const hex = (bytes: string) => Buffer.from(bytes, 'hex')

/**
 * Compressible text with repetitions at distances up to 32 KiB, so that a window that is too large is
 * detected.
 */
const long = Array.from({ length: 4_000 }, (_, i) => `${(i * 7919) % 1_009} wörter `).join('')
const noise = randomBytes(4_000)
const farApart = Buffer.concat([noise, noise, noise])

/** The answer to an offer; empty for none. */
const agreed = ({ response }: RawClient) => /^sec-websocket-extensions: (.*)\r$/im.exec(response)?.[1] ?? ''

/** A message in the form of permessage-deflate. @see RFC 7692 §7.2.1 */
function deflated(payload: Uint8Array | string, windowBits = 15): Buffer {
  const bytes = deflateRawSync(Buffer.from(payload), { windowBits, finishFlush: constants.Z_SYNC_FLUSH })
  return bytes.subarray(0, -TAIL.length)
}

/** Inflates the payload of one message of the hub, without those before it. @see RFC 7692 §7.2.2 */
function inflated({ rsv1, payload }: Frame, windowBits = 15): Buffer {
  if (!rsv1) return payload
  return inflateRawSync(Buffer.concat([payload, TAIL]), {
    windowBits,
    finishFlush: constants.Z_SYNC_FLUSH,
    maxOutputLength: 10_000_000,
  })
}

const compressedText = (payload: Uint8Array) => wire({ opcode: Opcode.text, rsv: RSV1, payload })

/** The text in the one frame that was received. */
async function echoOf(peer: Peer, windowBits = 15): Promise<string> {
  const [answer, ...rest] = await peer.heard()
  if (answer === undefined || rest.length > 0)
    throw new Error(`${rest.length + 1} frames came instead of one`)
  return inflated(answer, windowBits).toString()
}

describe.each(['none', 'shared'] as const)("with enableCompression.window '%s'", (window) => {
  const compressing: HubOptions = { enableCompression: { window }, maxMessageSize: 200_000 }
  const offering = (parameters = '', options = compressing) =>
    Peer.meet(options, [`Sec-WebSocket-Extensions: permessage-deflate${parameters}`])

  describe('an offer of permessage-deflate (RFC 7692 §7.1)', () => {
    it.each([
      { offer: 'permessage-deflate', bits: '' },
      { offer: 'permessage-deflate; client_no_context_takeover', bits: '' },
      { offer: 'permessage-deflate; server_no_context_takeover', bits: '' },
      { offer: 'permessage-deflate; client_max_window_bits', bits: '' },
      { offer: 'permessage-deflate; client_max_window_bits=10', bits: 'client_max_window_bits=10' },
      { offer: 'permessage-deflate; server_max_window_bits=10', bits: 'server_max_window_bits=10' },
      { offer: 'permessage-deflate; server_max_window_bits="10"', bits: 'server_max_window_bits=10' },
      { offer: 'permessage-deflate ; client_max_window_bits ', bits: '' },
      { offer: 'x-unknown; a=1; b="2", permessage-deflate', bits: '' },
      {
        offer: 'permessage-deflate; server_max_window_bits=8, permessage-deflate',
        bits: 'server_max_window_bits=8',
      },
    ])('the offer $offer is accepted, without a context that is not shared', async ({ offer, bits }) => {
      const { connectRaw } = await serve(compressing)
      const { client } = await connectRaw([`Sec-WebSocket-Extensions: ${offer}`])
      const [name, ...parameters] = agreed(client).split('; ')
      const isAlone = window === 'none' || offer.includes('server_no_context_takeover')
      const expected = [
        'client_no_context_takeover',
        ...(isAlone ? ['server_no_context_takeover'] : []),
        ...(bits === '' ? [] : [bits]),
      ]
      expect(name).toBe('permessage-deflate')
      expect(parameters.toSorted()).toEqual(expected.toSorted())
    })

    it.each([
      { what: 'is not made', headers: [] },
      { what: 'is for another extension', headers: ['Sec-WebSocket-Extensions: x-webkit-deflate-frame'] },
    ])('an offer that $what leaves messages plain', async ({ headers }) => {
      const peer = await Peer.meet(compressing, headers)
      expect(agreed(peer.client)).toBe('')
      peer.write(text(long))
      const [answer] = await peer.heard()
      expect(answer?.rsv1).toBe(false)
      expect(answer?.payload.toString()).toBe(long)
    })

    it('an offer is not answered by a hub without enableCompression, and RSV1 fails with 1002 then', async () => {
      const peer = await offering('', {})
      expect(agreed(peer.client)).toBe('')
      peer.write(compressedText(deflated('x')))
      await peer.fails(1002, 'WSHUB_ERR_PROTOCOL')
    })

    describe('that cannot be accepted', () => {
      const bad = [
        'permessage-deflate; unknown',
        'permessage-deflate; unknown=1',
        'permessage-deflate; server_max_window_bits',
        'permessage-deflate; server_max_window_bits=7',
        'permessage-deflate; server_max_window_bits=16',
        'permessage-deflate; server_max_window_bits=08x',
        'permessage-deflate; client_max_window_bits=7',
        'permessage-deflate; client_max_window_bits=16',
        'permessage-deflate; client_max_window_bits=x',
        'permessage-deflate; server_no_context_takeover=1',
        'permessage-deflate; client_no_context_takeover=true',
        'permessage-deflate; client_max_window_bits; client_max_window_bits',
        'permessage-deflate; server_no_context_takeover; server_no_context_takeover',
      ]

      it.each(bad)(
        'an unacceptable offer is declined, and the connection opens without compression: %s',
        async (offer) => {
          const { port } = await serve(compressing)
          const client = await RawClient.open(port, [`Sec-WebSocket-Extensions: ${offer}`])
          expect(client.response).toMatch(/^HTTP\/1.1 101/)
          expect(agreed(client)).toBe('')
        },
      )

      it.each(bad)('an unacceptable offer is skipped for the next: %s', async (offer) => {
        const { port } = await serve(compressing)
        const client = await RawClient.open(port, [
          `Sec-WebSocket-Extensions: ${offer}, permessage-deflate; server_max_window_bits=9`,
        ])
        expect(client.response).toMatch(/^HTTP\/1.1 101/)
        expect(agreed(client)).toMatch(/; server_max_window_bits=9/)
      })
    })

    it.each([
      'permessage-deflate;',
      'permessage-deflate; ,',
      ', permessage-deflate',
      'permessage-deflate,',
      'permessage-deflate; server_max_window_bits=',
      'permessage-deflate; server_max_window_bits="10',
      'permessage-deflate; server_max_window_bits="1 0"',
      'permessage-deflate; =10',
      'permessage deflate',
      'permessage-deflate; a=b=c',
      '"permessage-deflate"',
      'permessage/deflate',
    ])('an offer that violates the grammar is refused with 400: %s (RFC 6455 §9.1)', async (offer) => {
      const { port, refusals } = await serve(compressing)
      const client = await RawClient.open(port, [`Sec-WebSocket-Extensions: ${offer}`])
      expect(client.response).toMatch(/^HTTP\/1.1 400/)
      await client.hungUp()
      expect(refusals.all).toEqual([expect.objectContaining({ code: 'WSHUB_ERR_BAD_HANDSHAKE' })])
    })
  })

  describe('the window (RFC 7692 §7.1.2)', () => {
    const allBits = [8, 9, 10, 11, 12, 13, 14, 15]

    it.each(allBits)('the window of the server is as small as the client asks: %d bits', async (bits) => {
      const peer = await offering(`; server_max_window_bits=${bits}`)
      expect(agreed(peer.client)).toMatch(new RegExp(`; server_max_window_bits=${bits}\\b`))
      for (const payload of [long, long.slice(0, 5_000)]) {
        peer.write(compressedText(deflated(payload)))
        expect(await echoOf(peer, bits)).toBe(payload)
      }
    })

    it.each(allBits)('the window of the client may be as small as it offers: %d bits', async (bits) => {
      const peer = await offering(`; client_max_window_bits=${bits}`)
      expect(agreed(peer.client)).toMatch(new RegExp(`; client_max_window_bits=${bits}\\b`))
      peer.write(compressedText(deflated(long, Math.max(9, bits)))) // zlib with 9 bits never refers further than with 8
      expect(await echoOf(peer)).toBe(long)
    })

    it.each(allBits)('both windows may be small: %d bits', async (bits) => {
      const peer = await offering(`; client_max_window_bits=${bits}; server_max_window_bits=${bits}`)
      peer.write(compressedText(deflated(long, Math.max(9, bits))))
      expect(await echoOf(peer, bits)).toBe(long)
    })

    it('the window of the server is 15 bits unless the client asks for less', async () => {
      const peer = await offering()
      peer.write(wire({ opcode: Opcode.binary, payload: farApart }))
      const [answer] = await peer.heard()
      expect(answer?.rsv1).toBe(true)
      expect(answer?.payload.length).toBeLessThan(noise.length * 1.1)
    })

    // farApart repeats itself at a distance of 4,000 bytes, which 12 bits hold and 11 do not.
    it('a client with a window of 12 bits may refer back that far', async () => {
      const peer = await offering('; client_max_window_bits=12')
      peer.write(wire({ opcode: Opcode.binary, rsv: RSV1, payload: deflated(farApart) }))
      const [answer] = await peer.heard()
      expect(answer && inflated(answer).equals(farApart)).toBe(true)
    })
  })

  describe('the context (RFC 7692 §7.1.1)', () => {
    it('the context of the client is not kept: a message that refers to the one before fails with 1007', async () => {
      const peer = await offering()
      peer.write(compressedText(hex('f248cdc9c90700')), compressedText(hex('f200110000'))) // §7.2.3.2
      await peer.client.hungUp()
      expect(peer.client.frames.all.map(inWords).at(-1)).toBe('close 1007')
      await peer.served.log.first('onClose', (entry) => entry.startsWith('close'))
      expect(peer.log.slice(0, 2)).toEqual(['message Hello', 'error WSHUB_ERR_INVALID_DATA'])
    })

    it('an echo is independent of those before it', async () => {
      const peer = await offering()
      peer.write(text(long), text(long), text(long))
      const answers = await peer.heard()
      expect(answers.map(({ rsv1 }) => rsv1)).toEqual([true, true, true])
      expect(answers.every((answer) => inflated(answer).toString() === long)).toBe(true)
    })
  })

  describe('a compressed message (RFC 7692 §7.2.2)', () => {
    const samples = [
      { what: 'in one block (§7.2.3.1)', bytes: 'f248cdc9c90700' },
      { what: 'without compression (§7.2.3.3)', bytes: '000500faff48656c6c6f00' },
      { what: 'in a block with BFINAL (§7.2.3.4)', bytes: 'f348cdc9c9070000' },
      { what: 'in a block with BFINAL and nothing behind it', bytes: 'f348cdc9c90700' },
      { what: 'in two blocks (§7.2.3.5)', bytes: 'f24805000000ffffcac9c90700' },
      { what: 'with empty blocks before and behind it', bytes: '000000fffff248cdc9c907000000ffff00' },
    ]

    describe.each(samples)('$what', ({ bytes }) => {
      it('a compressed message is received', async () => {
        const peer = await offering()
        peer.write(compressedText(hex(bytes)))
        expect(await peer.heardWords()).toEqual(['text Hello'])
      })

      it('many compressed messages are received', async () => {
        const peer = await offering()
        peer.write(...Array.from({ length: 20 }, () => compressedText(hex(bytes))))
        expect(await peer.heardWords()).toEqual(Array.from({ length: 20 }, () => 'text Hello'))
      })

      it('a message may be cut into fragments anywhere', async () => {
        const peer = await offering()
        const whole = hex(bytes)
        const cuts = Array.from({ length: whole.length + 1 }, (_, i) => i)
        peer.write(
          ...cuts.flatMap((i) => fragments(Opcode.text, [whole.subarray(0, i), whole.subarray(i)], RSV1)),
          ...inFragments(Opcode.text, whole, 1, RSV1),
        )
        expect(await peer.heardWords()).toEqual(Array.from({ length: cuts.length + 1 }, () => 'text Hello'))
      })

      it('a compressed message that arrives byte by byte is received', async () => {
        const peer = await offering()
        await peer.writeBytewise(compressedText(hex(bytes)))
        expect(await peer.heardWords()).toEqual(['text Hello'])
      })
    })

    it.each([
      { what: 'an empty stored block (§7.2.3.6)', bytes: '00' },
      { what: 'an empty block with fixed codes', bytes: '0200' },
      { what: 'an empty block with BFINAL', bytes: '0300' },
      { what: 'no bytes at all', bytes: '' },
    ])('a compressed message may be empty: $what', async ({ bytes }) => {
      const peer = await offering()
      peer.write(compressedText(hex(bytes)), text('between'), compressedText(hex(bytes)))
      expect(await peer.heardWords()).toEqual(['text ', 'text between', 'text '])
    })

    it.each([
      { what: 'text', opcode: Opcode.text, payload: Buffer.from(long) },
      { what: 'bytes', opcode: Opcode.binary, payload: farApart },
      { what: 'bytes that cannot be compressed', opcode: Opcode.binary, payload: noise },
    ])(
      'a compressed message of $what is returned unchanged, whole and in fragments of 256 bytes',
      async ({ opcode, payload }) => {
        const peer = await offering()
        const body = deflated(payload)
        peer.write(wire({ opcode, rsv: RSV1, payload: body }), ...inFragments(opcode, body, 256, RSV1))
        const answers = await peer.heard()
        expect(answers.map((answer) => answer.opcode)).toEqual([opcode, opcode])
        expect(answers.every((answer) => inflated(answer).equals(payload))).toBe(true)
      },
    )

    it('a compressed message may have control frames between its fragments', async () => {
      const peer = await offering()
      const [first, ...rest] = inFragments(Opcode.text, deflated(long), 1_000, RSV1)
      peer.write(first ?? Buffer.alloc(0), ping('p'), ...rest)
      const answers = await peer.heard()
      expect(answers.map(({ opcode }) => opcode).toSorted()).toEqual([Opcode.text, Opcode.pong])
      const answer = answers.find(({ opcode }) => opcode === Opcode.text)
      expect(answer && inflated(answer).toString()).toBe(long)
    })

    it('a compressed message keeps its order among plain ones, however long it takes', async () => {
      const peer = await offering()
      const numbers = Array.from({ length: 40 }, (_, i) => i)
      peer.write(
        ...numbers.map((i) =>
          i % 2 ? text(`${i}`) : compressedText(deflated(`${i} ${'x'.repeat(100_000)}`)),
        ),
      )
      const answers = await peer.heard()
      expect(answers.map((answer) => Number.parseInt(inflated(answer).toString(), 10))).toEqual(numbers)
    })

    it('a compressed message is answered before the close frame after it in the same packet', async () => {
      const peer = await offering()
      peer.write(compressedText(deflated('in time')), close(1000))
      await peer.closes(['text in time', 'close 1000'], ['message in time', 'close 1000'])
    })

    it('an answer is plain if compression would not help', async () => {
      const peer = await offering()
      peer.write(compressedText(deflated('short')), wire({ opcode: Opcode.binary, payload: noise }))
      const answers = await peer.heard()
      expect(answers.map(({ rsv1 }) => rsv1)).toEqual([false, false])
    })

    it('a client that disconnects while its message is inflated harms nobody', async () => {
      const peer = await offering('', { enableCompression: { window }, maxMessageSize: 20_000_000 })
      peer.write(compressedText(deflated(Buffer.alloc(20_000_000, 'x'))))
      peer.client.socket.resetAndDestroy()
      await peer.served.log.first('onClose', (entry) => entry.startsWith('close'))
      const { client } = await peer.served.connectRaw(['Sec-WebSocket-Extensions: permessage-deflate'])
      client.socket.write(compressedText(deflated('next')))
      await client.frames.first('the echo', (frame) => inWords(frame) === 'text next')
    })
  })

  describe('RSV1 (RFC 7692 §6, RFC 6455 §5.2)', () => {
    it.each([
      { what: 'a ping', opcode: Opcode.ping },
      { what: 'a pong', opcode: Opcode.pong },
      { what: 'a close frame', opcode: Opcode.close },
    ])('RSV1 on $what fails with 1002', async ({ opcode }) => {
      const peer = await offering()
      peer.write(wire({ opcode, rsv: RSV1 }))
      await peer.fails(1002, 'WSHUB_ERR_PROTOCOL')
    })

    it.each([
      { what: 'a compressed message', rsv: RSV1 },
      { what: 'a plain message', rsv: 0 },
    ])('RSV1 on a continuation of $what fails with 1002', async ({ rsv }) => {
      const peer = await offering()
      peer.write(
        wire({ opcode: Opcode.text, fin: false, rsv, payload: deflated('x') }),
        wire({ opcode: Opcode.continuation, rsv: RSV1, payload: deflated('y') }),
      )
      await peer.fails(1002, 'WSHUB_ERR_PROTOCOL')
    })

    it.each([1, 2, 3, 5, 6, 7])('RSV1 with further bits (%d) fails with 1002', async (rsv) => {
      const peer = await offering()
      peer.write(wire({ opcode: Opcode.text, rsv, payload: deflated('x') }))
      await peer.fails(1002, 'WSHUB_ERR_PROTOCOL')
    })

    it.each([3, 7, 11, 15])('RSV1 on the reserved opcode %d fails with 1002', async (opcode) => {
      const peer = await offering()
      peer.write(wire({ opcode, rsv: RSV1 }))
      await peer.fails(1002, 'WSHUB_ERR_PROTOCOL')
    })
  })

  describe('corrupt compressed data (RFC 7692 §7.2.2)', () => {
    it.each([
      { what: 'a reserved block type', bytes: '07' },
      {
        what: 'a stored block whose lengths disagree',
        bytes: '000500fafe48656c6c6f00',
      },
      { what: 'a stored block that is cut', bytes: '000500faff4865' },
      { what: 'a distance to before the start', bytes: 'f200110000' },
      { what: 'codes that are over-subscribed', bytes: '04ffffffffffffffff' },
      { what: 'ones', bytes: 'ffffffffffffffff' },
    ])('corrupt data ($what) fails with 1007, whole and in fragments', async ({ bytes }) => {
      const whole = await offering()
      whole.write(compressedText(hex(bytes)))
      await whole.fails(1007, 'WSHUB_ERR_INVALID_DATA')
      const cut = await offering()
      cut.write(...inFragments(Opcode.text, hex(bytes), 1, RSV1))
      await cut.fails(1007, 'WSHUB_ERR_INVALID_DATA')
    })

    it('compressed text that is not UTF-8 fails with 1007 (RFC 6455 §8.1)', async () => {
      const peer = await offering()
      peer.write(compressedText(deflated(hex('48656cff6f'))))
      await peer.fails(1007, 'WSHUB_ERR_INVALID_DATA')
    })

    it('nothing after corrupt data is received', async () => {
      const peer = await offering()
      peer.write(compressedText(hex('07')), text('late'), ping('late'), compressedText(deflated('late')))
      await peer.fails(1007, 'WSHUB_ERR_INVALID_DATA')
    })
  })

  describe('a compression bomb (RFC 6455 §10.4)', () => {
    const limit = 100_000
    const limited: HubOptions = { enableCompression: { window }, maxMessageSize: limit }
    const bomb = deflated(Buffer.alloc(64 * 1024 * 1024, 'x'))

    it('a compression bomb fails with 1009', async () => {
      expect(bomb.length).toBeLessThan(limit)
      const peer = await offering('', limited)
      peer.write(compressedText(bomb))
      await peer.fails(1009, 'WSHUB_ERR_MESSAGE_TOO_BIG')
    })

    it('a compression bomb in fragments fails with 1009 before its last fragment', async () => {
      const peer = await offering('', limited)
      peer.write(...inFragments(Opcode.binary, bomb, 1_000, RSV1).slice(0, -1))
      await peer.fails(1009, 'WSHUB_ERR_MESSAGE_TOO_BIG')
    })

    it('many messages that fit may follow each other', async () => {
      const peer = await offering('', limited)
      const fitting = compressedText(deflated('x'.repeat(limit)))
      peer.write(...Array.from({ length: 20 }, () => fitting))
      const answers = await peer.heard()
      expect(answers.map((answer) => inflated(answer).length)).toEqual(
        Array.from({ length: 20 }, () => limit),
      )
    })

    it.each([
      { what: 'whole', cut: (payload: Buffer) => [wire({ opcode: Opcode.text, rsv: RSV1, payload })] },
      { what: 'in fragments', cut: (payload: Buffer) => inFragments(Opcode.text, payload, 10, RSV1) },
    ])('a message one byte above maxMessageSize fails, $what', async ({ cut }) => {
      const peer = await offering('', limited)
      peer.write(...cut(deflated('x'.repeat(limit))))
      expect(await echoOf(peer)).toHaveLength(limit)
      peer.client.frames.all.length = 0
      peer.write(...cut(deflated('x'.repeat(limit + 1))))
      await peer.client.hungUp()
      expect(peer.client.frames.all.map(inWords)).toEqual(['close 1009'])
    })
  })
})
