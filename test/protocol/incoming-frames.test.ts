import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Frame, Opcode } from 'wshub'
import { IncomingFrames } from '../../src/protocol/incoming-frames.ts'
import { binary, fragments, ping, wire } from '../conformance/wire.ts'

/**
 * Returns how many bytes of a text show that it is not UTF-8; `undefined` if it can still become valid.
 */
function wrongAt(text: Uint8Array): number | undefined {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  for (const [i, byte] of text.entries()) {
    try {
      decoder.decode(Uint8Array.of(byte), { stream: true })
    } catch {
      return i + 1
    }
  }
  return undefined
}

/** Returns where the character at `place` begins, in a text that is valid up to there. */
function startOfCharacter(text: Uint8Array, place: number): number {
  let at = place
  while (at > 0 && ((text[at] ?? 0) & 0xc0) === 0x80) at--
  return at
}

/** Cuts bytes into pieces of the given sizes, repeatedly. */
function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const pieces: Buffer[] = []
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1
    pieces.push(bytes.subarray(at, at + size))
    at += size
  }
  return pieces
}

/** Returns for each chunk whether it makes a text invalid, as a number. */
function found(chunks: readonly Buffer[]): number[] {
  const frames = new IncomingFrames()
  return chunks.map((chunk) => (frames.read(chunk) ? 0 : 1))
}

function decodeAll(bytes: Buffer): Frame[] {
  const frames: Frame[] = []
  let rest = bytes
  for (let next = Frame.decode(rest); next !== null; next = Frame.decode(rest)) {
    frames.push(next.frame)
    rest = rest.subarray(next.bytes)
  }
  return frames
}

const contentOf = ({ opcode, fin, masked, payload }: Frame) => ({
  opcode,
  fin,
  masked,
  payload: payload.toString('hex'),
})

const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 })
const bytes = fc
  .array(
    fc.oneof(
      {
        weight: 30,
        arbitrary: fc.string({ unit: 'binary', maxLength: 20 }).map((text) => Buffer.from(text)),
      },
      { weight: 1, arbitrary: fc.uint8Array({ maxLength: 4 }).map((some) => Buffer.from(some)) },
    ),
    { maxLength: 10 },
  )
  .map((parts) => Buffer.concat(parts))

describe('fragmented text', () => {
  it('is found invalid at the first wrong byte, wherever frames and packets end', () => {
    fc.assert(
      fc.property(bytes, sizes, sizes, fc.boolean(), (text, fragmentSizes, chunkSizes, isMixed) => {
        // At least two frames: `ws` checks a message of one.
        const frames = fragments(Opcode.text, [...cut(text, fragmentSizes), '', ''])
        const between = isMixed ? [ping('x')] : []
        const before = binary(Buffer.alloc(130, 0xff))
        let left = wrongAt(text)
        let end: number | undefined
        let at = before.length
        for (const [i, frame] of frames.entries()) {
          const size = cut(text, fragmentSizes)[i]?.length ?? 0
          if (left !== undefined && end === undefined) {
            if (left <= size) end = at + frame.length - size + left
            else left -= size
          }
          at += frame.length + (between[0]?.length ?? 0)
        }
        const chunks = cut(
          Buffer.concat([before, ...frames.flatMap((frame) => [frame, ...between]), before]),
          chunkSizes,
        )
        let read = 0
        const expected = chunks.map((chunk) => {
          const from = read
          read += chunk.length
          return end !== undefined && from < end && end <= read ? 1 : 0
        })
        expect(found(chunks)).toEqual(expected)
      }),
      { numRuns: 500 },
    )
  })

  it('is found invalid in large fragments, whichever byte is wrong', () => {
    const text = Buffer.from('grün €uro 😀 and plain '.repeat(4_000))
    const place = fc.nat(text.length - 1)
    const large = fc.array(
      fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 300, max: 70_000 })),
      {
        minLength: 1,
        maxLength: 6,
      },
    )
    const wrong = fc.option(fc.record({ at: place, byte: fc.integer({ min: 0x80, max: 0xff }) }), {
      nil: undefined,
    })
    fc.assert(
      fc.property(wrong, large, large, (change, fragmentSizes, chunkSizes) => {
        const bytes = Buffer.from(text)
        if (change !== undefined) bytes[change.at] = change.byte
        const frames = fragments(Opcode.text, [...cut(bytes, fragmentSizes), '', ''])
        const chunks = cut(Buffer.concat([...frames, ping('x')]), chunkSizes)
        // The chunk that brings the first wrong byte.
        const from = change === undefined ? bytes.length : Math.max(0, change.at - 4)
        const until = wrongAt(bytes.subarray(startOfCharacter(bytes, from)))
        const end = until === undefined ? undefined : startOfCharacter(bytes, from) + until
        let left = end
        let read = 0
        for (const [i, part] of cut(bytes, fragmentSizes).entries()) {
          const frame = frames[i] ?? Buffer.alloc(0)
          if (left === undefined || left <= 0) break
          read += left <= part.length ? frame.length - part.length + left : frame.length
          left -= part.length
        }
        let at = 0
        const expected = chunks.map((chunk) => {
          const begin = at
          at += chunk.length
          return end !== undefined && begin < read && read <= at ? 1 : 0
        })
        expect(found(chunks)).toEqual(expected)
      }),
      { numRuns: 150 },
    )
  })

  it('is not checked when it is compressed', () => {
    expect(found([wire({ opcode: Opcode.text, fin: false, rsv: 4, payload: Buffer.from([0xff]) })])).toEqual([
      0,
    ])
  })

  it('is found invalid in frames with a length of 7, 16 or 64 bits', () => {
    for (const form of [7, 16, 64] as const) {
      expect(found([wire({ opcode: Opcode.text, fin: false, form, payload: Buffer.from([0xff]) })])).toEqual([
        1,
      ])
    }
  })
})

