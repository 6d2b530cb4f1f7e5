import { expect, it } from 'vitest'
import { Oldest } from '../src/oldest.ts'

it('finds the oldest keys one by one, also those that come while it is under way', () => {
  const keys = new Set(['a', 'b'])
  const oldest = new Oldest(keys)
  expect(take()).toBe('a')
  keys.add('c')
  expect([take(), take(), take()]).toEqual(['b', 'c', undefined])
  keys.add('d')
  expect(take()).toBe('d')

  function take() {
    const key = oldest.next()
    if (key !== undefined) keys.delete(key)
    return key
  }
})

it('begins anew behind the last one', () => {
  const oldest = new Oldest(new Map([['kept', 1]]))
  expect([oldest.next(), oldest.next()]).toEqual(['kept', 'kept'])
})

it('takes no longer the more there are', () => {
  const keys = new Set(Array.from({ length: 100_000 }, (_, i) => i))
  const oldest = new Oldest(keys)
  for (let i = 100_000; i < 300_000; i++) {
    keys.delete(oldest.next() ?? -1)
    keys.add(i)
  }
  expect([keys.size, Math.min(...[...keys].slice(0, 10))]).toEqual([100_000, 200_000])
}, 5_000) // from the start it would be 14 s
