import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { turn } from '../support/hub-server.ts'
import { setUp } from './outbox-setup.ts'

describe('Outbox', () => {
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

    it('drops no pinned messages of a log, but those that come after them', async () => {
      const { owner, send, outbox, valve, congest, drain } = setUp('resync')
      const [[before, after], [other]] = [origins(one), origins(two)]
      await congest()
      send('(before)', undefined, before)
      send('(other)', undefined, other)
      outbox.pin(one)
      send('position')
      send('(after)', undefined, after)
      send('x'.repeat(60))
      expect(owner.resynced).toEqual([other, after])
      await drain()
      expect(valve.text).toBe(`${'-'.repeat(20)}(before)position${'x'.repeat(60)}`)
    })

    it('drops a message that is too much because of pinned ones', async () => {
      const { owner, send, outbox, congest } = setUp('resync')
      const [first, second] = origins(one)
      await congest()
      send('x'.repeat(70), undefined, first)
      outbox.pin(one)
      expect(send('y'.repeat(50), undefined, second)).toBe(false)
      expect(owner.resynced).toEqual([second])
      expect([outbox.bufferedBytes, owner.overflows]).toEqual([90, 0])
    })

    it('closes the client when the hub needs the memory of pinned messages', async () => {
      const { owner, send, outbox, congest } = setUp('resync', 1_000_000, 10, 100)
      await congest()
      send('x'.repeat(50), undefined, origins(one)[0])
      outbox.pin(one)
      send('y'.repeat(50))
      expect({ of: owner.of, resynced: owner.resynced }).toEqual({ of: 'hub', resynced: [] })
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
})
