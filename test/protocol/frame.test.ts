import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Frame, type HubErrorCode, Opcode } from 'wshub'
import { encodeMessage } from '../../src/protocol/message-frame.ts'

const dataOpcodes = [Opcode.continuation, Opcode.text, Opcode.binary]
const controlOpcodes = [Opcode.close, Opcode.ping, Opcode.pong]

const frames = fc.oneof(
  fc.record({
    fin: fc.boolean(),
    rsv1: fc.boolean(),
    rsv2: fc.boolean(),
    rsv3: fc.boolean(),
    opcode: fc.constantFrom(...dataOpcodes),
    masked: fc.boolean(),
    payload: fc.uint8Array({ maxLength: 300 }),
  }),
  fc.record({
    opcode: fc.constantFrom(...controlOpcodes),
    masked: fc.boolean(),
    payload: fc.uint8Array({ maxLength: 125 }),
  }),
)

const hubError = (code: HubErrorCode) => expect.objectContaining({ name: 'HubError', code })

describe('Frame', () => {
  describe('constructor', () => {
    it('uses defaults for missing fields', () => {
      const frame = new Frame({ opcode: Opcode.text })
      expect(frame).toMatchObject({
        fin: true,
        rsv1: false,
        rsv2: false,
        rsv3: false,
        opcode: 1,
        masked: false,
      })
      expect(frame.maskKey).toBeNull()
      expect(frame.payload).toHaveLength(0)
    })

    it('generates a masking key', () => {
      expect(new Frame({ opcode: Opcode.text, masked: true }).maskKey).toHaveLength(4)
    })

    it('masks the frame when a key is given', () => {
      expect(new Frame({ opcode: Opcode.text, maskKey: Buffer.alloc(4) }).masked).toBe(true)
    })

    it.each([
      { what: 'a fragmented control frame', init: { opcode: Opcode.ping, fin: false } },
      { what: 'a control frame of 126 bytes', init: { opcode: Opcode.pong, payload: Buffer.alloc(126) } },
      { what: 'a key of 3 bytes', init: { opcode: Opcode.text, maskKey: Buffer.alloc(3) } },
    ])('refuses $what', ({ init }) => {
      expect(() => new Frame(init)).toThrow(hubError('WSHUB_ERR_INVALID_FRAME'))
    })
  })

  describe('#encode', () => {
    it.each([
      { length: 0, header: [0x82, 0] },
      { length: 125, header: [0x82, 125] },
      { length: 126, header: [0x82, 126, 0, 126] },
      { length: 65_535, header: [0x82, 126, 0xff, 0xff] },
      { length: 65_536, header: [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0] },
    ])('writes the length $length in its shortest form', ({ length, header }) => {
      const payload = Buffer.alloc(length, 7)
      const bytes = Frame.binary(payload).encode()
      expect([...bytes.subarray(0, header.length)]).toEqual(header)
      expect(bytes.subarray(header.length).equals(payload)).toBe(true)
      expect(encodeMessage(payload).equals(bytes)).toBe(true)
      const masked = new Frame({ opcode: Opcode.binary, payload, masked: true })
      expect(masked.encode()).toHaveLength(header.length + 4 + length)
      expect(Frame.decode(masked.encode())?.frame.payload.equals(payload)).toBe(true)
    })

    it('writes the examples of RFC 6455 §5.7', () => {
      expect(Frame.text('Hello').encode().toString('hex')).toBe('810548656c6c6f')
      const masked = new Frame({
        opcode: Opcode.text,
        payload: Buffer.from('Hello'),
        maskKey: Buffer.from('37fa213d', 'hex'),
      })
      expect(masked.encode().toString('hex')).toBe('818537fa213d7f9f4d5158')
      expect(
        new Frame({ opcode: Opcode.text, fin: false, payload: Buffer.from('Hel') }).encode().toString('hex'),
      ).toBe('010348656c')
      expect(Frame.ping('Hello').encode().toString('hex')).toBe('890548656c6c6f')
    })

    it('does not change the payload of a masked frame', () => {
      const payload = Buffer.from('Hello')
      new Frame({ opcode: Opcode.text, payload, masked: true }).encode()
      expect(payload.toString()).toBe('Hello')
    })
  })

  describe('.decode', () => {
    it('returns the encoded frame and its length', () => {
      fc.assert(
        fc.property(frames, fc.uint8Array({ maxLength: 8 }), (init, rest) => {
          const frame = new Frame(init)
          const bytes = frame.encode()
          const decoded = Frame.decode(Buffer.concat([bytes, rest]))
          expect(decoded?.bytes).toBe(bytes.length)
          expect(decoded?.frame).toEqual(frame)
        }),
      )
    })

    it('returns null for every prefix of a frame', () => {
      fc.assert(
        fc.property(frames, (init) => {
          const bytes = new Frame(init).encode()
          for (let end = 0; end < bytes.length; end++) expect(Frame.decode(bytes.subarray(0, end))).toBeNull()
        }),
        { numRuns: 30 },
      )
    })

    it.each([65_535, 65_536])('returns null while one of %d bytes is missing', (length) => {
      const bytes = Frame.binary(Buffer.alloc(length)).encode()
      expect(Frame.decode(bytes.subarray(0, -1))).toBeNull()
      expect(Frame.decode(bytes.subarray(0, 9))).toBeNull()
      expect(Frame.decode(bytes.subarray(0, 3))).toBeNull()
    })

    it('takes any Uint8Array', () => {
      expect(Frame.decode(new Uint8Array([0, 0x81, 1, 65]).subarray(1))?.frame.payload.toString()).toBe('A')
    })

    it('does not change the bytes of a masked frame', () => {
      const bytes = new Frame({ opcode: Opcode.text, payload: Buffer.from('Hello'), masked: true }).encode()
      const before = Buffer.from(bytes)
      Frame.decode(bytes)
      expect(bytes.equals(before)).toBe(true)
    })

    it.each([
      ...[0x3, 0x4, 0x5, 0x6, 0x7, 0xb, 0xc, 0xd, 0xe, 0xf].map((opcode) => ({
        what: `the reserved opcode 0x${opcode.toString(16)}`,
        bytes: [0x80 | opcode, 0],
      })),
      { what: 'a fragmented close', bytes: [0x08, 0] },
      { what: 'a fragmented ping', bytes: [0x09, 0] },
      { what: 'a fragmented pong', bytes: [0x0a, 0] },
      { what: 'a ping of 126 bytes', bytes: [0x89, 126] },
      { what: 'a close with a length of 64 bits', bytes: [0x88, 127] },
      { what: 'the length 125 in 16 bits', bytes: [0x82, 126, 0, 125] },
      { what: 'the length 65535 in 64 bits', bytes: [0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff] },
      { what: 'a length of 2^53', bytes: [0x82, 127, 0, 0x20, 0, 0, 0, 0, 0, 0] },
      { what: 'a length with its highest bit set', bytes: [0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0] },
    ])('refuses $what', ({ bytes }) => {
      expect(() => Frame.decode(Buffer.from(bytes))).toThrow(hubError('WSHUB_ERR_INVALID_FRAME'))
    })
  })

  describe('.text', () => {
    it('frames UTF-8', () => {
      expect(Frame.text('Grüße')).toMatchObject({ opcode: Opcode.text, payload: Buffer.from('Grüße') })
    })

    it('refuses bytes', () => {
      expect(() => Frame.text(Buffer.from('x') as never)).toThrow(hubError('WSHUB_ERR_INVALID_PAYLOAD'))
    })
  })

  describe('.binary', () => {
    it.each([
      { what: 'a Buffer', data: Buffer.from([1, 2]) },
      { what: 'a part of an array', data: new Uint8Array([0, 1, 2, 3]).subarray(1, 3) },
      { what: 'an ArrayBuffer', data: new Uint8Array([1, 2]).buffer },
    ])('frames $what', ({ data }) => {
      expect(Frame.binary(data)).toMatchObject({ opcode: Opcode.binary, payload: Buffer.from([1, 2]) })
    })

    it('refuses an object', () => {
      expect(() => Frame.binary({} as never)).toThrow(hubError('WSHUB_ERR_INVALID_PAYLOAD'))
    })
  })

  describe.each([
    { name: 'ping', make: Frame.ping, opcode: Opcode.ping },
    { name: 'pong', make: Frame.pong, opcode: Opcode.pong },
  ])('.$name', ({ make, opcode }) => {
    it('carries nothing, text or bytes', () => {
      expect(make()).toMatchObject({ opcode, payload: Buffer.alloc(0) })
      expect(make('hi').payload.toString()).toBe('hi')
      expect(make(Buffer.alloc(125)).payload).toHaveLength(125)
    })

    it('refuses 126 bytes of UTF-8', () => {
      expect(() => make('ü'.repeat(63))).toThrow(hubError('WSHUB_ERR_CONTROL_TOO_LONG'))
    })
  })

  describe('.close', () => {
    it('is empty without a code', () => {
      expect(Frame.close()).toMatchObject({ opcode: Opcode.close, payload: Buffer.alloc(0) })
    })

    it('carries code and reason', () => {
      expect(Frame.close(1000, 'Grüße').payload).toEqual(
        Buffer.concat([Buffer.from([0x03, 0xe8]), Buffer.from('Grüße')]),
      )
    })

    it('carries a reason of 123 bytes of UTF-8', () => {
      expect(Frame.close(1000, `${'ü'.repeat(61)}x`).payload).toHaveLength(125)
    })

    it.each([
      { what: 'a reason without a code', code: undefined, reason: 'x' },
      { what: 'a reserved code', code: 1006, reason: '' },
      { what: 'a reason of 124 bytes of UTF-8', code: 1000, reason: 'ü'.repeat(62) },
    ])('refuses $what', ({ code, reason }) => {
      expect(() => Frame.close(code, reason)).toThrow(hubError('WSHUB_ERR_INVALID_CLOSE'))
    })
  })
})
