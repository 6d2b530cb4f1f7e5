import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Batch } from '../../src/delivery/batch.ts'
import { encodeMessage, frameOf } from '../../src/protocol/message-frame.ts'

const [a, b, c] = ['aa', 'bbb', 'cccc'].map((text) => Buffer.from(text)) as [Buffer, Buffer, Buffer] // of three

describe('Batch', () => {
  it('is empty to begin with', () => {
    const root = new Batch()
    expect({ bytes: root.bytes, messages: root.messages, joined: root.join() }).toEqual({
      bytes: 0,
      messages: 0,
      joined: Buffer.alloc(0),
    })
  })

  it('counts bytes, messages and bytes of control frames', () => {
    const batch = new Batch().extend(a, true).extend(b, false).extend(c, true)
    expect(batch).toMatchObject({ bytes: 9, messages: 2, controlBytes: 3 })
  })

  it('is not changed by the frames that follow', () => {
    const first = new Batch().extend(a, true)
    first.extend(b, true).join()
    expect({ bytes: first.bytes, messages: first.messages }).toEqual({ bytes: 2, messages: 1 })
    expect(first.join()).toBe(a)
  })

  it('is the same object for the same frames in the same order', () => {
    const root = new Batch()
    const batch = root.extend(a, true)
    expect(root.extend(a, true)).toBe(batch)
    expect(batch.extend(b, true)).toBe(batch.extend(b, true))
    expect(root.extend(b, true)).not.toBe(batch)
  })

  it('is another object for another buffer with equal bytes', () => {
    const root = new Batch()
    expect(root.extend(Buffer.from(a), true)).not.toBe(root.extend(a, true))
  })

  it('returns a single frame without a copy, and concatenates several once', () => {
    const one = new Batch().extend(a, true)
    expect(one.join()).toBe(a)
    const two = one.extend(b, true)
    expect(two.join().toString()).toBe('aabbb')
    expect(two.join()).toBe(two.join())
  })

  it('encodes texts where they belong', () => {
    const texts = ['one', 'zwölf', 'three'].map((text) => frameOf(text))
    const batch = texts.reduce((before, text) => before.extend(text, true), new Batch().extend(a, true))
    const expected = [a, ...['one', 'zwölf', 'three'].map((text) => encodeMessage(text))]
    expect(batch.join().equals(Buffer.concat(expected))).toBe(true)
    expect(batch.bytes).toBe(batch.join().length)
    expect(new Batch().extend(frameOf('one'), true).join().equals(encodeMessage('one'))).toBe(true)
  })

  it('reuses what was concatenated before', () => {
    const two = new Batch().extend(a, true).extend(b, true)
    const three = two.extend(c, true)
    two.join()
    expect(three.join().toString()).toBe('aabbbcccc')
    expect(three.extend(a, true).join().toString()).toBe('aabbbccccaa')
  })

  it('keeps the frames of many connections apart, in whatever order they are joined', () => {
    const frames = fc.array(fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 5 }), fc.nat(0b11111)), {
      maxLength: 20,
      size: 'max',
    })
    fc.assert(
      fc.property(frames, fc.array(fc.nat(4)), (broadcasts, joinedEarly) => {
        const root = new Batch()
        const connections = Array.from({ length: 5 }, () => ({ batch: root, sent: Buffer.alloc(0) }))
        for (const [place, [bytes, receivers]] of broadcasts.entries()) {
          const frame = Buffer.from(bytes)
          for (const [i, connection] of connections.entries()) {
            if ((receivers & (1 << i)) === 0) continue
            connection.batch = connection.batch.extend(frame, true)
            connection.sent = Buffer.concat([connection.sent, frame])
          }
          connections[joinedEarly[place] ?? -1]?.batch.join()
        }
        for (const { batch, sent } of connections) {
          expect(batch.bytes).toBe(sent.length)
          expect(batch.join().equals(sent)).toBe(true)
        }
      }),
    )
  })
})
