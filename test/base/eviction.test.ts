import { describe, expect, it } from 'vitest'
import { oldestKeys } from '../../src/base/eviction.ts'

describe('oldestKeys', () => {
  it('returns the oldest key of a Map or a Set', () => {
    expect(oldestKeys(new Set(['a', 'b']), 2)).toEqual(['a'])
    expect(oldestKeys(new Map([['a', 1]]), 127)).toEqual(['a'])
    expect(oldestKeys(new Set(), 1_000)).toEqual([])
  })

  it('returns a sixty-fourth of the limit, if there are that many keys', () => {
    const keys = Array.from({ length: 10 }, (_, i) => i)
    expect(oldestKeys(new Set(keys), 640)).toEqual(keys)
    expect(oldestKeys(new Set(keys), 128)).toEqual([0, 1])
    expect(oldestKeys(new Set(keys), 100_000)).toEqual(keys)
  })

  it('evicts in a time that does not depend on how many keys were deleted', () => {
    const limit = 100_000
    const before = process.cpuUsage()
    const keys = new Set(Array.from({ length: limit }, (_, i) => i))
    for (let i = limit; i < 3 * limit; i++) {
      if (keys.size >= limit) for (const key of oldestKeys(keys, limit)) keys.delete(key)
      keys.add(i)
    }
    const [first] = keys
    expect(keys.size).toBeGreaterThan(limit * 0.98)
    expect(first).toBeGreaterThan(2 * limit - 1)
    // CPU time in µs. With one iterator for each key it would take 14 s.
    expect(process.cpuUsage(before).user).toBeLessThan(5_000_000)
  })
})
