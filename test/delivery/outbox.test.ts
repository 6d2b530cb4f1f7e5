import { describe, expect, it, vi } from 'vitest'
import { Outbox } from '../../src/delivery/outbox.ts'
import { encodeMessage } from '../../src/protocol/message-frame.ts'
import { turn } from '../support/hub-server.ts'
import { setUp, Valve } from './outbox-setup.ts'

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

    it('does not call again and again while the socket still has bytes to write', async () => {
      const { outbox, send, valve } = setUp('close', 10, 100)
      valve.isOpen = false
      send('12345678')
      await turn()
      expect(valve.writableLength).toBeGreaterThan(0)
      expect(valve.writableNeedDrain).toBe(false)
      let calls = 0
      const goOn = () => {
        calls++
        if (!outbox.hasRoomFor(1)) outbox.awaitRoom(goOn)
      }
      outbox.awaitRoom(goOn)
      for (let n = 0; n < 100; n++) await turn()
      expect(calls).toBeLessThan(10)
      valve.isOpen = true
      valve.step()
      await vi.waitFor(() => expect(outbox.hasRoomFor(1)).toBe(true))
      const before = calls
      await vi.waitFor(() => expect(calls).toBeGreaterThan(before))
      const after = calls
      for (let n = 0; n < 10; n++) await turn()
      expect(calls).toBe(after)
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

  describe('#hasRoomFor with a high limit', () => {
    it('leaves no more than 128 KiB of replays waiting: each message takes memory beside its bytes', async () => {
      const { outbox, send, congest } = setUp('resync', 10_000_000)
      await congest()
      const waiting = outbox.bufferedBytes
      send('x'.repeat(100_000))
      const left = 131_072 - 100_000 - waiting
      expect([outbox.hasRoomFor(left), outbox.hasRoomFor(left + 1)]).toEqual([true, false])
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
