import { describe, expect, it } from 'vitest'
import { memoryHistory } from 'wshub'
import { holdClock } from '../support/held-clock.ts'
import { eventually, turn } from '../support/hub-server.ts'
import { FaultyStore } from './faulty-store.ts'
import { lastPosition, numbers, received, serveHistory, text } from './support.ts'

describe('Hub', () => {
  describe('#resumeRoom', () => {
    it('sends a client that comes back what it has missed, in order, and then what comes', async () => {
      const { hub, connect } = await serveHistory()
      const { client, connection } = await connect()
      await hub.resumeRoom(connection, 'chat')
      for (const n of [1, 2]) await hub.publish('chat', text(n))
      const since = lastPosition(await received(connection, client))
      await client.close()
      for (const n of [3, 4, 5]) await hub.publish('chat', text(n))

      const again = await connect()
      const resuming = hub.resumeRoom(again.connection, 'chat', { since })
      hub.broadcastToRoom('chat', text(6))
      const result = await resuming
      await hub.publish('chat', text(7))

      const texts = await received(again.connection, again.client)
      expect(numbers(texts)).toEqual([3, 4, 5, 6, 7])
      expect(result).toEqual({ complete: true, replayed: 4, position: lastPosition(texts.slice(0, 4)) })
    })

    it('sends a newcomer the latest messages', async () => {
      const { hub, connect } = await serveHistory()
      for (const n of [1, 2, 3, 4]) await hub.publish('chat', text(n))
      const { client, connection } = await connect()

      const result = await hub.resumeRoom(connection, 'chat', { last: 2 })

      expect(result).toMatchObject({ complete: true, replayed: 2 })
      expect(numbers(await received(connection, client))).toEqual([3, 4])
    })

    it('gives a position for an empty room, from which a client can come back', async () => {
      const { hub, connect } = await serveHistory()
      const first = await connect()
      const { complete, replayed, position } = await hub.resumeRoom(first.connection, 'chat')
      await first.client.close()
      await hub.publish('chat', text(1))
      const { client, connection } = await connect()

      const result = await hub.resumeRoom(connection, 'chat', { since: position })

      expect({ complete, replayed }).toEqual({ complete: true, replayed: 0 })
      expect(result).toMatchObject({ complete: true, replayed: 1 })
      expect(numbers(await received(connection, client))).toEqual([1])
    })

    it('replays nothing when not everything is kept any more', async () => {
      const { hub, connect } = await serveHistory({ rooms: () => ({ maxMessages: 2 }) })
      const { position } = await hub.publish('chat', text(1))
      for (const n of [2, 3, 4]) await hub.publish('chat', text(n))
      const { client, connection } = await connect()

      const result = await hub.resumeRoom(connection, 'chat', { since: position })
      await hub.publish('chat', text(5))

      expect(result).toMatchObject({ complete: false, replayed: 0 })
      expect(numbers(await received(connection, client))).toEqual([5])
    })

    it('replays the latest messages when not everything is kept any more', async () => {
      const { hub, connect } = await serveHistory({ rooms: () => ({ maxMessages: 2 }) })
      const { position } = await hub.publish('chat', text(1))
      for (const n of [2, 3, 4]) await hub.publish('chat', text(n))
      const { client, connection } = await connect()

      const result = await hub.resumeRoom(connection, 'chat', { since: position, last: 2 })

      expect(result).toMatchObject({ complete: false, replayed: 2 })
      expect(numbers(await received(connection, client))).toEqual([3, 4])
    })

    it.each([
      { last: undefined, replayed: [] },
      { last: 2, replayed: [4] }, // and 5
    ])('calls onBehind before any message that comes after missing ones (last: $last)', async (row) => {
      const { hub, connect } = await serveHistory(
        { rooms: () => ({ maxMessages: 2 }) },
        {},
        { onBehind: (conn, room) => conn.sendText(`{"n":"behind in ${room}"}`) },
      )
      const { position } = await hub.publish('chat', text(1))
      for (const n of [2, 3, 4]) await hub.publish('chat', text(n))
      const { client, connection } = await connect()

      const resuming = hub.resumeRoom(connection, 'chat', { since: position, last: row.last })
      hub.broadcastToRoom('chat', text(5))
      await resuming
      hub.broadcastToRoom('chat', text(6))
      await hub.publish('chat', text(7))

      const expected = ['behind in chat', ...row.replayed, 5, 6, 7]
      expect(numbers(await received(connection, client))).toEqual(expected)
    })

    it('calls onBehind before a live message that arrives in the turn in which a loss is found', async () => {
      const store = new FaultyStore(memoryHistory())
      store.hidesPrevious = true // so that only the feed brings a message
      const { hub, connect } = await serveHistory(
        { store, rooms: () => ({ maxMessages: 1 }) },
        {},
        { onBehind: (conn) => conn.sendText(text('behind')) },
      )
      holdClock() // a held message of the feed would be read after a second
      const { position } = await hub.publish('chat', text(0))
      const { connection: other } = await connect()
      await hub.resumeRoom(other, 'chat')
      await hub.publish('chat', text('in between'))
      for (let ticks = 1; ticks <= 30; ticks++) {
        await hub.publish('chat', text('earlier'))
        const { client, connection } = await connect()
        store.holdFeed()
        hub.broadcastToRoom('chat', text(ticks))
        for (let i = 0; i < 5; i++) await turn()
        store.holdReplies()
        const { reads } = store
        const resuming = hub.resumeRoom(connection, 'chat', { since: position })
        await eventually(
          'the replay to read',
          () => store.reads > reads,
          () => store.reads,
        )
        store.releaseReplies()
        for (let i = 0; i < ticks; i++) await Promise.resolve()
        store.releaseFeed()
        await resuming
        await hub.publish('chat', text('later'))
        expect(numbers(await received(connection, client))).toEqual(['behind', ticks, 'later'])
        await client.close()
      }
    })

    it('is not complete for a connection that is closed before it receives live', async () => {
      const { hub, connect } = await serveHistory()
      for (const n of [1, 2]) await hub.publish('chat', text(n))
      const { connection } = await connect()

      const resuming = hub.resumeRoom(connection, 'chat', { last: 2 })
      connection.close()

      expect(await resuming).toMatchObject({ complete: false, ended: 'closed' })
    })

    it('rejects for a room without a history', async () => {
      const { hub, connect } = await serveHistory()
      const { connection } = await connect()
      await expect(hub.resumeRoom(connection, 'plain')).rejects.toMatchObject({
        code: 'WSHUB_ERR_NO_HISTORY',
      })
    })
  })

  describe('#history', () => {
    it('returns the messages as clients receive them', async () => {
      const { hub } = await serveHistory()
      const positions: string[] = []
      for (const n of [1, 2, 3]) positions.push((await hub.publish('chat', text(n))).position)

      const all = await hub.history('chat')
      const later = await hub.history('chat', { since: positions[0] })

      expect(all).toEqual({
        complete: true,
        position: positions[2],
        messages: positions.map((position, index) => ({
          data: `{"at":"${position}","n":${index + 1}}`,
          position,
        })),
      })
      expect(later.messages).toEqual(all.messages.slice(1))
    })
  })
})
