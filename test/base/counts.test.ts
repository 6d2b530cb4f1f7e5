import { describe, expect, it } from 'vitest'
import { Counts } from '../../src/base/counts.ts'

describe('Counts', () => {
  it('counts each key by itself', () => {
    const counts = new Counts<string>()
    expect([counts.add('a'), counts.add('a'), counts.add('b')]).toEqual([1, 2, 1])
    expect([counts.of('a'), counts.of('b'), counts.of('c')]).toEqual([2, 1, 0])
    expect([counts.remove('a'), counts.remove('a')]).toEqual([1, 0])
    expect([counts.of('a'), counts.of('b')]).toEqual([0, 1])
  })

  it('never counts less than none', () => {
    const counts = new Counts<string>()
    expect([counts.remove('a'), counts.of('a'), counts.add('a')]).toEqual([0, 0, 1])
  })
})