describe('messages of one frame', () => {
  const message = fc.record({
    opcode: fc.constantFrom(Opcode.text, Opcode.binary),
    mask: fc.oneof(
      fc.tuple(...Array.from({ length: 4 }, () => fc.integer({ min: 0, max: 255 }))),
      fc.constant(null),
    ),
    payload: fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ minLength: 240, maxLength: 280 })),
    isFragmented: fc.boolean(),
  })

  it('have the same payload afterwards, wherever packets end', () => {
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 5 }),
        fc.nat(7),
        (messages, sizes, offset) => {
          const frames = messages.flatMap(({ opcode, mask, payload, isFragmented }) => {
            const rest = wire({ opcode: Opcode.continuation, mask, payload: 'the end' })
            return isFragmented
              ? [wire({ opcode: Opcode.binary, fin: false, mask, payload }), ping('between'), rest]
              : [wire({ opcode, mask, payload })]
          })
          const all = Buffer.concat([Buffer.alloc(offset), ...frames]).subarray(offset)
          const before = decodeAll(Buffer.from(all))
          const incoming = new IncomingFrames()
          for (const chunk of cut(all, sizes)) incoming.read(chunk)
          expect(decodeAll(all).map(contentOf)).toEqual(before.map(contentOf))
        },
      ),
      { numRuns: 500 },
    )
  })

  it.each([256, 257, 258, 259, 260, 1_003, 70_000])('are unmasked at once with %i bytes', (size) => {
    const payload = Buffer.alloc(size, 'äbc')
    const frames = [wire({ opcode: Opcode.binary, payload }), wire({ opcode: Opcode.binary, payload })]
    const chunk = Buffer.concat(frames)
    new IncomingFrames().read(chunk)
    const decoded = decodeAll(chunk)
    expect(decoded.map(({ maskKey }) => maskKey)).toEqual([Buffer.alloc(4), Buffer.alloc(4)])
    expect(decoded.every((frame) => frame.payload.equals(payload))).toBe(true)
  })

  it('stay as they are if they come in parts, in fragments or unmasked, or have fewer than 256 bytes', () => {
    const long = 'text'.repeat(100)
    const whole = wire({ opcode: Opcode.text, payload: long })
    const chunks = [
      whole.subarray(0, 7),
      whole.subarray(7),
      whole.subarray(0, 1),
      whole.subarray(1),
      ...fragments(Opcode.text, [long, long, long]),
      wire({ opcode: Opcode.text, payload: long, mask: null }),
      wire({ opcode: Opcode.text, payload: 'x'.repeat(255) }),
      ping('ping'),
    ].map((chunk) => Buffer.from(chunk))
    const before = chunks.map((chunk) => chunk.toString('hex'))
    const incoming = new IncomingFrames()
    for (const chunk of chunks) incoming.read(chunk)
    expect(chunks.map((chunk) => chunk.toString('hex'))).toEqual(before)
  })
})

describe('other frames', () => {
  it('are not checked: binary messages, unfragmented text, control frames', () => {
    const wrong = Buffer.from([0xff, 0xfe])
    const all = [
      ...fragments(Opcode.binary, [wrong, wrong, wrong]),
      wire({ opcode: Opcode.text, payload: wrong }),
      wire({ opcode: Opcode.ping, payload: wrong }),
      ...fragments(Opcode.text, ['a', 'b']),
      ...fragments(Opcode.binary, [wrong, wrong]),
    ]
    expect(found(all)).toEqual(all.map(() => 0))
  })
})
