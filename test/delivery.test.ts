import { Writable } from 'node:stream'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { Batch } from '../src/batch.ts'
import { Delivery, type Flushable } from '../src/delivery.ts'
import { Outbox } from '../src/outbox.ts'
import { turn } from './support/hub-server.ts'

const make = () => new Delivery({ maxBufferedBytes: 100, slowConsumer: 'close' })

/** What there is to flush, which tells that it was. */
const flushable = (flush: () => void, judge = () => false): Flushable => ({ flush, judge })

/** Keeps the event loop busy; sixteen of these are more than a flush may take of it at once. */
function work(): void {
  const end = performance.now() + 0.25
  while (performance.now() < end);
}

describe('Delivery', () => {
  it('takes the limit and the policy', () => {
    expect(make()).toMatchObject({ maxBufferedBytes: 100, slowConsumer: 'close' })
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

  describe('#watch', () => {
    function fakeTimers() {
      vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
      onTestFinished(() => {
        vi.useRealTimers()
      })
    }

    it('judges every 2 s, and for as long as it is told to', () => {
      fakeTimers()
      const delivery = make()
      const judged: string[] = []
      let goesOn = true
      const judge = (name: string) => () => {
        judged.push(name)
        return goesOn
      }
      const a = flushable(() => {}, judge('a'))
      delivery.watch(a)
      delivery.watch(a)
      vi.advanceTimersByTime(1_999)
      expect(judged).toEqual([])
      vi.advanceTimersByTime(1)
      expect(judged).toEqual(['a'])
      delivery.watch(flushable(() => {}, judge('b')))
      expect(vi.getTimerCount()).toBe(1)
      vi.advanceTimersByTime(2_000)
      expect(judged).toEqual(['a', 'a', 'b'])
      goesOn = false
      vi.advanceTimersByTime(2_000)
      expect(judged).toEqual(['a', 'a', 'b', 'a', 'b'])
      expect(vi.getTimerCount()).toBe(0)
    })

    it('stops to watch one, and goes on with the others', () => {
      fakeTimers()
      const delivery = make()
      const judged: string[] = []
      delivery.watch(
        flushable(
          () => {},
          () => judged.push('once') > 1,
        ),
      )
      delivery.watch(
        flushable(
          () => {},
          () => judged.push('on') > 0,
        ),
      )
      vi.advanceTimersByTime(4_000)
      expect(judged).toEqual(['once', 'on', 'on'])
      delivery.stop()
    })

    it('has no timer before, and one that does not keep the process alive', () => {
      const start = vi.spyOn(globalThis, 'setInterval')
      onTestFinished(() => start.mockRestore())
      const delivery = make()
      delivery.schedule(flushable(() => {}))
      expect(start).not.toHaveBeenCalled()
      delivery.watch(flushable(() => {}))
      expect(start.mock.results.map(({ value }) => value.hasRef())).toEqual([false])
      delivery.stop()
    })

    it('can begin again', () => {
      fakeTimers()
      const delivery = make()
      let count = 0
      const watched = flushable(
        () => {},
        () => {
          count++
          return false
        },
      )
      delivery.watch(watched)
      vi.advanceTimersByTime(10_000)
      delivery.watch(watched)
      vi.advanceTimersByTime(10_000)
      expect({ count, timers: vi.getTimerCount() }).toEqual({ count: 2, timers: 0 })
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
      delivery.watch(
        flushable(
          () => {},
          () => ++count > 0,
        ),
      )
      delivery.stop()
      expect(vi.getTimerCount()).toBe(0)
      delivery.watch(flushable(() => {}))
      vi.advanceTimersByTime(2_000)
      expect({ count, timers: vi.getTimerCount() }).toEqual({ count: 0, timers: 0 })
    })
  })
})
