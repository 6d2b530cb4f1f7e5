import { describe, expect, it } from 'vitest'
import { checkPayload, payloadBytes } from '../../src/protocol/message.ts'

const wrong: unknown[] = [undefined, null, 1, true, {}, [1, 2], () => 'x', new Date(0)]

describe('checkPayload', () => {
  it.each([['x'], [''], [Buffer.from('x')], [new Uint8Array(1)], [new ArrayBuffer(1)]])(
    'accepts %o',
    (data) => {
      expect(() => checkPayload(data)).not.toThrow()
    },
  )

  it.each(wrong.map((data) => [data]))('refuses %o', (data) => {
    expect(() => checkPayload(data)).toThrow(expect.objectContaining({ code: 'WSHUB_ERR_INVALID_PAYLOAD' }))
  })

  it('throws an error that names the type and says what to do', () => {
    expect(() => checkPayload({ a: 1 })).toThrow(/not an object; serialize objects yourself/)
  })
})

describe('payloadBytes', () => {
  it('returns bytes without a copy', () => {
    const buffer = new ArrayBuffer(2)
    const bytes = payloadBytes(buffer)
    new Uint8Array(buffer)[0] = 7
    expect([...bytes]).toEqual([7, 0])
    const array = new Uint8Array(1)
    expect(payloadBytes(array)).toBe(array)
  })

  it.each(wrong.map((data) => [data]))('refuses %o', (data) => {
    expect(() => payloadBytes(data as never)).toThrow(
      expect.objectContaining({ code: 'WSHUB_ERR_INVALID_PAYLOAD' }),
    )
  })
})
