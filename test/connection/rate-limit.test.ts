import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { RateLimit } from '../../src/connection/rate-limit.ts'

beforeEach(() => {
  vi.useFakeTimers()
  vi.advanceTimersByTime(60_000)
})
afterEach(() => {
  vi.useRealTimers()
})

const inbox = () => ({ hold: vi.fn(), release: vi.fn() })

describe('RateLimit', () => {
  it.each([
    [0, 0, false],
    [1, 0, true],
    [0, 1, true],
    [1, 1, true],
  ])(
    'exists for %d messages and %d bytes a second: %s',
    (maxMessagesPerSecond, maxBytesPerSecond, isLimited) => {
      const limit = RateLimit.of({ maxMessagesPerSecond, maxBytesPerSecond, rateLimitPolicy: 'close' })
      expect(limit instanceof RateLimit).toBe(isLimited)
      expect(limit?.policy).toBe(isLimited ? 'close' : undefined)
    },
  )

  it("lets a second's worth of messages through at once, and then one after another", () => {
    const rate = new RateLimit({ maxMessagesPerSecond: 10, maxBytesPerSecond: 0, rateLimitPolicy: 'pause' })
    const first = Array.from({ length: 11 }, () => rate.take(1_000_000))
    expect(first).toEqual([...Array(10).fill(true), false])
    vi.advanceTimersByTime(200)
    expect([rate.take(0), rate.take(0)]).toEqual([true, false])
  })

  it('allows exactly a second of messages at once, whatever the rate', () => {
    vi.advanceTimersByTime(123.456)
    const refused: number[] = []
    for (let rate = 1; rate <= 1_000; rate++) {
      const limit = new RateLimit({
        maxMessagesPerSecond: rate,
        maxBytesPerSecond: 0,
        rateLimitPolicy: 'pause',
      })
      for (let message = 0; message < rate; message++) if (!limit.take(0)) refused.push(rate)
      if (limit.take(0)) refused.push(-rate)
    }
    expect(refused).toEqual([])
  })

  it('accumulates no more than a second', () => {
    const rate = new RateLimit({ maxMessagesPerSecond: 2, maxBytesPerSecond: 0, rateLimitPolicy: 'pause' })
    vi.advanceTimersByTime(3_600_000)
    expect([rate.take(0), rate.take(0), rate.take(0)]).toEqual([true, true, false])
  })

  it('counts bytes and messages', () => {
    const rate = new RateLimit({
      maxMessagesPerSecond: 100,
      maxBytesPerSecond: 1_000,
      rateLimitPolicy: 'pause',
    })
    expect([rate.take(600), rate.take(400), rate.take(1)]).toEqual([true, true, false])
  })

  it('holds messages back until the client is within its rates, once', () => {
    const rate = new RateLimit({
      maxMessagesPerSecond: 0,
      maxBytesPerSecond: 1_000,
      rateLimitPolicy: 'pause',
    })
    const held = inbox()
    rate.take(1_500)
    rate.delay(held)
    rate.delay(held)
    expect(held.hold).toHaveBeenCalledTimes(1)
    vi.advanceTimersByTime(300)
    rate.take(100) // a ping, while it is held
    vi.advanceTimersByTime(290)
    expect(held.release).not.toHaveBeenCalled()
    vi.advanceTimersByTime(20)
    expect(held.release).toHaveBeenCalledTimes(1)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('holds messages back for longer than a timer can wait', () => {
    const rate = new RateLimit({ maxMessagesPerSecond: 0, maxBytesPerSecond: 1, rateLimitPolicy: 'pause' })
    const held = inbox()
    rate.take(2_147_483_647)
    rate.delay(held)
    vi.advanceTimersByTime(60_000)
    expect(held.release).not.toHaveBeenCalled()
    rate.stop()
    expect(vi.getTimerCount()).toBe(0)
  })
})
