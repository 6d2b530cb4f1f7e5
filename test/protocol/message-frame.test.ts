import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Frame } from 'wshub'
import { encodeDeflated, encodeMessage, isTextFrame, payloadOf } from '../../src/protocol/message-frame.ts'

describe('encodeMessage', () => {
  it('returns what Frame encodes, and can be read back', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ unit: 'grapheme', maxLength: 200 }), fc.uint8Array({ maxLength: 200 })),
        (data) => {
          const bytes = encodeMessage(data)
          const frame = typeof data === 'string' ? Frame.text(data) : Frame.binary(data)
          expect(bytes.equals(frame.encode())).toBe(true)
          expect(payloadOf(bytes).equals(frame.payload)).toBe(true)
          expect(isTextFrame(bytes)).toBe(typeof data === 'string')
        },
      ),
    )
  })
})

describe('encodeDeflated', () => {
  it.each([
    ['text', 'x'.repeat(200)],
    ['binary', Buffer.alloc(200)],
  ])('returns a compressed frame of the type of a %s message', (type, data) => {
    const deflated = Buffer.alloc(130, 7)
    const frame = Frame.decode(encodeDeflated(encodeMessage(data), deflated))?.frame
    expect(frame).toMatchObject({ fin: true, rsv1: true, opcode: type === 'text' ? 1 : 2, payload: deflated })
  })
})
