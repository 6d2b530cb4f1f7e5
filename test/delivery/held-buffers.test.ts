import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HeldBuffers } from '../../src/delivery/held-buffers.ts'

describe('HeldBuffers', () => {
  it('counts a buffer once, until its last holder releases it', () => {
    const held = new HeldBuffers()
    const [one, same] = [Buffer.alloc(10), Buffer.alloc(10)]
    held.hold(one)
    held.hold(one)
    expect(held.bytes).toBe(10)
    held.hold(same)
    expect(held.bytes).toBe(20)
    held.release(one)
    expect(held.bytes).toBe(20)
    held.release(one)
    expect(held.bytes).toBe(10)
    held.release(one) // nobody holds it
    expect(held.bytes).toBe(10)
    held.release(same)
    expect(held.bytes).toBe(0)
  })

  it('is empty when every hold was released, in any order', () => {
    const buffers = [1, 20, 300].map((size) => Buffer.alloc(size))
    fc.assert(
      fc.property(
        fc.shuffledSubarray([0, 0, 1, 1, 1, 2], { minLength: 6 }),
        fc.shuffledSubarray([0, 0, 1, 1, 1, 2], { minLength: 6 }),
        (holds, releases) => {
          const held = new HeldBuffers()
          const at = (place: number) => buffers[place] ?? Buffer.alloc(0)
          for (const place of holds) held.hold(at(place))
          expect(held.bytes).toBe(321)
          for (const place of releases) held.release(at(place))
          expect(held.bytes).toBe(0)
        },
      ),
    )
  })
})
