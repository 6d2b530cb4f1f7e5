import { describe, expect, it } from 'vitest'
import { delayOf, longestDelay, mayReturn } from '../../client/retry-delay.ts'

const range = { minDelayMs: 1_000, maxDelayMs: 30_000 }
const lost = { code: 1006, reason: '' }
const delays = (attempts: readonly number[], end = lost, random = 0) =>
  attempts.map((attempt) => delayOf(attempt, end, random, range))

describe('delayOf', () => {
  it('is minDelayMs at least, however many attempts have failed', () => {
    expect(delays([0, 1, 5, 1_000])).toEqual([1_000, 1_000, 1_000, 1_000])
  })

  it('doubles its longest with each attempt, up to maxDelayMs', () => {
    expect(delays([0, 1, 2, 3, 4, 1_000], lost, 1)).toEqual([2_000, 4_000, 8_000, 16_000, 30_000, 30_000])
    expect([0, 1, 2, 3, 4, 1_000].map((attempt) => longestDelay(attempt, range))).toEqual(
      delays([0, 1, 2, 3, 4, 1_000], lost, 1),
    )
  })

  it('takes each time in between with the same probability', () => {
    expect(delays([0, 4], lost, 0.5)).toEqual([1_500, 15_500])
    expect(delays([0, 4], lost, 0.25)).toEqual([1_250, 8_250])
  })

  it.each([1012, 1013])('is spread over maxDelayMs from the first attempt on after %i', (code) => {
    expect(delays([0, 9], { code, reason: '' })).toEqual([1_000, 1_000])
    expect(delays([0, 9], { code, reason: '' }, 0.5)).toEqual([15_500, 15_500])
    expect(delays([0, 9], { code, reason: '' }, 1)).toEqual([30_000, 30_000])
  })

  it.each([1012, 1013])('is spread over maxDelayMs after the time that the reason of %i asks for', (code) => {
    expect(delays([0], { code, reason: 'retry-after=60' })).toEqual([60_000])
    expect(delays([3], { code, reason: 'retry-after=60' }, 1)).toEqual([90_000])
    expect(delays([0], { code, reason: 'retry-after=0' }, 0)).toEqual([1_000])
  })

  it('asks for an hour at most', () => {
    const reason = `retry-after=${'9'.repeat(100)}`
    expect(delays([0], { code: 1013, reason }, 1)).toEqual([3_630_000])
  })

  it.each(['retry-after=', 'retry-after=-1', 'retry-after=1.5', 'retry-after=5 s', 'please retry-after=5'])(
    'does not understand the reason %j',
    (reason) => {
      expect(delays([0], { code: 1013, reason })).toEqual([1_000])
    },
  )

  it('takes no such reason with another code', () => {
    expect(delays([0], { code: 1001, reason: 'retry-after=60' })).toEqual([1_000])
  })

  it('is maxDelayMs where that is less than twice minDelayMs', () => {
    const narrow = { minDelayMs: 10, maxDelayMs: 10 }
    expect(delayOf(0, lost, 0.5, narrow)).toBe(10)
    expect(delayOf(0, { code: 1012, reason: '' }, 0.5, narrow)).toBe(10)
  })
})

describe('mayReturn', () => {
  const codes = Array.from({ length: 5_000 }, (_, code) => code)

  it('is false after 1000, 1008 and 4400 to 4499', () => {
    const final = codes.filter((code) => !mayReturn(code, false))
    expect(final).toEqual([1000, 1008, ...codes.slice(4400, 4500)])
  })

  it('is true after 4401 where there is a token to ask for', () => {
    const final = codes.filter((code) => !mayReturn(code, true))
    expect(final).toEqual([1000, 1008, 4400, ...codes.slice(4402, 4500)])
  })
})
