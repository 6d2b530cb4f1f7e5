import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { DueQueue } from '../../src/base/due-queue.ts'

describe('DueQueue', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
  afterEach(() => void vi.useRealTimers())

  it('hands over each item after the delay, in order, with one timer', () => {
    const due: string[] = []
    const queue = new DueQueue<string>(100, (item) => due.push(item))
    queue.add('one')
    vi.advanceTimersByTime(60)
    queue.add('two')
    queue.add('three')
    expect(vi.getTimerCount()).toBe(1)
    vi.advanceTimersByTime(40)
    expect(due).toEqual(['one'])
    expect(queue.size).toBe(2)
    vi.advanceTimersByTime(59)
    expect(due).toEqual(['one'])
    vi.advanceTimersByTime(1)
    expect(due).toEqual(['one', 'two', 'three'])
    expect([queue.size, vi.getTimerCount()]).toEqual([0, 0])
  })

  it('takes items that are added while others become due, also without a delay', () => {
    const due: number[] = []
    const queue = new DueQueue<number>(0, (item) => {
      due.push(item)
      if (item < 5) queue.add(item + 1)
    })
    queue.add(1)
    vi.advanceTimersByTime(10)
    expect(due).toEqual([1, 2, 3, 4, 5])
    expect([queue.size, vi.getTimerCount()]).toEqual([0, 0])
  })

  it('drops all items and its timer when it is closed, also by the owner of an item', () => {
    const due: number[] = []
    const queue = new DueQueue<number>(10, (item) => {
      due.push(item)
      queue.close()
    })
    for (const item of [1, 2, 3]) queue.add(item)
    vi.advanceTimersByTime(100)
    expect(due).toEqual([1])
    expect([queue.size, vi.getTimerCount()]).toEqual([0, 0])
  })
})
