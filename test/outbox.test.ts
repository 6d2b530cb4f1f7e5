import { Writable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { Delivery, type DropCount, type DropReason } from '../src/delivery.ts'
import { encodeMessage } from '../src/frame.ts'
import type { SendOptions } from '../src/message.ts'
import type { SlowConsumerPolicy } from '../src/options.ts'
import { Outbox } from '../src/outbox.ts'
import { turn } from './support/hub-server.ts'

/** A stream that finishes a write at once while it is open, and else when it is opened. */
class Valve extends Writable {
  readonly chunks: Buffer[] = []
  isOpen = true
  #held: (() => void) | undefined

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.chunks.push(chunk)
    if (this.isOpen) done()
    else this.#held = done
  }

  /** Finishes the write that is held. */
  step(): void {
    const held = this.#held
    this.#held = undefined
    held?.()
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString()
  }
}

function setUp(slowConsumer: SlowConsumerPolicy = 'close', maxBufferedBytes = 100, highWaterMark = 10) {
  const delivery = new Delivery({ maxBufferedBytes, slowConsumer })
  const valve = new Valve({ highWaterMark })
  const owner = {
    writable: true,
    overflows: 0,
    overflow: () => void owner.overflows++,
    drops: [] as [DropReason, DropCount][], // an empty array is inferred as never[]
    reportDrops: (drops: ReadonlyMap<DropReason, DropCount>) => void owner.drops.push(...drops),
  }
  const outbox = new Outbox(valve, delivery, owner)
  const send = (text: string, options?: SendOptions) => outbox.send(Buffer.from(text), options)
  const sendControl = (text: string) => outbox.sendControl(Buffer.from(text))
  /** Twenty bytes that the stream keeps: it is congested. */
  const congest = async () => {
    valve.isOpen = false
    send('-'.repeat(20))
    await turn()
  }
  const drain = async () => {
    valve.isOpen = true
    valve.step()
    await turn()
  }
  return { delivery, valve, owner, outbox, send, sendControl, congest, drain }
}

