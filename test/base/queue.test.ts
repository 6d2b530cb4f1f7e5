import { describe, expect, it } from 'vitest'
import { Queue } from '../../src/base/queue.ts'

describe('Queue', () => {
  it('returns its items in the order in which they were added, also after it was packed', () => {
    const queue = new Queue<number>()
    const returned: (number | undefined)[] = []
    for (let n = 0; n < 1_000; n++) {
      queue.push(n)
      if (n % 3 > 0) returned.push(queue.first, queue.shift())
    }
    expect(queue.size).toBe(1_000 - returned.length / 2)
    while (queue.size > 0) returned.push(queue.first, queue.shift())
    expect(returned).toEqual(Array.from({ length: 2_000 }, (_, index) => index >> 1))
    expect([queue.first, queue.shift(), queue.size]).toEqual([undefined, undefined, 0])
  })
})
