import { describe, expect, it } from 'vitest'
import { TokenBucket } from '../../src/base/token-bucket.ts'

const NOW = 864_000_123.456 // ten days after the start of the process

describe('a token bucket', () => {
  it('grants one second of tokens at once, and no more', () => {
    const wrong: number[] = []
    for (let rate = 1; rate <= 2_000; rate++) {
      const bucket = new TokenBucket(rate)
      let taken = 0
      while (bucket.tryTake(NOW)) taken++
      if (taken !== rate) wrong.push(rate)
    }
    expect(wrong).toEqual([])
  })

  it('fills up within a second, and never beyond', () => {
    const bucket = new TokenBucket(4)
    for (let i = 0; i < 4; i++) bucket.tryTake(NOW)
    expect(bucket.tryTake(NOW + 249)).toBe(false)
    expect(bucket.tryTake(NOW + 250)).toBe(true)
    expect(bucket.isFull(NOW + 1_249)).toBe(false)
    expect(bucket.isFull(NOW + 1_250)).toBe(true)
    const later = Array.from({ length: 5 }, () => bucket.tryTake(NOW + 3_600_000))
    expect(later).toEqual([true, true, true, true, false])
  })

  it('takes nothing when it has no token', () => {
    const bucket = new TokenBucket(1)
    bucket.tryTake(NOW)
    for (let i = 0; i < 10; i++) expect(bucket.tryTake(NOW)).toBe(false)
    expect(bucket.tryTake(NOW + 1_000)).toBe(true)
  })

  it('owes nothing for exactly one second of tokens', () => {
    const wrong: number[] = []
    for (let rate = 1; rate <= 2_000; rate++) {
      const bucket = new TokenBucket(rate)
      for (let i = 0; i < rate; i++) bucket.take(1, NOW)
      if (bucket.debtMs(NOW) !== 0) wrong.push(rate)
      bucket.take(1, NOW)
      if (bucket.debtMs(NOW) === 0) wrong.push(-rate)
    }
    expect(wrong).toEqual([])
  })

  it('owes the tokens that it did not have', () => {
    const bucket = new TokenBucket(1_000)
    bucket.take(1_500, NOW)
    expect(bucket.debtMs(NOW)).toBeCloseTo(500)
    expect(bucket.debtMs(NOW + 400)).toBeCloseTo(100)
    expect(bucket.debtMs(NOW + 500)).toBe(0)
  })
})