describe('Outbox', () => {
  describe('#send', () => {
    it('writes once a turn, in the order of the calls', async () => {
      const { valve, send } = setUp()
      for (const text of ['a', 'b', 'c']) expect(send(text)).toBe(true)
      expect(valve.chunks).toEqual([])
      await turn()
      expect(valve.chunks.map(String)).toEqual(['abc'])
      send('d')
      await turn()
      expect(valve.chunks.map(String)).toEqual(['abc', 'd'])
    })

    it('writes early what reaches 64 KiB', async () => {
      const { valve, send } = setUp('close', 1_000_000, 1_000_000)
      send('x'.repeat(65_535))
      expect(valve.chunks).toHaveLength(0)
      send('y')
      expect(valve.chunks.map(({ length }) => length)).toEqual([65_536])
      send('z')
      await turn()
      expect(valve.chunks.map(({ length }) => length)).toEqual([65_536, 1])
    })

    it('hands one buffer to all with the same frames, and one frame as it is', async () => {
      const { delivery } = setUp()
      const owner = { writable: true, overflow: () => {}, reportDrops: () => {} }
      const valves = [new Valve(), new Valve(), new Valve()]
      const [one, two, three] = valves.map((valve) => new Outbox(valve, delivery, owner))
      const hello = encodeMessage('hello')
      const world = encodeMessage('world')
      for (const outbox of [one, two]) outbox?.send(hello)
      for (const outbox of [one, two, three]) outbox?.send(world)
      await turn()
      expect(valves[0]?.chunks[0]).toBe(valves[1]?.chunks[0])
      expect(valves[0]?.chunks[0]?.equals(Buffer.concat([hello, world]))).toBe(true)
      expect(valves[2]?.chunks[0]).toBe(world)
    })

    it('keeps the orders of connections apart', async () => {
      const { delivery } = setUp()
      const owner = { writable: true, overflow: () => {}, reportDrops: () => {} }
      const valves = [new Valve(), new Valve()]
      const [one, two] = valves.map((valve) => new Outbox(valve, delivery, owner))
      const shared = Buffer.from('s')
      one?.send(shared)
      one?.send(Buffer.from('1'))
      two?.send(Buffer.from('2'))
      two?.send(shared)
      one?.send(shared)
      await turn()
      expect(valves.map(({ text }) => text)).toEqual(['s1s', '2s'])
    })

    it('holds frames behind a congested socket until it drains', async () => {
      const { valve, send, congest, drain } = setUp()
      await congest()
      for (const text of ['a', 'b', 'c']) expect(send(text)).toBe(true)
      await turn()
      expect(valve.chunks).toHaveLength(1)
      await drain()
      expect(valve.chunks.map(String).slice(1)).toEqual(['abc'])
      send('d')
      await turn()
      expect(valve.text.endsWith('abcd')).toBe(true)
    })

    it('drains in chunks of some 64 KiB, each when the one before it has gone', async () => {
      const { valve, send, congest } = setUp('close', 1_000_000)
      await congest()
      for (let i = 0; i < 4; i++) {
        send(String(i).repeat(30_000))
        await turn()
      }
      valve.step()
      await turn()
      expect(valve.chunks.map(({ length }) => length)).toEqual([20, 60_000])
      valve.step()
      await turn()
      expect(valve.chunks.map(({ length }) => length)).toEqual([20, 60_000, 60_000])
    })

    it('writes nothing for an owner that is not writable any more', async () => {
      const { valve, owner, send } = setUp()
      send('a')
      owner.writable = false
      await turn()
      expect(valve.chunks).toEqual([])
    })

    it('tells the owner when maxBufferedBytes are full under close', async () => {
      const { owner, send, congest } = setUp('close')
      await congest()
      send('y')
      await turn() // the turn that congested it is over
      expect(send('x'.repeat(100))).toBe(true)
      expect(owner.overflows).toBe(0)
      expect(send('x')).toBe(false)
      expect(owner.overflows).toBe(1)
    })

    it('drops the new frame under dropNewest', async () => {
      const { valve, owner, outbox, send, congest, drain } = setUp('dropNewest')
      await congest()
      expect([send('a'.repeat(79)), send('bb'), send('c'), send('d')]).toEqual([true, false, true, false])
      expect(outbox.bufferedBytes).toBe(100)
      await drain()
      expect(valve.text.slice(20)).toBe(`${'a'.repeat(79)}c`)
      expect(owner.overflows).toBe(0)
    })

    it('drops the oldest frames under dropOldest', async () => {
      const { valve, owner, outbox, send, congest, drain } = setUp('dropOldest')
      await congest()
      const texts = ['a'.repeat(40), 'b'.repeat(30), 'c'.repeat(20)]
      expect(texts.map((text) => send(text))).toEqual([true, true, true])
      expect(outbox.bufferedBytes).toBe(70)
      await drain()
      expect(valve.text.slice(20)).toBe('b'.repeat(30) + 'c'.repeat(20))
      expect(owner.overflows).toBe(0)
    })

    it('drops nothing under dropOldest for a frame that cannot fit at all', async () => {
      const { valve, send, congest, drain } = setUp('dropOldest')
      await congest()
      send('kept')
      expect(send('x'.repeat(101))).toBe(false)
      await drain()
      expect(valve.text.slice(20)).toBe('kept')
    })

    it.each(['close', 'dropNewest', 'dropOldest'] as const)(
      'never drops control frames under %s',
      async (policy) => {
        const { valve, owner, send, sendControl, congest, drain } = setUp(policy)
        await congest()
        send('x'.repeat(80))
        sendControl('P'.repeat(50))
        if (policy === 'dropOldest') for (let i = 0; i < 5; i++) send('y'.repeat(20))
        expect(owner.overflows).toBe(0)
        await drain()
        expect(valve.text).toContain('P'.repeat(50))
      },
    )
  })

  describe('#bufferedBytes', () => {
    it('is true to the byte', async () => {
      const { outbox, send, sendControl, congest, drain } = setUp()
      expect(outbox.bufferedBytes).toBe(0)
      send('abc')
      expect(outbox.bufferedBytes).toBe(3)
      await turn()
      expect(outbox.bufferedBytes).toBe(0)
      await congest()
      expect(outbox.bufferedBytes).toBe(20)
      send('abc')
      sendControl('ping')
      expect(outbox.bufferedBytes).toBe(27)
      await drain()
      expect(outbox.bufferedBytes).toBe(0)
    })
  })

  describe('#end', () => {
    it('comes at once, behind what the turn has queued', async () => {
      const { valve, outbox, send } = setUp()
      send('a')
      outbox.end(() => valve.write('.'))
      expect(valve.text).toBe('a.')
      await turn()
      expect(valve.text).toBe('a.')
    })

    it('waits for the backlog', async () => {
      const { valve, outbox, send, congest, drain } = setUp()
      await congest()
      send('a')
      outbox.end(() => valve.write('.'))
      expect(valve.chunks).toHaveLength(1)
      await drain()
      expect(valve.text.slice(20)).toBe('a.')
    })
  })

  describe('#clear', () => {
    it('forgets what was not written, and the end', async () => {
      const { valve, outbox, send, congest, drain } = setUp()
      let ended = false
      await congest()
      send('a')
      outbox.end(() => {
        ended = true
      })
      outbox.clear('closed')
      expect(outbox.bufferedBytes).toBe(20)
      await drain()
      expect({ ended, bytes: valve.text.length }).toEqual({ ended: false, bytes: 20 })
    })
  })
})
