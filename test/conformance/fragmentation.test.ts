import { describe, expect, it } from 'vitest'
import { type HubOptions, Opcode } from 'wshub'
import { inWords, Peer } from './support.ts'
import { binary, close, fragments, inFragments, ping, pong, text, wire } from './wire.ts'

const { continuation } = Opcode
const types = [
  { type: 'text', opcode: Opcode.text },
  { type: 'binary', opcode: Opcode.binary },
]

describe('a message in fragments (RFC 6455 §5.4)', () => {
  describe.each(types)('of $type', ({ opcode }) => {
    it.each([
      { what: 'two', parts: ['ab', 'cd'] },
      { what: 'a first that is empty', parts: ['', 'abcd'] },
      { what: 'a middle that is empty', parts: ['ab', '', 'cd'] },
      { what: 'a last that is empty', parts: ['abcd', ''] },
      { what: 'nothing but empty ones', parts: ['', '', ''] },
      { what: 'one byte each', parts: [...'abcdefghijklmnopqrstuvwxyz'] },
      { what: 'every form of length', parts: ['a', 'b'.repeat(126), 'c'.repeat(65_536), 'd'] },
    ])('is received complete: $what', async ({ parts }) => {
      const peer = await Peer.meet({ maxMessageSize: 100_000 })
      peer.write(...fragments(opcode, parts))
      const [answer, ...rest] = await peer.heard()
      expect(rest).toEqual([])
      expect(answer?.opcode).toBe(opcode)
      expect(answer?.payload.toString()).toBe(parts.join(''))
    })

    it('is received complete when it arrives byte by byte', async () => {
      const peer = await Peer.meet()
      await peer.writeBytewise(...fragments(opcode, ['ab', '', 'cd']))
      const [answer] = await peer.heard()
      expect(answer?.payload.toString()).toBe('abcd')
    })

    it('may have control frames between its fragments, and the ping is answered before the message ends (§5.5)', async () => {
      const peer = await Peer.meet()
      const [first, second, third] = fragments(opcode, ['ab', 'cd', 'ef'])
      peer.write(first, ping('one'), pong('unasked'))
      await peer.client.frames.first('the pong', (frame) => inWords(frame) === 'pong one')
      peer.write(second ?? first, ping('two'))
      await peer.client.frames.first('the pong', (frame) => inWords(frame) === 'pong two')
      peer.write(third ?? first)
      const [, , answer, ...rest] = await peer.heard()
      expect(rest).toEqual([])
      expect(answer?.opcode).toBe(opcode)
      expect(answer?.payload.toString()).toBe('abcdef')
      expect(peer.log.slice(0, 3)).toEqual(['ping one', 'pong unasked', 'ping two'])
    })

    it('is never received when a close frame is between its fragments (§5.5.1)', async () => {
      const peer = await Peer.meet()
      const [first, last] = fragments(opcode, ['ab', 'cd'])
      peer.write(first, close(1000, 'enough'), last ?? first)
      await peer.closes(['close 1000 enough'], ['close 1000 enough'])
    })

    it('fails with 1002 when another message begins inside it', async () => {
      for (const inner of [text('x'), binary(Buffer.from('x')), ...fragments(Opcode.text, ['x', 'y'])]) {
        const peer = await Peer.meet()
        peer.write(wire({ opcode, fin: false, payload: 'ab' }), inner)
        if (inner[0] === 0x80) {
          // The last of these is a continuation, which is legal here.
          expect((await peer.heard()).map(({ payload }) => payload.toString())).toEqual(['aby'])
        } else {
          await peer.fails(1002, 'WSHUB_ERR_PROTOCOL')
        }
      }
    })
  })

  it('may be followed by one in a single frame, and by another', async () => {
    const peer = await Peer.meet()
    peer.write(...fragments(Opcode.text, ['a', 'b']), text('c'), ...fragments(Opcode.text, ['d', 'e']))
    expect(await peer.heardWords()).toEqual(['text ab', 'text c', 'text de'])
  })

  it('is answered in a single frame: the hub does not fragment', async () => {
    const peer = await Peer.meet({ maxMessageSize: 1_000_000 })
    peer.write(...inFragments(Opcode.text, Buffer.alloc(1_000_000, 'x'), 1_000))
    const frames = await peer.heard()
    expect(frames.map(({ fin, opcode }) => [fin, opcode])).toEqual([[true, Opcode.text]])
  })
})

