import { describe, expect, it } from 'vitest'
import { Opcode } from 'wshub'
import { Peer } from './support.ts'
import { binary, close, ping, text, type WireFrame, wire } from './wire.ts'

const { continuation } = Opcode
const defined = [
  { name: 'text', opcode: Opcode.text },
  { name: 'binary', opcode: Opcode.binary },
  { name: 'close', opcode: Opcode.close },
  { name: 'ping', opcode: Opcode.ping },
  { name: 'pong', opcode: Opcode.pong },
]

describe('the payload length (RFC 6455 §5.2)', () => {
  const lengths = [0, 1, 124, 125, 126, 127, 128, 65_535, 65_536, 65_537, 1_000_000]

  // Frame.decode, which reads the answers, rejects a length that is not encoded in the shortest form.
  describe.each([
    { type: 'text', opcode: Opcode.text },
    { type: 'binary', opcode: Opcode.binary },
  ])('of a $type message', ({ opcode }) => {
    it.each(lengths)('a length of %d bytes is read, and written in its shortest form', async (length) => {
      const peer = await Peer.meet({ maxMessageSize: 1_000_000 })
      const payload = Buffer.alloc(length, 'BAsd7&jh23')
      peer.write(wire({ opcode, payload }))
      const frames = await peer.heard()
      expect(frames).toHaveLength(1)
      expect(frames[0]).toMatchObject({ fin: true, rsv1: false, opcode, masked: false })
      expect(frames[0]?.payload.equals(payload)).toBe(true)
    })
  })

  it.each([0, 5, 126, 65_536])(
    'a length of %d bytes is read when it arrives byte by byte',
    async (length) => {
      const peer = await Peer.meet({ maxMessageSize: 65_536 })
      const payload = Buffer.alloc(length, 'x')
      const frame = wire({ opcode: Opcode.text, payload })
      const headerEnd = Math.min(frame.length, 20)
      await peer.writeBytewise(frame.subarray(0, headerEnd))
      peer.write(frame.subarray(headerEnd))
      expect(await peer.heardWords()).toEqual([`text ${payload}`])
    },
  )

  it.each([
    { form: 16, length: 0 },
    { form: 16, length: 1 },
    { form: 16, length: 125 },
    { form: 64, length: 0 },
    { form: 64, length: 125 },
    { form: 64, length: 126 },
    { form: 64, length: 65_535 },
  ] as const)(
    'a length of $length bytes in $form bits is accepted: only the sender must use the shortest form',
    async ({ form, length }) => {
      const peer = await Peer.meet()
      const payload = Buffer.alloc(length, 'x')
      peer.write(wire({ opcode: Opcode.text, payload, form }))
      expect(await peer.heardWords()).toEqual([`text ${payload}`])
    },
  )

  it.each([
    { what: 'the most significant bit set', length: 1n << 63n },
    { what: 'all bits set', length: (1n << 64n) - 1n },
    { what: '2^53', length: 1n << 53n },
    { what: '2^53 - 1', length: (1n << 53n) - 1n },
    { what: '2^32', length: 1n << 32n },
  ])('a length of 64 bits with $what fails with 1009, before any of the payload', async ({ length }) => {
    const peer = await Peer.meet()
    peer.write(wire({ opcode: Opcode.binary, length }))
    await peer.fails(1009, 'WSHUB_ERR_MESSAGE_TOO_BIG')
  })

  it.each([
    { length: 101n, form: 7 },
    { length: 126n, form: 16 },
    { length: 65_536n, form: 64 },
  ] as const)(
    'a length of $length over maxMessageSize fails with 1009, before any of the payload (§10.4)',
    async ({ length, form }) => {
      const peer = await Peer.meet({ maxMessageSize: 100 })
      peer.write(wire({ opcode: Opcode.text, length, form }))
      await peer.fails(1009, 'WSHUB_ERR_MESSAGE_TOO_BIG')
    },
  )

  it('a length that would exceed maxMessageSize together with earlier fragments fails with 1009 (§10.4)', async () => {
    const peer = await Peer.meet({ maxMessageSize: 100 })
    peer.write(
      wire({ opcode: Opcode.text, fin: false, payload: 'x'.repeat(60) }),
      wire({ opcode: continuation, length: 41n }),
    )
    await peer.fails(1009, 'WSHUB_ERR_MESSAGE_TOO_BIG')
  })

  it('maxMessageSize applies to each message by itself', async () => {
    const peer = await Peer.meet({ maxMessageSize: 100 })
    const payload = 'x'.repeat(100)
    peer.write(text(payload), ping('between'), text(payload))
    expect((await peer.heardWords()).filter((frame) => frame.startsWith('text'))).toEqual([
      `text ${payload}`,
      `text ${payload}`,
    ])
  })
})

