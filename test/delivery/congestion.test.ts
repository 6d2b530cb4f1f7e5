import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type CongestedOutbox, Congestion, JUDGE_MS } from '../../src/delivery/congestion.ts'

/** A slow client. */
function slow(judge: () => void = () => {}): CongestedOutbox {
  return { judge, bufferedBytes: 0, dropReplayable: () => {}, giveUp: () => {} }
}

describe('Congestion#add', () => {
  function fakeTimers() {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    onTestFinished(() => {
      vi.useRealTimers()
    })
  }

  it('judges a client every 30 s until it is deleted', () => {
    fakeTimers()
    const congestion = new Congestion(1_000, false)
    const judged: string[] = []
    const a = slow(() => judged.push('a'))
    const b = slow(() => judged.push('b'))
    congestion.add(a)
    congestion.add(a)
    vi.advanceTimersByTime(29_999)
    expect(judged).toEqual([])
    vi.advanceTimersByTime(1)
    expect(judged).toEqual(['a'])
    congestion.add(b)
    expect(vi.getTimerCount()).toBe(1)
    vi.advanceTimersByTime(JUDGE_MS)
    expect(judged).toEqual(['a', 'a', 'b'])
    congestion.delete(a)
    vi.advanceTimersByTime(JUDGE_MS)
    expect(judged).toEqual(['a', 'a', 'b', 'b'])
    congestion.delete(b)
    vi.advanceTimersByTime(JUDGE_MS)
    expect({ judged, timers: vi.getTimerCount() }).toEqual({ judged: ['a', 'a', 'b', 'b'], timers: 0 })
  })

  it('starts a timer that does not keep the process alive', () => {
    const start = vi.spyOn(globalThis, 'setInterval')
    onTestFinished(() => start.mockRestore())
    const congestion = new Congestion(1_000, false)
    expect(start).not.toHaveBeenCalled()
    congestion.add(slow())
    expect(start.mock.results.map(({ value }) => value.hasRef())).toEqual([false])
    congestion.stop()
  })

  it('works again after all clients were deleted', () => {
    fakeTimers()
    const congestion = new Congestion(1_000, false)
    let count = 0
    const client = slow(() => {
      count++
      congestion.delete(client)
    })
    for (let i = 0; i < 2; i++) {
      congestion.add(client)
      vi.advanceTimersByTime(3 * JUDGE_MS)
    }
    expect({ count, timers: vi.getTimerCount() }).toEqual({ count: 2, timers: 0 })
  })
})

describe('Congestion#relieve', () => {
  /** Adds a client for each size, with a buffer of that size, where 1,000 bytes may wait. */
  function waiting(...sizes: readonly number[]) {
    const congestion = new Congestion(1_000, false)
    const given: number[] = []
    for (const [place, size] of sizes.entries()) {
      const buffer = Buffer.alloc(size)
      congestion.held.hold(buffer)
      const client = {
        ...slow(),
        bufferedBytes: size,
        giveUp() {
          given.push(place)
          congestion.held.release(buffer)
          congestion.delete(client)
        },
      }
      congestion.add(client)
    }
    congestion.relieve()
    congestion.stop()
    return { given, left: congestion.held.bytes }
  }

  it('closes no client while no more than maxTotalBufferedBytes wait', () => {
    expect(waiting(400, 600)).toEqual({ given: [], left: 1_000 })
  })

  it('closes the clients with the most bytes waiting, until an eighth is free', () => {
    expect(waiting(100, 300, 250, 351)).toEqual({ given: [3], left: 650 })
    expect(waiting(500, 510, 400, 300, 5)).toEqual({ given: [1, 0], left: 705 })
    expect(waiting(175, 175, 200, 175, 175, 175)).toEqual({ given: [2], left: 875 })
    expect(waiting(120, 100, 100, 100, 100, 100, 100, 100, 100, 100)).toEqual({ given: [0, 1], left: 800 })
  })

  it('closes none when enough can be sent again later', () => {
    const congestion = new Congestion(1_000, true)
    const [replayable, other] = [Buffer.alloc(700), Buffer.alloc(400)]
    let [dropped, given] = [0, 0]
    for (const [bytes, drop] of [
      [replayable, () => congestion.held.release(replayable)],
      [other, () => dropped--], // it has nothing that can be, and is not asked
    ] as const) {
      congestion.held.hold(bytes)
      const dropReplayable = () => {
        dropped++
        drop()
      }
      congestion.add({ ...slow(), bufferedBytes: bytes.length, dropReplayable, giveUp: () => given++ })
    }
    congestion.relieve()
    expect({ dropped, given, left: congestion.held.bytes }).toEqual({ dropped: 1, given: 0, left: 400 })
    congestion.stop()
  })

  it('looks at each client once when nothing can be sent again', () => {
    const congestion = new Congestion(1_000, false)
    const buffer = Buffer.alloc(1_001)
    congestion.held.hold(buffer)
    let looks = 0
    const client = {
      ...slow(),
      get bufferedBytes() {
        looks++
        return buffer.length
      },
      dropReplayable: () => expect.unreachable(),
      giveUp: () => congestion.held.release(buffer),
    }
    congestion.add(client)
    congestion.relieve()
    expect({ looks, left: congestion.held.bytes }).toEqual({ looks: 1, left: 0 })
    congestion.stop()
  })

  it('counts a shared buffer once', () => {
    const congestion = new Congestion(1_000, false)
    const shared = Buffer.alloc(900)
    let given = 0
    for (let i = 0; i < 100; i++) {
      congestion.held.hold(shared)
      congestion.add({ ...slow(), bufferedBytes: 900, giveUp: () => given++ })
    }
    congestion.relieve()
    expect({ given, bytes: congestion.held.bytes }).toEqual({ given: 0, bytes: 900 })
    congestion.stop()
  })
})

describe('Congestion#stop', () => {
  it('stops the timer and judges no more clients', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    onTestFinished(() => {
      vi.useRealTimers()
    })
    const congestion = new Congestion(1_000, false)
    congestion.stop()
    let count = 0
    congestion.add(slow(() => ++count))
    congestion.stop()
    expect(vi.getTimerCount()).toBe(0)
    const other = slow()
    congestion.add(other)
    vi.advanceTimersByTime(JUDGE_MS)
    congestion.delete(other)
    vi.advanceTimersByTime(JUDGE_MS)
    expect({ count, timers: vi.getTimerCount() }).toEqual({ count: 0, timers: 0 })
  })
})
