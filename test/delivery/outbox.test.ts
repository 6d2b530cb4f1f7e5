import { Writable } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { Origin } from '../../src/delivery/backlog.ts'
import { JUDGE_MS } from '../../src/delivery/congestion.ts'
import { Delivery } from '../../src/delivery/delivery.ts'
import type { SlowConsumerPolicy } from '../../src/delivery/delivery-options.ts'
import type { DropCount, DropReason } from '../../src/delivery/drop-count.ts'
import { Outbox } from '../../src/delivery/outbox.ts'
import type { SendOptions } from '../../src/protocol/message.ts'
import { encodeMessage } from '../../src/protocol/message-frame.ts'
import { turn } from '../support/hub-server.ts'

/** A stream that finishes writes at once while it is open, and otherwise when it is opened. */
class Valve extends Writable {
  readonly chunks: Buffer[] = []
  isOpen = true
  #held: (() => void) | undefined

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.chunks.push(chunk)
    if (this.isOpen) done()
    else this.#held = done
  }

  /** Finishes the pending write. */
  step(): void {
    const held = this.#held
    this.#held = undefined
    held?.()
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString()
  }
}

function setUp(
  slowConsumer: SlowConsumerPolicy = 'close',
  maxBufferedBytes = 100,
  highWaterMark = 10,
  maxTotalBufferedBytes = 10_000_000,
) {
  const delivery = new Delivery({
    maxBufferedBytes,
    maxTotalBufferedBytes,
    slowConsumer,
    writeDelayMs: 0,
    enableCompression: false,
  })
  const valve = new Valve({ highWaterMark })
  const owner = {
    writable: true,
    overflows: 0,
    of: undefined as 'client' | 'hub' | undefined, // undefined alone would be its type
    overflow: (of: 'client' | 'hub') => {
      owner.overflows++
      owner.of = of
    },
    reports: [] as [DropReason, DropCount][][], // an empty array is inferred as never[]
    reportDrops: (drops: ReadonlyMap<DropReason, DropCount>) => void owner.reports.push([...drops]),
    resynced: [] as Origin[], // likewise
    resync: (firsts: Iterable<Origin>) => void owner.resynced.push(...firsts),
  }
  const outbox = new Outbox(valve, delivery, owner)
  const send = (text: string, options?: SendOptions, origin?: Origin) =>
    outbox.send(Buffer.from(text), options, origin)
  const sendControl = (text: string) => outbox.sendControl(Buffer.from(text))
  /** Congests the stream with twenty bytes. */
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
  /** Congests the socket with 64 KiB within this turn, as a loop of broadcasts does. */
  const burst = (bytes: number) => {
    valve.isOpen = false
    send('-'.repeat(65_536))
    for (let left = bytes - 65_536; left > 0; left -= 1_000) send('b'.repeat(Math.min(left, 1_000)))
    expect({ buffered: outbox.bufferedBytes, overflows: owner.overflows }).toEqual({
      buffered: bytes,
      overflows: 0,
    })
  }
  return { delivery, valve, owner, outbox, send, sendControl, congest, drain, burst }
}

