import { describe, expect, it } from 'vitest'
import { checkClose, controlPayload } from '../../src/protocol/control-frame.ts'

describe('checkClose', () => {
  it.each([
    [undefined, ''],
    [1000, ''],
    [4999, 'x'.repeat(123)],
    [3000, `${'ü'.repeat(61)}x`],
  ])('accepts %o with %o', (code, reason) => {
    expect(() => checkClose(code, reason)).not.toThrow()
  })

  it.each([
    [undefined, 'x'],
    [1005, ''],
    [5000, ''],
    ['1000', ''],
    [1000, 'x'.repeat(124)],
    [1000, 'ü'.repeat(62)],
    [1000, null],
  ])('refuses %o with %o', (code, reason) => {
    const check = () => checkClose(code as number, reason as string) // wrong by its type, too
    expect(check).toThrow(expect.objectContaining({ code: 'WSHUB_ERR_INVALID_CLOSE' }))
  })
})

describe('controlPayload', () => {
  it('returns text as UTF-8', () => {
    expect(controlPayload('Grüße')).toEqual(Buffer.from('Grüße'))
  })

  it('returns bytes without a copy', () => {
    const bytes = new Uint8Array([0, 1, 2, 3]).subarray(1, 3)
    const payload = controlPayload(bytes)
    bytes[0] = 7
    expect(payload).toEqual(Buffer.from([7, 2]))
  })

  it('takes 125 bytes, and refuses 126', () => {
    expect(controlPayload('x'.repeat(125))).toHaveLength(125)
    const refused = expect.objectContaining({ code: 'WSHUB_ERR_CONTROL_TOO_LONG' })
    expect(() => controlPayload('ü'.repeat(63))).toThrow(refused)
    expect(() => controlPayload(Buffer.alloc(126))).toThrow(refused)
  })
})
