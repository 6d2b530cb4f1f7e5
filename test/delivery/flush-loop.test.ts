import { Writable } from 'node:stream'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { Batch } from '../../src/delivery/batch.ts'
import { Delivery } from '../../src/delivery/delivery.ts'
import { type Flushable, FlushLoop } from '../../src/delivery/flush-loop.ts'
import { Outbox } from '../../src/delivery/outbox.ts'
import { turn } from '../support/hub-server.ts'

const outbox = (flush: () => void): Flushable => ({ flush, delayPassed: () => {} })

const realNow = performance.now.bind(performance) // also while a test has replaced the clock

/** Blocks the event loop; sixteen calls take longer than a flush may. */
function work(): void {
  const end = realNow() + 0.25
  while (realNow() < end);
}

describe('FlushLoop', () => {
  it('flushes outboxes in order after the I/O of the turn', async () => {
    const loop = new FlushLoop()
    const flushed: string[] = []
    for (const name of ['a', 'b', 'c']) loop.schedule(outbox(() => flushed.push(name)))
    await Promise.resolve()
    expect(flushed).toEqual([])
    await turn()
    expect(flushed).toEqual(['a', 'b', 'c'])
    await turn()
    expect(flushed).toEqual(['a', 'b', 'c'])
  })

  it('counts turns that flushed something, and begins each with an empty batch', async () => {
    const loop = new FlushLoop()
    const { root } = loop
    loop.schedule(outbox(() => {}))
    loop.schedule(outbox(() => {}))
    expect({ turn: loop.turn, isSame: loop.root === root }).toEqual({ turn: 0, isSame: true })
    await turn()
    expect({ turn: loop.turn, isSame: loop.root === root }).toEqual({ turn: 1, isSame: false })
    expect(loop.root).toEqual(new Batch())
    await turn()
    expect(loop.turn).toBe(1)
    loop.schedule(outbox(() => {}))
    await turn()
    expect(loop.turn).toBe(2)
  })

  it('flushes in the next turn what a flush schedules', async () => {
    const loop = new FlushLoop()
    const flushed: string[] = []
    loop.schedule(
      outbox(() => {
        flushed.push('first')
        loop.schedule(outbox(() => flushed.push('next')))
      }),
    )
    loop.schedule(outbox(() => flushed.push('second')))
    await turn()
    expect(flushed).toEqual(['first', 'second'])
    await turn()
    expect(flushed).toEqual(['first', 'second', 'next'])
  })

  it('yields to the event loop every 2 ms and keeps the order', async () => {
    const loop = new FlushLoop()
    const order: (number | string)[] = []
    const all = Array.from({ length: 40 }, (_, i) => i)
    for (const i of all) {
      loop.schedule(
        outbox(() => {
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

  it.each([
    [0.1, 32],
    [0.125, 16],
    [0, 50],
  ])('with flushes of %d ms each yields to the event loop after %d of them', async (ms, most) => {
    let now = 1_000
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now)
    onTestFinished(() => clock.mockRestore())
    const loop = new FlushLoop()
    let flushed = 0
    for (let i = 0; i < 50; i++) {
      loop.schedule(
        outbox(() => {
          now += ms
          flushed++
        }),
      )
    }
    await turn()
    expect(flushed).toBe(most)
    for (let i = 0; i < 3; i++) await turn()
    expect(flushed).toBe(50)
  })

  it('flushes outboxes that are scheduled between two slices last', async () => {
    const loop = new FlushLoop()
    const order: string[] = []
    const schedule = (name: string, then = () => {}) =>
      loop.schedule(
        outbox(() => {
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

  it('adds messages that are sent between two slices to the batches that wait', async () => {
    const delivery = new Delivery({
      maxBufferedBytes: 100,
      maxTotalBufferedBytes: 1_000,
      slowConsumer: 'close',
      writeDelayMs: 0,
      enableCompression: false,
    })
    const owner = { writable: true, overflow: () => {}, reportDrops: () => {}, resync: () => {} }
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
