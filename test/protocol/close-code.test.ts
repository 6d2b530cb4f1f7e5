import { describe, expect, it } from 'vitest'
import { CloseCode } from 'wshub'
import { isSendableCloseCode } from '../../src/protocol/close-code.ts'

describe('CloseCode', () => {
  it('names the codes of RFC 6455 and two later ones', () => {
    expect(CloseCode).toEqual({
      normal: 1000,
      goingAway: 1001,
      protocolError: 1002,
      unsupported: 1003,
      noStatus: 1005,
      abnormal: 1006,
      invalidData: 1007,
      policyViolation: 1008,
      messageTooBig: 1009,
      extensionRequired: 1010,
      internalError: 1011,
      serviceRestart: 1012,
      tryAgainLater: 1013,
      tlsHandshake: 1015,
    })
  })
})

describe('isSendableCloseCode', () => {
  it('accepts exactly 1000–1003, 1007–1014 and 3000–4999', () => {
    const sendable = Array.from({ length: 6_000 }, (_, code) => code).filter(isSendableCloseCode)
    const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)
    expect(sendable).toEqual([...range(1000, 1003), ...range(1007, 1014), ...range(3000, 4999)])
  })

  it.each([-1, 1000.5, Number.NaN, Number.POSITIVE_INFINITY, 65_536 + 1000])('refuses %d', (code) => {
    expect(isSendableCloseCode(code)).toBe(false)
  })
})
