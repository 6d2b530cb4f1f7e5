import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { JUDGE_MS } from '../../src/delivery/congestion.ts'
import { turn } from '../support/hub-server.ts'
import { setUp } from './outbox-setup.ts'

describe('Outbox', () => {
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
})
