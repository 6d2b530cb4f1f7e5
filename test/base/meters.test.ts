import { describe, expect, it } from 'vitest'
import { Meters } from '../../src/base/meters.ts'

describe('Meters', () => {
  it('counts each value in the first bucket that is not below it, and in no other histogram', () => {
    const meters = new Meters({ size: [1, 10], age: [5] })
    for (const value of [0, 1, 1.5, 10, 11]) meters.record('size', value)
    expect(meters.snapshot()).toEqual({
      size: { bounds: [1, 10], counts: [2, 2, 1], sum: 23.5 },
      age: { bounds: [5], counts: [0, 0], sum: 0 },
    })
  })

  it('tells each value, with the name of its histogram', () => {
    const told: unknown[] = []
    const meters = new Meters({ size: [1], age: [5] }, (...args) => told.push(args))
    meters.record('age', 7)
    meters.record('size', 0)
    expect(told).toEqual([
      ['age', 7],
      ['size', 0],
    ])
  })

  it('returns counts that later values do not change', () => {
    const meters = new Meters({ size: [1] })
    const before = meters.snapshot()
    meters.record('size', 1)
    expect(before.size).toMatchObject({ counts: [0, 0], sum: 0 })
  })
})