describe('masking (RFC 6455 §5.1, §5.3)', () => {
  const keys = [
    [0, 0, 0, 0],
    [0xff, 0xff, 0xff, 0xff],
    [0x37, 0xfa, 0x21, 0x3d],
    [0, 0, 0, 1],
  ]

  it.each(keys)('masking with the key %d %d %d %d is undone, whatever the length', async (...mask) => {
    const peer = await Peer.meet()
    const payloads = Array.from({ length: 70 }, (_, length) => Buffer.alloc(length, 'BAsd7&jh23'))
    peer.write(...payloads.map((payload) => wire({ opcode: Opcode.text, mask, payload })))
    expect(await peer.heardWords()).toEqual(payloads.map((payload) => `text ${payload}`))
  })

  it('the example of §5.7 is read, and answered unmasked', async () => {
    const peer = await Peer.meet()
    peer.write(Buffer.from('818537fa213d7f9f4d5158', 'hex'))
    const [answer] = await peer.heard()
    expect(answer?.encode().toString('hex')).toBe('810548656c6c6f')
  })

  it.each(defined)('a $name frame without a mask fails with 1002', async ({ opcode }) => {
    const peer = await Peer.meet()
    peer.write(wire({ opcode, mask: null }))
    await peer.fails(1002, 'WSHUB_ERR_PROTOCOL')
  })

  it('a continuation without a mask fails with 1002', async () => {
    const peer = await Peer.meet()
    peer.write(
      wire({ opcode: Opcode.text, fin: false, payload: 'a' }),
      wire({ opcode: continuation, mask: null, payload: 'b' }),
    )
    await peer.fails(1002, 'WSHUB_ERR_PROTOCOL')
  })

  it('no frame of the server is masked', async () => {
    const peer = await Peer.meet()
    peer.served.connections[1]?.sendPing('p')
    peer.write(text('t'), binary(Buffer.from('b')), ping('q'), close(1000))
    await peer.client.hungUp()
    const opcodes = peer.client.frames.all.map(({ opcode }) => opcode)
    expect(opcodes.toSorted((a, b) => a - b)).toEqual([1, 2, 8, 9, 10])
    expect(peer.client.frames.all.every(({ masked }) => !masked)).toBe(true)
  })
})

describe('reserved bits (RFC 6455 §5.2)', () => {
  const bits = [1, 2, 3, 4, 5, 6, 7]

  describe.each(defined)('in a $name frame', ({ opcode }) => {
    it.each(bits)('reserved bits set to %d fail with 1002 without an extension', async (rsv) => {
      const peer = await Peer.meet()
      peer.write(wire({ opcode, rsv }))
      await peer.fails(1002, 'WSHUB_ERR_PROTOCOL')
    })
  })

  it.each(bits)('reserved bits set to %d in a continuation fail with 1002', async (rsv) => {
    const peer = await Peer.meet()
    peer.write(wire({ opcode: Opcode.text, fin: false }), wire({ opcode: continuation, rsv }))
    await peer.fails(1002, 'WSHUB_ERR_PROTOCOL')
  })
})

describe('opcodes (RFC 6455 §5.2)', () => {
  const reserved = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]
  const forms: { what: string; form: Omit<WireFrame, 'opcode'> }[] = [
    { what: 'empty', form: {} },
    { what: 'with a payload', form: { payload: 'x' } },
    { what: 'without FIN', form: { fin: false } },
  ]

  describe.each(forms)('that are reserved, $what,', ({ form }) => {
    it.each(reserved)('the reserved opcode %d fails with 1002', async (opcode) => {
      const peer = await Peer.meet()
      peer.write(wire({ ...form, opcode }))
      await peer.fails(1002, 'WSHUB_ERR_PROTOCOL')
    })
  })

  it.each(reserved)('the reserved opcode %d fails with 1002 within a message too', async (opcode) => {
    const peer = await Peer.meet()
    peer.write(wire({ opcode: Opcode.text, fin: false, payload: 'a' }), wire({ opcode }))
    await peer.fails(1002, 'WSHUB_ERR_PROTOCOL')
  })
})

describe('a fault (RFC 6455 §7.1.7)', () => {
  const faults = [
    { what: 'a reserved opcode', fault: wire({ opcode: 5 }), code: 1002, error: 'WSHUB_ERR_PROTOCOL' },
    { what: 'a reserved bit', fault: wire({ opcode: 1, rsv: 2 }), code: 1002, error: 'WSHUB_ERR_PROTOCOL' },
    {
      what: 'a continuation of nothing',
      fault: wire({ opcode: continuation, payload: 'x' }),
      code: 1002,
      error: 'WSHUB_ERR_PROTOCOL',
    },
    {
      what: 'text that is not UTF-8',
      fault: text(Buffer.from([0xff])),
      code: 1007,
      error: 'WSHUB_ERR_INVALID_DATA',
    },
    {
      what: 'a message that is too long',
      fault: wire({ opcode: 2, length: 101n }),
      code: 1009,
      error: 'WSHUB_ERR_MESSAGE_TOO_BIG',
    },
  ] as const

  it.each(faults)('nothing after a fault ($what) is received or answered', async ({ fault, code, error }) => {
    const peer = await Peer.meet({ maxMessageSize: 100 })
    peer.write(fault, ping('late'), text('late'), close(1000))
    await peer.fails(code, error)
  })

  it.each(faults)(
    'a fault ($what) is answered after everything sent before it',
    async ({ fault, code, error }) => {
      const peer = await Peer.meet({ maxMessageSize: 100 })
      peer.write(text('in time'), fault)
      await peer.fails(code, error, { frames: ['text in time'], callbacks: ['message in time'] })
    },
  )

  it.each(faults)(
    'a fault ($what) ends even a client that keeps sending and never closes',
    async ({ fault }) => {
      const peer = await Peer.meet({ maxMessageSize: 100 })
      peer.write(fault)
      const flood = setInterval(() => peer.write(text('more')), 1)
      try {
        await peer.client.hungUp()
      } finally {
        clearInterval(flood)
      }
    },
  )
})
