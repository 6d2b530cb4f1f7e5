import { Writable } from 'node:stream'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { Batch } from '../../src/delivery/batch.ts'
import { Delivery, type Flushable, JUDGE_MS } from '../../src/delivery/flush-loop.ts'
import { Outbox } from '../../src/delivery/outbox.ts'
import { turn } from '../support/hub-server.ts'

const make = () =>
  new Delivery({ maxBufferedBytes: 100, maxTotalBufferedBytes: 1_000, slowConsumer: 'close' })

/** What there is to flush, which tells that it was. */
const flushable = (flush: () => void, judge = () => {}): Flushable => ({
  flush,
  judge,
  bufferedBytes: 0,
  giveUp: () => {},
})

/** A client that is slow, and that is asked about with its name. */
function slow(judge: () => void = () => {}): Flushable {
  return flushable(() => {}, judge)
}

/** Keeps the event loop busy; sixteen of these are more than a flush may take of it at once. */
function work(): void {
  const end = performance.now() + 0.25
  while (performance.now() < end);
}

describe('Delivery', () => {
  it('takes the limit and the policy', () => {
    expect(make()).toMatchObject({
      maxBufferedBytes: 100,
      maxTotalBufferedBytes: 1_000,
      slowConsumer: 'close',
    })
  })

  it('counts nothing as dropped to begin with, and each reason on its own', () => {
    const { dropped } = make()
    const none = { messages: 0, bytes: 0 }
    expect(dropped).toEqual({
      dropNewest: none,
      dropOldest: none,
      conflate: none,
      volatile: none,
      overflow: none,
      closed: none,
    })
    dropped.closed.messages++
    expect(Object.values(dropped).filter(({ messages }) => messages > 0)).toHaveLength(1)
    expect(make().dropped.closed.messages).toBe(0)
  })

  describe('#schedule', () => {
    it('flushes all in their order, when the turn has done its I/O', async () => {
      const delivery = make()
      const flushed: string[] = []
      for (const name of ['a', 'b', 'c']) delivery.schedule(flushable(() => flushed.push(name)))
      await Promise.resolve()
      expect(flushed).toEqual([])
      await turn()
      expect(flushed).toEqual(['a', 'b', 'c'])
      await turn()
      expect(flushed).toEqual(['a', 'b', 'c'])
    })

    it('counts the turns that flushed something, each with an empty batch of its own', async () => {
      const delivery = make()
      const { root } = delivery
      delivery.schedule(flushable(() => {}))
      delivery.schedule(flushable(() => {}))
      expect({ turn: delivery.turn, isSame: delivery.root === root }).toEqual({ turn: 0, isSame: true })
      await turn()
      expect({ turn: delivery.turn, isSame: delivery.root === root }).toEqual({ turn: 1, isSame: false })
      expect(delivery.root).toEqual(new Batch())
      await turn()
      expect(delivery.turn).toBe(1)
      delivery.schedule(flushable(() => {}))
      await turn()
      expect(delivery.turn).toBe(2)
    })

    it('leaves to the next turn what a flush schedules', async () => {
      const delivery = make()
      const flushed: string[] = []
      delivery.schedule(
        flushable(() => {
          flushed.push('first')
          delivery.schedule(flushable(() => flushed.push('next')))
        }),
      )
      delivery.schedule(flushable(() => flushed.push('second')))
      await turn()
      expect(flushed).toEqual(['first', 'second'])
      await turn()
      expect(flushed).toEqual(['first', 'second', 'next'])
    })

    it('yields to the event loop every 2 ms, and keeps the order', async () => {
      const delivery = make()
      const order: (number | string)[] = []
      const all = Array.from({ length: 40 }, (_, i) => i)
      for (const i of all) {
        delivery.schedule(
          flushable(() => {
            work()
            order.push(i)
          }),
        )
      }
      const turns = [16, 32, 40]
      for (const flushed of turns) {
        await turn()
        expect(order.filter((entry) => typeof entry === 'number')).toHaveLength(flushed)
        setTimeout(() => order.push(`timer after ${flushed}`))
        work()
        work()
        work()
        work()
        work() // the timer's millisecond is over
      }
      await turn()
      expect(order).toEqual([
        ...all.slice(0, 16),
        'timer after 16',
        ...all.slice(16, 32),
        'timer after 32',
        ...all.slice(32),
        'timer after 40',
      ])
    })

    it('puts what is scheduled between two slices behind what waits', async () => {
      const delivery = make()
      const order: string[] = []
      const schedule = (name: string, then = () => {}) =>
        delivery.schedule(
          flushable(() => {
            work()
            order.push(name)
            then()
          }),
        )
      schedule('first', () => schedule('again'))
      for (let i = 0; i < 31; i++) schedule('early')
      await turn()
      expect(order).toHaveLength(16)
      schedule('late')
      await turn()
      await turn()
      expect(order).toEqual(['first', ...Array<string>(31).fill('early'), 'again', 'late'])
    })

    it('has what is sent between two slices join the batches that still wait', async () => {
      const delivery = make()
      const owner = { writable: true, overflow: () => {}, reportDrops: () => {} }
      const writes = Array.from({ length: 32 }, (): string[] => [])
      const outboxes = writes.map((texts) => {
        const socket = new Writable({
          write(chunk, _encoding, done) {
            work()
            texts.push(String(chunk))
            done()
          },
        })
        return new Outbox(socket, delivery, owner)
      })
      const [first, second] = [Buffer.from('1'), Buffer.from('2')]
      for (const outbox of outboxes) outbox.send(first)
      await turn()
      expect(writes.flat()).toHaveLength(16)
      for (const outbox of outboxes) outbox.send(second)
      for (let i = 0; i < 4; i++) await turn()
      expect(writes).toEqual([...Array(16).fill(['1', '2']), ...Array(16).fill(['12'])])
    })
  })

  describe('#congested', () => {
    function fakeTimers() {
      vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
      onTestFinished(() => {
        vi.useRealTimers()
      })
    }

    it('has a client judged every 30 s until it is uncongested', () => {
      fakeTimers()
      const delivery = make()
      const judged: string[] = []
      const a = slow(() => judged.push('a'))
      const b = slow(() => judged.push('b'))
      delivery.congested(a)
      delivery.congested(a)
      vi.advanceTimersByTime(29_999)
      expect(judged).toEqual([])
      vi.advanceTimersByTime(1)
      expect(judged).toEqual(['a'])
      delivery.congested(b)
      expect(vi.getTimerCount()).toBe(1)
      vi.advanceTimersByTime(JUDGE_MS)
      expect(judged).toEqual(['a', 'a', 'b'])
      delivery.uncongested(a)
      vi.advanceTimersByTime(JUDGE_MS)
      expect(judged).toEqual(['a', 'a', 'b', 'b'])
      delivery.uncongested(b)
      vi.advanceTimersByTime(JUDGE_MS)
      expect({ judged, timers: vi.getTimerCount() }).toEqual({ judged: ['a', 'a', 'b', 'b'], timers: 0 })
    })

    it('has no timer before, and one that does not keep the process alive', () => {
      const start = vi.spyOn(globalThis, 'setInterval')
      onTestFinished(() => start.mockRestore())
      const delivery = make()
      delivery.schedule(slow())
      expect(start).not.toHaveBeenCalled()
      delivery.congested(slow())
      expect(start.mock.results.map(({ value }) => value.hasRef())).toEqual([false])
      delivery.stop()
    })

    it('can begin again', () => {
      fakeTimers()
      const delivery = make()
      let count = 0
      const client = slow(() => {
        count++
        delivery.uncongested(client)
      })
      for (let i = 0; i < 2; i++) {
        delivery.congested(client)
        vi.advanceTimersByTime(3 * JUDGE_MS)
      }
      expect({ count, timers: vi.getTimerCount() }).toEqual({ count: 2, timers: 0 })
    })
  })

  describe('#relieve', () => {
    /** Clients with so much waiting, a buffer each, in a hub that takes 1,000 bytes. */
    function waiting(...sizes: readonly number[]) {
      const delivery = make()
      const given: number[] = []
      for (const [place, size] of sizes.entries()) {
        const buffer = Buffer.alloc(size)
        delivery.held.hold(buffer)
        const client = {
          ...slow(),
          bufferedBytes: size,
          giveUp() {
            given.push(place)
            delivery.held.release(buffer)
            delivery.uncongested(client)
          },
        }
        delivery.congested(client)
      }
      delivery.relieve()
      delivery.stop()
      return { given, left: delivery.held.bytes }
    }

    it('gives nobody up while all together have no more than maxTotalBufferedBytes', () => {
      expect(waiting(400, 600)).toEqual({ given: [], left: 1_000 })
    })

    it('gives up those with the most waiting, until an eighth is free', () => {
      expect(waiting(100, 300, 250, 351)).toEqual({ given: [3], left: 650 })
      expect(waiting(500, 510, 400, 300, 5)).toEqual({ given: [1, 0], left: 705 })
      expect(waiting(120, 100, 100, 100, 100, 100, 100, 100, 100, 100)).toEqual({ given: [0, 1], left: 800 })
    })

    it('counts what is shared once', () => {
      const delivery = make()
      const shared = Buffer.alloc(900)
      let given = 0
      for (let i = 0; i < 100; i++) {
        delivery.held.hold(shared)
        delivery.congested({ ...slow(), bufferedBytes: 900, giveUp: () => given++ })
      }
      delivery.relieve()
      expect({ given, bytes: delivery.held.bytes }).toEqual({ given: 0, bytes: 900 })
      delivery.stop()
    })
  })

  describe('#stop', () => {
    it('leaves no timer and judges nobody any more', () => {
      vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
      onTestFinished(() => {
        vi.useRealTimers()
      })
      const delivery = make()
      delivery.stop()
      let count = 0
      delivery.congested(slow(() => ++count))
      delivery.stop()
      expect(vi.getTimerCount()).toBe(0)
      const other = slow()
      delivery.congested(other)
      vi.advanceTimersByTime(JUDGE_MS)
      delivery.uncongested(other)
      vi.advanceTimersByTime(JUDGE_MS)
      expect({ count, timers: vi.getTimerCount() }).toEqual({ count: 0, timers: 0 })
    })
  })
})
