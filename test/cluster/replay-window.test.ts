import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ReplayWindow } from '../../src/cluster/replay-window.ts'

const WINDOW = 8_192

describe('ReplayWindow', () => {
  it('the replay window tells new numbers from those seen, in any order', () => {
    const window = new ReplayWindow()
    expect([3, 1, 3, 2, 1, 4].map((number) => window.add(number, 0))).toEqual([
      'new',
      'new',
      'seen',
      'new',
      'seen',
      'new',
    ])
  })

  it('a number that is a whole window old is late', () => {
    const window = new ReplayWindow()
    window.add(WINDOW + 1, 5)
    expect(window.add(1, 6)).toBe('late')
    expect(window.add(2, 7)).toBe('new')
    expect(window.usedAt).toBe(7)
  })

  it('the replay window never calls a number new twice', () => {
    const jumps = fc.array(fc.oneof(fc.integer({ min: -300, max: 300 }), fc.integer({ min: 0, max: 20_000 })))
    fc.assert(
      fc.property(jumps, (steps) => {
        const window = new ReplayWindow()
        const seen = new Set<number>()
        let highest = 0
        let number = 1
        for (const step of steps) {
          number = Math.max(1, number + step)
          const verdict = window.add(number, 0)
          const expected = number <= highest - WINDOW ? 'late' : seen.has(number) ? 'seen' : 'new'
          expect(verdict).toBe(expected)
          if (verdict === 'new') seen.add(number)
          highest = Math.max(highest, number)
        }
      }),
      { numRuns: 500 },
    )
  })
})