describe('a continuation with nothing to continue (RFC 6455 §5.4)', () => {
  describe.each([
    { what: 'last', fin: true },
    { what: 'further', fin: false },
  ])('as a $what fragment', ({ fin }) => {
    it.each([
      { where: 'at the start', before: [], callbacks: [], frames: [] },
      { where: 'behind a message', before: [text('a')], callbacks: ['message a'], frames: ['text a'] },
      {
        where: 'behind a fragmented message',
        before: fragments(Opcode.text, ['a', 'b']),
        callbacks: ['message ab'],
        frames: ['text ab'],
      },
      { where: 'behind a ping', before: [ping('p')], callbacks: ['ping p'], frames: ['pong p'] },
    ])(
      'a continuation with nothing to continue fails with 1002 $where',
      async ({ before, callbacks, frames }) => {
        const peer = await Peer.meet()
        peer.write(...before, wire({ opcode: continuation, fin, payload: 'x' }), text('never heard'))
        await peer.fails(1002, 'WSHUB_ERR_PROTOCOL', { frames, callbacks })
      },
    )
  })

  it('an empty continuation with nothing to continue fails with 1002', async () => {
    const peer = await Peer.meet()
    peer.write(wire({ opcode: continuation }))
    await peer.fails(1002, 'WSHUB_ERR_PROTOCOL')
  })
})

describe('a control frame (RFC 6455 §5.5)', () => {
  const controls = [
    { name: 'close', opcode: Opcode.close },
    { name: 'ping', opcode: Opcode.ping },
    { name: 'pong', opcode: Opcode.pong },
  ]

  describe.each(controls)('($name)', ({ opcode }) => {
    it.each([
      { what: 'that is fragmented', frame: { fin: false } },
      { what: 'that is fragmented and has a payload', frame: { fin: false, payload: 'ab' } },
      { what: 'of 126 bytes', frame: { payload: Buffer.alloc(126, 3) } },
      { what: 'of 65,536 bytes', frame: { payload: Buffer.alloc(65_536, 3) } },
      { what: 'of 2 bytes with its length in 16 bits', frame: { payload: Buffer.from([3, 232]), form: 16 } },
      { what: 'of 2 bytes with its length in 64 bits', frame: { payload: Buffer.from([3, 232]), form: 64 } },
    ] as const)('$what fails with 1002', async ({ frame }) => {
      const peer = await Peer.meet()
      peer.write(wire({ ...frame, opcode }))
      await peer.fails(1002, 'WSHUB_ERR_PROTOCOL')
    })

    it('a fragmented control frame fails with 1002 within a message too', async () => {
      const peer = await Peer.meet()
      peer.write(wire({ opcode: Opcode.text, fin: false, payload: 'a' }), wire({ opcode, fin: false }))
      await peer.fails(1002, 'WSHUB_ERR_PROTOCOL')
    })
  })
})

describe('floods of fragments (RFC 6455 §10.4)', () => {
  // With the default of `limits.maxFragments`, 16,384.
  const options: HubOptions = {}
  const maxFragments = 16_384

  it('as many fragments as allowed are one message', async () => {
    const peer = await Peer.meet(options)
    peer.write(...inFragments(Opcode.text, Buffer.alloc(maxFragments, 'x'), 1))
    const [answer, ...rest] = await peer.heard()
    expect(rest).toEqual([])
    expect(answer?.payload).toHaveLength(maxFragments)
  })

  it('each message may have as many fragments', async () => {
    const peer = await Peer.meet(options)
    const half = inFragments(Opcode.text, Buffer.alloc(maxFragments / 2, 'x'), 1)
    peer.write(...half, ...half, ...half)
    expect((await peer.heard()).map(({ payload }) => payload.length)).toEqual(
      Array.from({ length: 3 }, () => maxFragments / 2),
    )
  })

  it.each([
    { what: 'one byte each', payload: 'x' },
    { what: 'empty', payload: '' },
  ])('one more fragment ($what) ends the connection with 1008', async ({ payload }) => {
    const peer = await Peer.meet(options)
    peer.write(
      ...fragments(
        Opcode.text,
        Array.from({ length: maxFragments + 1 }, () => payload),
      ),
    )
    await peer.client.hungUp()
    expect(peer.client.frames.all.map(inWords)).toEqual(['close 1008'])
    await peer.served.log.first('onClose', (entry) => entry.startsWith('close'))
    expect(peer.served.errors).toEqual([expect.objectContaining({ name: 'HubError', closeCode: 1008 })])
  })
})
