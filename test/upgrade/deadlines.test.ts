import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Deadlines } from '../../src/upgrade/deadlines.ts'

describe('Deadlines', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
  afterEach(() => void vi.useRealTimers())

  it('tell of each item that is still there when its limit has passed, and again, with one timer', () => {
    const passed: string[] = []
    const deadlines = new Deadlines<string>(100, (item) => passed.push(item))
    deadlines.add('one')
    vi.advanceTimersByTime(60)
    deadlines.add('two')
    deadlines.add('settled')
    deadlines.delete('settled')
    expect(vi.getTimerCount()).toBe(1)
    vi.advanceTimersByTime(40)
    expect(passed).toEqual(['one'])
    vi.advanceTimersByTime(60)
    expect(passed).toEqual(['one', 'two'])
    vi.advanceTimersByTime(40)
    expect(passed).toEqual(['one', 'two', 'one'])
    deadlines.delete('one')
    deadlines.delete('two')
    vi.advanceTimersByTime(100)
    expect([passed.length, vi.getTimerCount()]).toEqual([3, 0])
  })

  it('start their timer again for an item that comes after all others were deleted', () => {
    const passed: number[] = []
    const deadlines = new Deadlines<number>(100, (item) => passed.push(item))
    deadlines.add(1)
    deadlines.delete(1)
    vi.advanceTimersByTime(50)
    deadlines.add(2)
    vi.advanceTimersByTime(99)
    expect(passed).toEqual([])
    vi.advanceTimersByTime(1)
    expect(passed).toEqual([2])
  })

  it('have no timer with a limit of 0, nor when they are stopped', () => {
    const unlimited = new Deadlines<number>(0, () => {})
    unlimited.add(1)
    const deadlines = new Deadlines<number>(100, () => {})
    deadlines.add(1)
    deadlines.stop()
    expect(vi.getTimerCount()).toBe(0)
  })
})
