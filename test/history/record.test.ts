import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HubError } from 'wshub'
import { decodeRecord, encodeRecord } from '../../src/history/record.ts'

const name = fc.string({ minLength: 1, unit: 'binary' })
const record = fc.record({
  data: fc.oneof(
    fc.string(),
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
  ),
  key: fc.option(name, { nil: undefined }),
  urgent: fc.constantFrom(undefined, true as const),
  union: fc.array(name),
  exceptIds: fc.array(fc.string()),
  exceptRooms: fc.array(name),
})

describe('encodeRecord', () => {
  it('writes what decodeRecord reads', () => {
    fc.assert(
      fc.property(record, (one) => {
        expect(decodeRecord(encodeRecord(one))).toEqual(one)
      }),
    )
  })

  it('adds two bytes to a plain message', () => {
    const plain = { data: 'text', key: undefined, union: [], exceptIds: [], exceptRooms: [] }
    expect(encodeRecord(plain)).toHaveLength(6)
  })
})

describe('decodeRecord', () => {
  it('reads any bytes, or throws an error of the hub', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 50 }), (bytes) => {
        try {
          decodeRecord(Buffer.from([1, ...bytes]))
        } catch (error) {
          expect(error).toBeInstanceOf(HubError)
        }
      }),
    )
  })

  it('throws for another version', () => {
    expect(() => decodeRecord(Buffer.from([2, 0]))).toThrow(
      expect.objectContaining({ code: 'WSHUB_ERR_ENVELOPE' }),
    )
  })
})
