import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { deferred } from '../../src/base/deferred.ts'
import { settlesWithin } from '../../src/base/time-limit.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('settlesWithin', () => {
  it('is true for a promise that resolves in time, and stops its timer', async () => {
    expect(await settlesWithin(100, Promise.resolve('x'))).toBe(true)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('is true for a promise that rejects in time', async () => {
    expect(await settlesWithin(100, Promise.reject(new Error('x')))).toBe(true)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('is false when the time is over first, and a later rejection is handled', async () => {
    const { promise, reject } = deferred()
    const result = settlesWithin(100, promise)
    vi.advanceTimersByTime(100)
    expect(await result).toBe(false)
    reject(new Error('too late')) // if it were unhandled, this run would fail
    await promise.catch(() => {})
  })
})