describe('Outbox', () => {
  describe('#send', () => {
    it('writes once per turn, in the order of the calls', async () => {
      const { valve, send } = setUp()
      for (const text of ['a', 'b', 'c']) expect(send(text)).toBe(true)
      expect(valve.chunks).toEqual([])
      await turn()
      expect(valve.chunks.map(String)).toEqual(['abc'])
      send('d')
      await turn()
      expect(valve.chunks.map(String)).toEqual(['abc', 'd'])
    })

    it('waits with one listener, however often the socket is congested and the frames are dropped', async () => {
      const { valve, outbox, send, congest, drain } = setUp('close', 1_000_000)
      for (let times = 0; times < 12; times++) {
        await congest()
        send('waits')
        await turn()
        outbox.clear('overflow')
      }
      expect(valve.listenerCount('drain')).toBe(1)
      await congest()
      send('last')
      await drain()
      expect(valve.text.endsWith('last')).toBe(true)
    })

    it('writes a batch of 64 KiB before the turn ends', async () => {
      const { valve, send } = setUp('close', 1_000_000, 1_000_000)
      send('x'.repeat(65_535))
      expect(valve.chunks).toHaveLength(0)
      send('y')
      expect(valve.chunks.map(({ length }) => length)).toEqual([65_536])
      send('z')
      await turn()
      expect(valve.chunks.map(({ length }) => length)).toEqual([65_536, 1])
    })

    it('writes one buffer to all sockets with the same frames, and a single frame without a copy', async () => {
      const { delivery } = setUp()
      const owner = { writable: true, overflow: () => {}, reportDrops: () => {}, resync: () => {} }
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

    it('keeps the order of each connection', async () => {
      const { delivery } = setUp()
      const owner = { writable: true, overflow: () => {}, reportDrops: () => {}, resync: () => {} }
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

    it('drains in chunks of about 64 KiB, one after another', async () => {
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

    it('writes nothing for an owner that is no longer writable', async () => {
      const { valve, owner, send } = setUp()
      send('a')
      owner.writable = false
      await turn()
      expect(valve.chunks).toEqual([])
    })

    it('closes the client at maxBufferedBytes with the policy close', async () => {
      const { owner, send, congest } = setUp('close')
      await congest()
      send('y')
      await turn() // the turn that congested it is over
      expect(send('x'.repeat(100))).toBe(true)
      expect(owner.overflows).toBe(0)
      expect(send('x')).toBe(false)
      expect(owner.overflows).toBe(1)
    })

    it('drops the new frame with the policy dropNewest', async () => {
      const { valve, owner, outbox, send, congest, drain } = setUp('dropNewest')
      await congest()
      expect([send('a'.repeat(79)), send('bb'), send('c'), send('d')]).toEqual([true, false, true, false])
      expect(outbox.bufferedBytes).toBe(100)
      await drain()
      expect(valve.text.slice(20)).toBe(`${'a'.repeat(79)}c`)
      expect(owner.overflows).toBe(0)
    })

    it('drops the oldest frames with the policy dropOldest', async () => {
      const { valve, owner, outbox, send, congest, drain } = setUp('dropOldest')
      await congest()
      const texts = ['a'.repeat(40), 'b'.repeat(30), 'c'.repeat(20)]
      expect(texts.map((text) => send(text))).toEqual([true, true, true])
      expect(outbox.bufferedBytes).toBe(70)
      await drain()
      expect(valve.text.slice(20)).toBe('b'.repeat(30) + 'c'.repeat(20))
      expect(owner.overflows).toBe(0)
    })

    it('drops no older frame with dropOldest for a frame that can never fit', async () => {
      const { valve, send, congest, drain } = setUp('dropOldest')
      await congest()
      send('kept')
      expect(send('x'.repeat(101))).toBe(false)
      await drain()
      expect(valve.text.slice(20)).toBe('kept')
    })

    it.each(['close', 'dropNewest', 'dropOldest'] as const)(
      'never drops control frames with the policy %s',
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

    it('accepts control frames above maxBufferedBytes, and closes the client above 64 KiB of them', async () => {
      const { valve, owner, outbox, sendControl, congest } = setUp('dropNewest')
      await congest()
      const ping = 'P'.repeat(128)
      for (let i = 0; i < 512; i++) sendControl(ping)
      expect({ buffered: outbox.bufferedBytes, overflows: owner.overflows }).toEqual({
        buffered: 20 + 65_536,
        overflows: 0,
      })
      sendControl('P')
      expect(owner.overflows).toBe(1)
      expect(valve.chunks).toHaveLength(1)
    })

    it('keeps the order of control frames and messages', async () => {
      const { valve, send, sendControl, congest, drain } = setUp()
      send('1')
      sendControl('P')
      send('2')
      await turn()
      expect(valve.text).toBe('1P2')
      await congest()
      for (const text of ['3', '4']) send(text)
      sendControl('P')
      send('5')
      await turn()
      sendControl('P')
      send('6')
      await drain()
      expect(valve.text.slice(23)).toBe('34P5P6')
    })
  })

  describe('a burst', () => {
    it.each(['close', 'conflate'] as const)(
      'is exempt in the turn that congested the socket, up to maxTotalBufferedBytes, with %s',
      async (policy) => {
        const { delivery, valve, owner, outbox, send, burst, drain } = setUp(policy, 1_000)
        burst(9_900_000)
        expect(delivery.congestion.held.bytes).toBeGreaterThan(9_800_000)
        await drain()
        expect(valve.text).toBe('-'.repeat(65_536) + 'b'.repeat(9_900_000 - 65_536))
        expect(delivery.congestion.held.bytes).toBe(0)
        valve.isOpen = false
        for (let i = 0; i < 10_500 && owner.overflows === 0; i++) send('b'.repeat(1_000))
        expect({
          of: owner.of,
          buffered: outbox.bufferedBytes,
          held: delivery.congestion.held.bytes,
        }).toEqual({
          of: 'hub',
          buffered: valve.writableLength,
          held: 0,
        })
        delivery.stop()
      },
    )

    it.each(['dropNewest', 'dropOldest'] as const)('is not exempt with the policy %s', (policy) => {
      const { valve, outbox, send } = setUp(policy, 100_000)
      valve.isOpen = false
      send('-'.repeat(65_536))
      for (let i = 0; i < 100; i++) send('b'.repeat(1_000))
      expect(outbox.bufferedBytes).toBe(65_536 + 34_000)
    })

    it.each(['close', 'conflate'] as const)(
      'leaves the whole limit to later messages, with %s',
      async (policy) => {
        const { delivery, owner, send, burst } = setUp(policy, 1_000)
        burst(100_000)
        await turn()
        expect(send('y'.repeat(600))).toBe(true)
        await turn()
        expect(send('y'.repeat(400))).toBe(true)
        expect(owner.overflows).toBe(0)
        expect(send('z')).toBe(false)
        expect(owner.overflows).toBe(1)
        delivery.stop()
      },
    )

    it.each(['close', 'conflate'] as const)(
      'may grow by maxBufferedBytes above its lowest size since, with %s',
      async (policy) => {
        const { delivery, valve, owner, outbox, send, burst } = setUp(policy, 1_000)
        burst(100_000)
        await turn()
        expect(send('y'.repeat(600))).toBe(true)
        valve.step() // the first 64 KiB were written
        await turn()
        expect(outbox.bufferedBytes).toBe(100_600 - 65_536)
        expect(send('y'.repeat(1_000))).toBe(true) // the backlog may grow by that much
        expect(send('z')).toBe(false)
        expect(owner.overflows).toBe(1)
        delivery.stop()
      },
    )

    it('no longer counts when the client has read it', async () => {
      const { delivery, valve, owner, outbox, send, burst, drain } = setUp('close', 1_000)
      burst(100_000)
      await turn()
      await drain()
      expect(outbox.bufferedBytes).toBe(0)
      outbox.judge()
      expect(outbox.takenBytes).toBe(0)
      valve.isOpen = false
      send('-'.repeat(20))
      await turn()
      send('y')
      await turn()
      expect(send('y'.repeat(1_000))).toBe(true)
      expect(owner.overflows).toBe(0)
      expect(send('z')).toBe(false)
      expect(owner.overflows).toBe(1)
      delivery.stop()
    })

    it('counts replaced messages as neither read nor waiting', async () => {
      const { delivery, owner, outbox, send, burst } = setUp('conflate', 1_000)
      burst(100_000)
      for (let i = 0; i < 500; i++) {
        await turn()
        expect(send(String(i).padEnd(400), { key: 'k' })).toBe(true)
      }
      expect({ buffered: outbox.bufferedBytes, overflows: owner.overflows }).toEqual({
        buffered: 100_400,
        overflows: 0,
      })
      outbox.judge()
      expect(owner.overflows).toBe(0)
      outbox.judge() // it has read nothing
      expect(owner.overflows).toBe(1)
      delivery.stop()
    })

    it('shrinks when its messages are replaced', async () => {
      const { delivery, owner, outbox, send, burst } = setUp('conflate', 1_000)
      burst(100_000)
      send('k'.repeat(20_000), { key: 'k' })
      await turn()
      expect(send('k'.repeat(600), { key: 'k' })).toBe(true)
      expect(outbox.bufferedBytes).toBe(100_600)
      expect(send('x'.repeat(400))).toBe(true)
      expect(owner.overflows).toBe(0)
      expect(send('x')).toBe(false)
      expect(owner.overflows).toBe(1)
      delivery.stop()
    })

    it('closes the client within a minute when it reads nothing', async () => {
      vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
      onTestFinished(() => {
        vi.useRealTimers()
      })
      const { owner, outbox, burst } = setUp('close', 1_000)
      burst(100_000)
      await turn()
      vi.advanceTimersByTime(2 * JUDGE_MS - 1)
      expect(owner.overflows).toBe(0)
      vi.advanceTimersByTime(1)
      expect({ overflows: owner.overflows, of: owner.of }).toEqual({ overflows: 1, of: 'client' })
      outbox.clear('overflow')
      vi.advanceTimersByTime(JUDGE_MS)
      expect(vi.getTimerCount()).toBe(0)
    })

    it('may wait for any time within the limit', async () => {
      vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
      onTestFinished(() => {
        vi.useRealTimers()
      })
      const { owner, burst } = setUp('close', 100_000)
      burst(100_000)
      await turn()
      vi.advanceTimersByTime(10 * JUDGE_MS)
      expect(owner.overflows).toBe(0)
    })

    it('is delivered, 5 MB of it, although the kernel reports 500 kB every 29 s, also beside a steady stream', async () => {
      vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
      onTestFinished(() => {
        vi.useRealTimers()
      })
      const { valve, owner, outbox, send, burst } = setUp('close', 1_000_000)
      burst(5_000_000)
      await turn()
      const waited: number[] = []
      while (waited.length < 50 && outbox.bufferedBytes > 1_000_000) {
        for (let i = 0; i < 29; i++) {
          vi.advanceTimersByTime(1_000)
          send('s'.repeat(10_000))
          await turn()
        }
        for (const taken = valve.chunks.length + 8; valve.chunks.length < taken; ) {
          valve.step()
          await turn()
        }
        waited.push(outbox.bufferedBytes)
      }
      expect(owner.overflows).toBe(0)
      expect(waited.at(-1)).toBeLessThanOrEqual(1_000_000)
      expect(waited.length).toBeGreaterThan(15)
    })

    it('is not exempt when the waiting bytes grow by more than maxBufferedBytes, however much is read', async () => {
      const { delivery, valve, owner, send, burst } = setUp('close', 200_000)
      burst(1_000_000)
      await turn()
      let sent = 0
      while (owner.overflows === 0 && sent < 100) {
        send('s'.repeat(100_000)) // and some 64 KiB are read
        sent++
        await turn()
        valve.step()
        await turn()
      }
      expect({ overflows: owner.overflows, of: owner.of }).toEqual({ overflows: 1, of: 'client' })
      expect(sent).toBeGreaterThan(3)
      expect(sent).toBeLessThan(12)
      delivery.stop()
    })
  })

  describe('#judge', () => {
    it('keeps a client that reads 64 KiB between two calls, and forgets it within its limit', async () => {
      const { delivery, valve, owner, outbox, burst } = setUp('close', 5_000)
      burst(600_000)
      await turn()
      let looks = 0
      for (; outbox.bufferedBytes > 5_000; looks++) {
        outbox.judge()
        valve.step()
        await turn()
      }
      for (let i = 0; i < 3; i++) outbox.judge()
      expect(looks).toBeGreaterThan(5)
      expect(owner.overflows).toBe(0)
      delivery.stop()
    })

    it('closes a client that reads less', async () => {
      const { delivery, valve, owner, outbox, send, burst } = setUp('conflate', 5_000)
      burst(65_536)
      for (let i = 0; i < 4; i++) send('b'.repeat(40_000))
      await turn()
      outbox.judge()
      valve.step() // 65,536 bytes
      await turn()
      outbox.judge()
      valve.step() // 40,000
      await turn()
      expect(owner.overflows).toBe(0)
      outbox.judge()
      expect(owner.overflows).toBe(1)
      delivery.stop()
    })
  })

  describe('conflate', () => {
    it('keeps the latest message of each key, in the order of the calls', async () => {
      const { valve, owner, send, congest, drain } = setUp('conflate')
      await congest()
      send('a1', { key: 'a' })
      send('b1', { key: 'b' })
      send('plain')
      send('a2', { key: 'a' })
      await turn()
      send('c1', { key: 'c' })
      send('b2', { key: 'b' })
      await drain()
      expect(valve.text.slice(20)).toBe('plaina2c1b2')
      expect(owner.overflows).toBe(0)
    })

    it('replaces no message while the socket is not congested', async () => {
      const { valve, send } = setUp('conflate')
      for (const text of ['1', '2']) expect(send(text, { key: 'k' })).toBe(true)
      await turn()
      send('3', { key: 'k' })
      await turn()
      expect(valve.text).toBe('123')
    })

    it('replaces no message that was written to the socket', async () => {
      const { valve, send, congest, drain } = setUp('conflate')
      valve.isOpen = false
      send('1'.repeat(20), { key: 'k' })
      await turn()
      send('2', { key: 'k' })
      await drain()
      expect(valve.text).toBe(`${'1'.repeat(20)}2`)
      await congest()
      await drain()
    })

    it('makes room by replacing, and closes the client if that is not enough', async () => {
      const { owner, outbox, send, congest } = setUp('conflate')
      await congest()
      send('y', { key: 'y' })
      await turn() // the turn that congested it is over
      for (let i = 0; i < 100; i++) expect(send('k'.repeat(100), { key: 'k' })).toBe(true)
      expect(outbox.bufferedBytes).toBe(21 + 100)
      expect(owner.overflows).toBe(0)
      expect(send('x')).toBe(false)
      expect(owner.overflows).toBe(1)
    })

    it.each(['close', 'dropNewest', 'dropOldest'] as const)(
      'does not happen with the policy %s',
      async (policy) => {
        const { valve, send, congest, drain } = setUp(policy)
        await congest()
        for (const text of ['1', '2', '3']) expect(send(text, { key: 'k' })).toBe(true)
        await drain()
        expect(valve.text.slice(20)).toBe('123')
      },
    )

    it('keeps messages without a key and the last of each key, for any sequence', async () => {
      const keys = fc.array(fc.constantFrom(undefined, 'a', 'b', 'c'), { maxLength: 50, size: 'max' })
      await fc.assert(
        fc.asyncProperty(keys, async (sequence) => {
          const { valve, outbox, send, congest, drain } = setUp('conflate', 10_000)
          await congest()
          for (const [i, key] of sequence.entries()) send(`${i};`, { key })
          const kept = sequence
            .map((key, i) => (key === undefined || sequence.lastIndexOf(key) === i ? `${i};` : ''))
            .join('')
          expect(outbox.bufferedBytes).toBe(20 + kept.length)
          await drain()
          expect(valve.text.slice(20)).toBe(kept)
        }),
      )
    })
  })

  describe('resync', () => {
    const [one, two] = [{}, {}]
    const origins = (log: object) => [1, 2, 3].map((n) => ({ log, n }))

    it('drops the messages that can be read again, and tells the first of each log', async () => {
      const { delivery, owner, send, valve, congest, drain } = setUp('resync')
      const [ofOne, ofTwo] = [origins(one), origins(two)]
      await congest()
      for (const [index, origin] of ofOne.entries()) {
        expect(send(`(one ${index})`, undefined, origin)).toBe(true)
        expect(send(`(two ${index})`, undefined, ofTwo[index])).toBe(true)
        expect(send(`${index}`)).toBe(true)
      }
      expect(send('x'.repeat(60))).toBe(true)
      expect(owner.resynced).toEqual([ofOne[0], ofTwo[0]])
      expect(owner.overflows).toBe(0)
      await drain()
      expect(valve.text).toBe(`${'-'.repeat(20)}012${'x'.repeat(60)}`)
      expect(delivery.dropped.resync).toEqual({ messages: 6, bytes: 42 })
    })

    it('drops the message that is too much, too, if it can be read again', async () => {
      const { owner, send, outbox, congest } = setUp('resync')
      const [first, second] = origins(one)
      await congest()
      expect(send('x'.repeat(50), undefined, first)).toBe(true)
      expect(send('y'.repeat(50), undefined, second)).toBe(false)
      expect(owner.resynced).toEqual([first])
      expect(outbox.bufferedBytes).toBe(20)
    })

    it('does not accept the message that is too much for all clients, if it can be read again', async () => {
      const { owner, send, outbox, congest } = setUp('resync', 1_000_000, 10, 100)
      const [first, second, third] = origins(one)
      await congest()
      expect(send('x'.repeat(40), undefined, first)).toBe(true)
      expect(send('y'.repeat(50), undefined, second)).toBe(false)
      expect({ resynced: owner.resynced, waiting: outbox.bufferedBytes }).toEqual({
        resynced: [first],
        waiting: 20,
      })
      expect(send('z'.repeat(40), undefined, third)).toBe(true)
    })

    it('gives the client up when too much else waits', async () => {
      const { owner, send, congest } = setUp('resync')
      await congest()
      send('x'.repeat(80))
      await turn()
      for (let count = 0; count < 30; count++) send('z'.repeat(20))
      expect(owner.overflows).toBeGreaterThan(0)
      expect(owner.resynced).toEqual([])
    })
  })

  it.each(['close', 'dropNewest', 'dropOldest', 'conflate', 'resync'] as const)(
    'does not accept the message with which it is given up for the others, with %s',
    async (policy) => {
      const { owner, send, outbox, congest } = setUp(policy, 1_000_000, 10, 100_000)
      await congest()
      expect(send('x'.repeat(60_000))).toBe(true)
      expect(send('y'.repeat(60_000))).toBe(false)
      expect({ of: owner.of, waiting: outbox.bufferedBytes }).toEqual({ of: 'hub', waiting: 20 })
    },
  )

  describe('#awaitRoom', () => {
    it('calls at the end of the turn while the socket is not congested', async () => {
      const { outbox, send } = setUp()
      send('a')
      let calls = 0
      outbox.awaitRoom(() => calls++)
      expect(calls).toBe(0)
      await turn()
      await turn()
      expect(calls).toBe(1)
    })

    it('calls when a congested socket drains, once', async () => {
      const { outbox, send, congest, drain } = setUp()
      await congest()
      send('a')
      let calls = 0
      outbox.awaitRoom(() => calls++)
      await turn()
      expect(calls).toBe(0)
      await drain()
      await drain()
      expect(calls).toBe(1)
    })

    it('never calls for a connection that is closed', async () => {
      const { outbox, congest, drain } = setUp()
      await congest()
      let calls = 0
      outbox.awaitRoom(() => calls++)
      outbox.clear('closed')
      await drain()
      expect(calls).toBe(0)
    })
  })

  describe('#hasRoomFor', () => {
    it('leaves half of the limit to live messages', async () => {
      const { outbox, send, congest } = setUp()
      expect(outbox.hasRoomFor(1_000)).toBe(true) // nothing waits: it has to be sent somehow
      await congest()
      send('x'.repeat(20))
      expect([outbox.hasRoomFor(10), outbox.hasRoomFor(11)]).toEqual([true, false])
    })
  })

  describe('a volatile message', () => {
    it.each(['close', 'dropNewest', 'dropOldest', 'conflate'] as const)(
      'is dropped only while the socket is congested, with %s',
      async (policy) => {
        const { valve, owner, outbox, send, congest, drain } = setUp(policy)
        expect(send('1', { volatile: true })).toBe(true)
        await congest()
        expect(send('2', { volatile: true })).toBe(false)
        expect(send('3', { volatile: false })).toBe(true)
        expect(outbox.bufferedBytes).toBe(21 + 1)
        await drain()
        expect(send('4', { volatile: true })).toBe(true)
        await turn()
        expect(valve.text).toBe(`1${'-'.repeat(20)}34`)
        expect(owner.reports).toEqual([[['volatile', { messages: 1, bytes: 1 }]]])
      },
    )

    it('replaces no message when it is dropped', async () => {
      const { valve, send, congest, drain } = setUp('conflate')
      await congest()
      send('1', { key: 'k' })
      expect(send('2', { key: 'k', volatile: true })).toBe(false)
      await drain()
      expect(valve.text.slice(20)).toBe('1')
    })
  })

  describe('the drops', () => {
    it('are reported once, at the end of the turn, by reason', async () => {
      const { delivery, owner, send, congest } = setUp('dropNewest')
      await congest()
      send('x'.repeat(80))
      for (const text of ['a', 'bb', 'ccc']) send(text)
      for (const text of ['dddd', 'eeeee']) send(text, { volatile: true })
      expect(owner.reports).toEqual([])
      const first = [
        ['dropNewest', { messages: 3, bytes: 6 }],
        ['volatile', { messages: 2, bytes: 9 }],
      ]
      await turn()
      expect(owner.reports).toEqual([first])
      await turn()
      send('f')
      await turn()
      expect(owner.reports).toEqual([first, [['dropNewest', { messages: 1, bytes: 1 }]]])
      expect(delivery.dropped).toMatchObject({
        dropNewest: { messages: 4, bytes: 7 },
        volatile: { messages: 2, bytes: 9 },
        overflow: { messages: 0, bytes: 0 },
      })
    })

    it('are the messages that dropOldest removed, or the new one if that makes no room', async () => {
      const { owner, send, congest } = setUp('dropOldest')
      await congest()
      for (const text of ['a', 'bb', 'ccc'].map((text) => text.padEnd(20))) send(text)
      expect(send('x'.repeat(60))).toBe(true)
      await turn()
      expect(owner.reports).toEqual([[['dropOldest', { messages: 2, bytes: 40 }]]])
      expect(send('x'.repeat(81))).toBe(false)
      await turn()
      expect(owner.reports.slice(1)).toEqual([[['dropOldest', { messages: 1, bytes: 81 }]]])
    })

    it('are no waiting messages when control frames leave no room for a new one', async () => {
      const { valve, owner, send, sendControl, congest, drain } = setUp('dropOldest')
      await congest()
      sendControl('P'.repeat(50))
      send('kept')
      expect(send('x'.repeat(40))).toBe(false)
      await turn()
      expect(owner.reports).toEqual([[['dropOldest', { messages: 1, bytes: 40 }]]])
      await drain()
      expect(valve.text.slice(20)).toBe(`${'P'.repeat(50)}kept`)
    })

    it('are the messages that later ones replaced', async () => {
      const { owner, send, congest } = setUp('conflate')
      await congest()
      for (const text of ['1', '22', '333']) send(text, { key: 'k' })
      send('plain')
      await turn()
      expect(owner.reports).toEqual([[['conflate', { messages: 2, bytes: 3 }]]])
    })

    it('are the message for which the client was closed, and all that waited', async () => {
      const { delivery, owner, outbox, send, sendControl, congest } = setUp('close')
      owner.overflow = () => {
        owner.overflows++
        outbox.clear('overflow')
      }
      await congest()
      send('one')
      await turn()
      sendControl('ping')
      send('two')
      expect(send('x'.repeat(98))).toBe(false)
      await turn()
      expect(owner.reports).toEqual([[['overflow', { messages: 3, bytes: 104 }]]])
      expect(delivery.dropped.overflow).toEqual({ messages: 3, bytes: 104 })
      expect(outbox.bufferedBytes).toBe(20)
    })

    it('are the messages that waited when the connection closed', async () => {
      const { delivery, owner, outbox, send, sendControl, congest } = setUp()
      await congest()
      send('one')
      await turn()
      sendControl('ping')
      send('two')
      outbox.clear('closed')
      expect(owner.reports).toEqual([])
      outbox.tellDrops()
      outbox.tellDrops()
      await turn()
      expect(owner.reports).toEqual([[['closed', { messages: 2, bytes: 6 }]]])
      expect(delivery.dropped.closed).toEqual({ messages: 2, bytes: 6 })
    })

    it('are the messages of a turn in which the client closed, without control frames', async () => {
      const { owner, send, sendControl } = setUp()
      send('one')
      sendControl('ping')
      send('two')
      owner.writable = false
      await turn()
      expect(owner.reports).toEqual([[['closed', { messages: 2, bytes: 6 }]]])
    })

    it('are the messages that waited when the client closed before the socket drained', async () => {
      const { owner, outbox, send, congest, drain } = setUp()
      await congest()
      send('one')
      await turn()
      owner.writable = false
      await drain()
      outbox.tellDrops()
      expect(owner.reports).toEqual([[['closed', { messages: 1, bytes: 3 }]]])
      expect(outbox.bufferedBytes).toBe(0)
    })

    it('are none when only control frames are lost', async () => {
      const { delivery, owner, outbox, sendControl, congest } = setUp()
      sendControl('ping')
      outbox.clear('closed')
      await congest()
      sendControl('ping')
      outbox.clear('closed')
      outbox.tellDrops()
      expect({ reports: owner.reports, closed: delivery.dropped.closed }).toEqual({
        reports: [],
        closed: { messages: 0, bytes: 0 },
      })
    })
  })

  describe('#bufferedBytes', () => {
    it('is exact', async () => {
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

    it('is exact when a turn writes early', () => {
      const { valve, outbox, send } = setUp('close', 1_000_000)
      send('x'.repeat(65_535))
      expect(outbox.bufferedBytes).toBe(65_535)
      send('y')
      expect({ buffered: outbox.bufferedBytes, written: valve.text.length }).toEqual({
        buffered: 0,
        written: 65_536,
      })
      valve.isOpen = false
      send('z'.repeat(65_536))
      send('z')
      expect(outbox.bufferedBytes).toBe(65_537)
    })

    it('is exact after each step of a drain', async () => {
      const { valve, outbox, send, congest } = setUp('close', 1_000_000)
      await congest()
      for (let i = 0; i < 3; i++) {
        send('x'.repeat(40_000))
        await turn()
      }
      for (const buffered of [120_000, 80_000, 40_000, 0]) {
        valve.step()
        await turn()
        expect(outbox.bufferedBytes).toBe(buffered)
      }
    })

    it('is exact when messages are dropped', async () => {
      const oldest = setUp('dropOldest')
      await oldest.congest()
      oldest.sendControl('PP')
      for (const text of ['a'.repeat(30), 'b'.repeat(40)]) oldest.send(text)
      expect(oldest.outbox.bufferedBytes).toBe(92)
      oldest.send('c'.repeat(10))
      expect(oldest.outbox.bufferedBytes).toBe(72)
      const latest = setUp('conflate')
      await latest.congest()
      for (const text of ['a'.repeat(30), 'b'.repeat(40), 'c']) latest.send(text, { key: 'k' })
      expect(latest.outbox.bufferedBytes).toBe(21)
    })
  })

  describe('#end', () => {
    it('calls back at once, after writing the frames of the turn', async () => {
      const { valve, outbox, send } = setUp()
      send('a')
      outbox.end(() => valve.write('.'))
      expect(valve.text).toBe('a.')
      await turn()
      expect(valve.text).toBe('a.')
    })

    it('waits for a backlog', async () => {
      const { valve, outbox, send, congest, drain } = setUp()
      await congest()
      send('a')
      outbox.end(() => valve.write('.'))
      expect(valve.chunks).toHaveLength(1)
      await drain()
      expect(valve.text.slice(20)).toBe('a.')
    })

    it('waits for the whole backlog and the frames of the turn', async () => {
      const { valve, outbox, send, sendControl, congest, drain } = setUp('close', 1_000_000)
      await congest()
      for (const text of ['a', 'b']) {
        send(text.repeat(40_000))
        await turn()
      }
      sendControl('P')
      send('c')
      outbox.end(() => valve.write('.'))
      valve.step()
      await turn()
      expect(valve.text).toHaveLength(20 + 40_000)
      await drain()
      expect(valve.text.slice(20)).toBe(`${'a'.repeat(40_000)}${'b'.repeat(40_000)}Pc.`)
    })

    it('calls back at once when a congested socket has everything', async () => {
      const { valve, outbox, congest, drain } = setUp()
      await congest()
      outbox.end(() => valve.write('.'))
      expect(outbox.bufferedBytes).toBe(21)
      await drain()
      expect(valve.text.slice(20)).toBe('.')
    })

    it('never calls back when the client closed before the socket drained', async () => {
      const { owner, outbox, send, congest, drain } = setUp()
      let ended = false
      await congest()
      send('a')
      outbox.end(() => {
        ended = true
      })
      owner.writable = false
      await drain()
      expect(ended).toBe(false)
    })
  })

  describe('#clear', () => {
    it('drops frames that were not written, and the end', async () => {
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
