import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Frame } from 'wshub'
import {
  encodeDeflated,
  encodedFrame,
  encodeMessage,
  frameOf,
  isTextFrame,
  payloadOf,
  writeFrame,
} from '../../src/protocol/message-frame.ts'

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

describe('frameOf', () => {
  it('returns a frame of the same bytes, alone and among others', () => {
    const texts = fc.oneof(fc.string({ unit: 'binary', maxLength: 200 }), fc.string({ maxLength: 70_000 }))
    fc.assert(
      fc.property(fc.oneof(texts, fc.uint8Array({ maxLength: 200 })), fc.nat(20), (data, at) => {
        const frame = frameOf(data)
        const expected = encodeMessage(data)
        expect(frame.length).toBe(expected.length)
        expect(encodedFrame(frame).equals(expected)).toBe(true)
        const bytes = Buffer.alloc(at + frame.length + 3, '-')
        writeFrame(frame, bytes, at)
        const around = [Buffer.alloc(at, '-'), expected, Buffer.from('---')]
        expect(bytes.equals(Buffer.concat(around))).toBe(true)
      }),
    )
  })

  it('returns the frame of a text with lone surrogates as Frame encodes it', () => {
    for (const text of ['\ud800', 'a\udc00b', 'é', '']) {
      expect(encodedFrame(frameOf(text)).equals(Frame.text(text).encode())).toBe(true)
    }
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
