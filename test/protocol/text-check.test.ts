import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TextCheck } from '../../src/protocol/text-check.ts'

/** Returns whether the bytes can be the beginning of UTF-8. */
function mayBecome(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true })
    return true
  } catch {
    return false
  }
}

describe('TextCheck', () => {
  it('accepts what can become UTF-8, for each first byte and the borders of all ranges after it', () => {
    const seconds = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff]
    for (let first = 0; first < 256; first++) {
      for (const second of seconds) {
        for (const third of [0x7f, 0x80, 0xbf, 0xc0]) {
          const bytes = Uint8Array.of(first, second, third, 0x80)
          for (const length of [2, 3, 4]) {
            const part = bytes.subarray(0, length)
            const did = new TextCheck().add(part, length)
            if (did !== mayBecome(part)) expect({ part, did }).toEqual({ part, did: !did })
          }
        }
      }
    }
  })

  it('agrees for parts of any size with the check of the whole text', () => {
    const piece = fc.oneof(
      {
        weight: 20,
        arbitrary: fc.string({ unit: 'binary', maxLength: 80 }).map((text) => Buffer.from(text)),
      },
      { weight: 1, arbitrary: fc.uint8Array({ maxLength: 3 }).map((bytes) => Buffer.from(bytes)) },
    )
    const sizes = fc.array(fc.integer({ min: 1, max: 120 }), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), sizes, (pieces, partSizes) => {
        const bytes = Buffer.concat(pieces)
        const stream = new TextCheck()
        let end = 0
        let isWhole = true
        for (let i = 0; end < bytes.length && isWhole; i++) {
          const part = bytes.subarray(end, end + (partSizes[i % partSizes.length] ?? 1))
          end += part.length
          // The buffer continues with other bytes after the part.
          isWhole = stream.add(Buffer.concat([part, Buffer.from([0xff])]), part.length)
          expect({ end, isWhole }).toEqual({ end, isWhole: mayBecome(bytes.subarray(0, end)) })
        }
      }),
      { numRuns: 500 },
    )
  })
})
