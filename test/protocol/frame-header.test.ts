import { describe, expect, it } from 'vitest'
import {
  headerLength,
  MASK,
  payloadLength,
  shortestHeaderLength,
  writeHeader,
} from '../../src/protocol/frame-header.ts'

const LENGTHS = [0, 1, 125, 126, 127, 65_535, 65_536, 2 ** 31, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER]

describe('a frame header', () => {
  it.each(LENGTHS)('is read as it was written with the payload length %d', (length) => {
    const at = 3 // it may begin at any offset
    const bytes = Buffer.alloc(at + 10)
    writeHeader(bytes.subarray(at), 0x82, length)
    expect(bytes[at]).toBe(0x82)
    expect(payloadLength(bytes, at)).toBe(length)
    expect(headerLength(bytes, at)).toBe(shortestHeaderLength(length))
    bytes[at + 1] = (bytes[at + 1] ?? 0) | MASK
    expect(payloadLength(bytes, at)).toBe(length)
    expect(headerLength(bytes, at)).toBe(shortestHeaderLength(length) + 4)
  })

  it('has at least two bytes, even when one has arrived', () => {
    expect(headerLength(Buffer.of(0x82), 0)).toBe(2)
  })
})
