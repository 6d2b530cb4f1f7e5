import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ReplayWindow, ReplayWindows } from '../../src/cluster/replay-window.ts'

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

  it('the replay window agrees with a simple model, whatever the order', () => {
    // Multiples of half a window, and a little: many steps return to a number, or to the slot of another one.
    const steps = fc.array(
      fc.tuple(fc.constantFrom(0, 0, 0, 1, 1, 2, 3, -1, -2), fc.integer({ min: -3, max: 3 })),
      { minLength: 20, maxLength: 60 },
    )
    fc.assert(
      fc.property(steps, (moves) => {
        const window = new ReplayWindow()
        const seen = new Set<number>()
        let highest = 0
        for (const [halves, more] of moves) {
          const number = Math.max(1, highest + (halves * WINDOW) / 2 + more)
          const verdict = window.add(number, 0)
          const expected = number <= highest - WINDOW ? 'late' : seen.has(number) ? 'seen' : 'new'
          expect(verdict).toBe(expected)
          seen.add(number)
          highest = Math.max(highest, number)
        }
      }),
      { numRuns: 500 },
    )
  })

  /** Adds all numbers from one to another, and returns the different verdicts. */
  function addAll(window: ReplayWindow, from: number, to: number): string[] {
    const verdicts = new Set<string>()
    for (let number = from; number <= to; number++) verdicts.add(window.add(number, 0))
    return [...verdicts]
  }

  it('a new number clears the slot that it shares with one of the window before', () => {
    const window = new ReplayWindow()
    expect(addAll(window, 1, 3 * WINDOW)).toEqual(['new'])
    expect(addAll(window, 2 * WINDOW + 1, 3 * WINDOW)).toEqual(['seen'])
  })

  it('a jump clears the slots of the numbers that it passes over, and no other', () => {
    const window = new ReplayWindow()
    addAll(window, 1, WINDOW)
    expect(window.add(WINDOW + 100, 0)).toBe('new')
    expect(addAll(window, 101, WINDOW)).toEqual(['seen'])
    expect(addAll(window, WINDOW + 1, WINDOW + 99)).toEqual(['new'])
  })
})

describe('ReplayWindows', () => {
  it('each publisher has its own window', () => {
    const windows = new ReplayWindows()
    const verdicts = ['a', 'b', 'a', 'b'].map((node) => windows.add(node, 1, 0))
    expect(verdicts).toEqual(['new', 'new', 'seen', 'seen'])
  })

  it('a publisher that was deleted is new again', () => {
    const windows = new ReplayWindows()
    for (const node of ['a', 'b']) windows.add(node, 1, 0)
    windows.delete('a')
    expect(['a', 'b'].map((node) => windows.add(node, 1, 0))).toEqual(['new', 'seen'])
  })

  it('forgets publishers by name or by the beat of their latest message', () => {
    const windows = new ReplayWindows()
    for (const [node, beat] of [
      ['a', 1],
      ['b', 2],
      ['a', 3],
      ['c', 4],
    ] as const)
      windows.add(node, 9, beat)
    const asked: string[] = []
    windows.forget((node, beat) => {
      asked.push(`${node} ${beat}`)
      return node === 'b'
    })
    expect(asked).toEqual(['a 3', 'b 2', 'c 4'])
    expect(['a', 'b', 'c'].map((node) => windows.add(node, 9, 5))).toEqual(['seen', 'new', 'seen'])
  })

  it('remembers the latest 10,000 publishers, in a kilobyte each', () => {
    const windows = new ReplayWindows()
    const { arrayBuffers } = process.memoryUsage()
    for (let node = 0; node < 10_000; node++) windows.add(String(node), 1, 0)
    expect(process.memoryUsage().arrayBuffers - arrayBuffers).toBeLessThan(12_000 * 1_024)
    expect(windows.add('0', 1, 0)).toBe('seen')
    expect(windows.add('one more', 1, 0)).toBe('new')
    expect(['1', '9999', 'one more'].map((node) => windows.add(node, 1, 0))).toEqual(['seen', 'seen', 'seen'])
    expect(windows.add('0', 1, 0)).toBe('new')
  })
})
