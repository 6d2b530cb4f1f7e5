import { describe, expect, it, onTestFinished } from 'vitest'
import type { Connection, Hub, ResumeResult } from 'wshub'
import { MemoryBackplane, MemoryBus, MemoryHistoryBus, memoryHistory } from 'wshub'
import { holdClock } from '../support/held-clock.ts'
import { eventually, Journal, serve, turn } from '../support/hub-server.ts'
import { FaultyStore } from './faulty-store.ts'
import { Member, Node } from './node.ts'
import { lastPosition, numbers, received, serveHistory, text } from './support.ts'

/** A member that stops reading at its first message. */
class StallingMember extends Member {
  override deliver(...args: Parameters<Member['deliver']>): boolean {
    this.isStalled = true
    return super.deliver(...args)
  }
}

describe('Hub', () => {
  describe('#publish', () => {
    it('rejects when the store is away, and nobody receives the message', async () => {
      const bus = new MemoryHistoryBus()
      const { hub, connect } = await serveHistory({ store: memoryHistory({ bus }) })
      const { client, connection } = await connect()
      await hub.resumeRoom(connection, 'chat')
      bus.cut()
      await expect(hub.publish('chat', text(1))).rejects.toMatchObject({
        code: 'WSHUB_ERR_NOT_STORED',
        mayBeStored: false,
        cause: expect.any(Error),
      })
      bus.restore()
      await hub.publish('chat', text(2))
      expect(numbers(await received(connection, client))).toEqual([2])
      expect(hub.stats().history).toMatchObject({ appended: 1, refused: 1 })
    })

    it('says that the message may be stored when the answer of the store is lost', async () => {
      const bus = new MemoryHistoryBus()
      const store = new FaultyStore(memoryHistory({ bus }))
      const { hub } = await serveHistory({ store })
      store.holdReplies()
      const published = expect(hub.publish('chat', text(1))).rejects.toMatchObject({
        code: 'WSHUB_ERR_NOT_STORED',
        mayBeStored: true,
      })
      await turn()
      bus.cut()
      await published
      store.releaseReplies()
      bus.restore()
      expect(numbers((await hub.history('chat', { last: 10 })).messages.map(({ data }) => data))).toEqual([1])
    })

    it('is refused above maxPendingBytes', async () => {
      const store = new FaultyStore(memoryHistory())
      const { hub } = await serveHistory({ store, maxPendingBytes: 1_000 })
      store.holdReplies()
      const first = hub.publish('chat', 'x'.repeat(500))
      await expect(hub.publish('chat', 'x'.repeat(500))).rejects.toMatchObject({
        code: 'WSHUB_ERR_NOT_STORED',
      })
      store.releaseReplies()
      await first
      await hub.publish('chat', 'x'.repeat(500))
    })

    it('resolves when the members here have been sent the message', async () => {
      const { hub, connect } = await serveHistory()
      const { client, connection } = await connect()
      hub.joinRoom(connection, 'chat')
      const { position } = await hub.publish('chat', text(1))
      expect(lastPosition(await received(connection, client))).toBe(position)
    })

    it.each([
      [['', text(1)], 'WSHUB_ERR_INVALID_ROOM'],
      [[['chat'], text(1)], 'WSHUB_ERR_INVALID_ROOM'],
      [['plain', text(1)], 'WSHUB_ERR_NO_HISTORY'],
      [['chat', {}], 'WSHUB_ERR_INVALID_PAYLOAD'],
      [['chat', text(1), { volatile: true }], 'WSHUB_ERR_INVALID_OPTION'],
      [['chat', text(1), { local: true }], 'WSHUB_ERR_INVALID_OPTION'],
    ])('rejects with the arguments %j: %s', async (args, code) => {
      const { hub } = await serveHistory()
      await expect(hub.publish(...(args as unknown as ['chat', '']))).rejects.toMatchObject({ code })
    })
  })

  describe('#broadcastToRoom', () => {
    it('reports what was not stored, repeats as a count', async () => {
      const bus = new MemoryHistoryBus()
      const errors = new Journal<Error>()
      const { hub } = await serveHistory(
        { store: memoryHistory({ bus }) },
        { onError: (error) => errors.push(error) },
      )
      bus.cut()
      for (let n = 0; n < 1_000; n++) hub.broadcastToRoom('chat', text(n))
      await errors.first('a report', (error) => 'code' in error && error.code === 'WSHUB_ERR_NOT_STORED')
      await turn()
      expect(errors.all).toHaveLength(1)
    })
  })

  describe('the option history', () => {
    it.each([
      () => {
        throw new Error('no idea')
      },
      () => ({ maxMessages: 0 }),
      () => ({ maxAge: 1 }),
      () => 5,
      () => null,
      async () => ({}),
    ])('is in error when it says %s of a room', async (rooms) => {
      const { hub, connect } = await serveHistory({ rooms: rooms as never })
      const { connection } = await connect()
      const wrong = expect.objectContaining({ code: 'WSHUB_ERR_INVALID_OPTION' })
      expect(() => hub.joinRoom(connection, 'chat')).toThrow(wrong)
      expect(() => hub.broadcastToRoom('chat', '')).toThrow(wrong)
      await expect(hub.publish('chat', '')).rejects.toEqual(wrong)
      expect(connection.rooms.size).toBe(0)
    })

    it.each([
      ['throws', () => JSON.parse('{')],
      ['returns no payload', () => ({})],
      ['returns a promise', async () => ''],
    ])('sends a message as it is when its stamp %s', async (_what, stamp) => {
      const errors: Error[] = []
      const { hub, connect } = await serveHistory(
        { stamp: stamp as never },
        { onError: (error) => errors.push(error) },
      )
      const { client, connection } = await connect()
      hub.joinRoom(connection, 'chat')
      await hub.publish('chat', text(1))
      expect(await received(connection, client)).toEqual([text(1)])
      expect(errors).toHaveLength(1)
    })
  })

  describe('#resumeRoom', () => {
    it.each([
      ['a new room', false],
      ['a room with a member', true],
    ])('rejects when the store is away: %s; live messages arrive', async (_room, hasMember) => {
      const bus = new MemoryHistoryBus()
      const { hub, connect } = await serveHistory({ store: memoryHistory({ bus }) }, { onError: () => {} })
      if (hasMember) await hub.resumeRoom((await connect()).connection, 'chat')
      const { client, connection } = await connect()
      bus.cut()
      await expect(hub.resumeRoom(connection, 'chat', { last: 5 })).rejects.toMatchObject({
        code: 'WSHUB_ERR_HISTORY_AWAY',
      })
      bus.restore()
      await hub.publish('chat', text(2))
      expect(numbers(await received(connection, client))).toEqual([2])
    })

    it.each<[string, NonNullable<ResumeResult['ended']>, (hub: Hub, connection: Connection) => unknown]>([
      ['is closed', 'closed', (_hub, connection) => connection.close()],
      ['is terminated', 'closed', (_hub, connection) => connection.terminate()],
      ['leaves the room', 'left', (hub, connection) => hub.leaveRoom(connection, 'chat')],
      ['resumes again', 'replaced', (hub, connection) => hub.resumeRoom(connection, 'chat', { last: 1 })],
    ])('says how it ended when the connection %s before it is live: %s', async (_what, ended, end) => {
      const store = new FaultyStore(memoryHistory())
      const { hub, connect } = await serveHistory({ store })
      for (const n of [1, 2, 3]) await hub.publish('chat', text(n))
      const { connection } = await connect()
      store.holdReplies()
      const resuming = hub.resumeRoom(connection, 'chat', { last: 3 })
      end(hub, connection)
      expect(await resuming).toEqual({ complete: false, replayed: 0, position: '', ended })
      expect(hub.stats().history).toMatchObject({ resumed: 1, incomplete: 0 })
      store.releaseReplies()
    })

    it('gives no position when the connection leaves the room in the middle of a replay', async () => {
      const node = new Node(memoryHistory())
      onTestFinished(() => node.history.close(0))
      const none = { key: undefined, exceptIds: [], exceptRooms: [] }
      for (const data of ['1', '2', '3']) await node.history.publish('room', { data, ...none })
      const member = new StallingMember('stalled')
      node.join(member)
      const resuming = node.history.resume(member, 'room', { last: 3 })
      await eventually(
        'the replay to wait',
        () => member.waiting === 1,
        () => member.waiting,
      )
      node.leave(member, 'room')
      expect(await resuming).toEqual({ complete: false, replayed: 1, position: '', ended: 'left' })
    })

    it('says that a connection is closed when it is called for it', async () => {
      const { hub, connect } = await serveHistory()
      const { client, connection } = await connect()
      client.socket.terminate()
      await eventually(
        'the end',
        () => connection.state === 'closed',
        () => connection.state,
      )
      const nothing = { complete: false, replayed: 0, position: '', ended: 'closed' }
      expect(await hub.resumeRoom(connection, 'chat')).toEqual(nothing)
    })

    it('goes on when it is called again without since and last', async () => {
      const store = new FaultyStore(memoryHistory())
      const { hub, connect } = await serveHistory({ store, maxCachedBytes: 0 })
      const { position } = await hub.publish('chat', text(1))
      for (const n of [2, 3]) await hub.publish('chat', text(n))
      const { client, connection } = await connect()
      store.holdReplies()
      const first = hub.resumeRoom(connection, 'chat', { since: position })
      for (const from of [{}, { since: null }, { since: undefined, last: undefined }]) {
        const again = await hub.resumeRoom(connection, 'chat', from)
        expect(again).toEqual({ complete: false, replayed: 0, position: '', ended: 'replaced' })
      }
      store.releaseReplies()
      expect(await first).toMatchObject({ complete: true, replayed: 2 })
      expect(await hub.resumeRoom(connection, 'chat')).toMatchObject({ complete: true, replayed: 0 })
      await hub.publish('chat', text(4))
      expect(numbers(await received(connection, client))).toEqual([2, 3, 4])
    })

    it('starts over when it is called again with a position, whose result counts', async () => {
      const store = new FaultyStore(memoryHistory())
      const { hub, connect } = await serveHistory({ store, maxCachedBytes: 0 })
      const positions: string[] = []
      for (const n of [1, 2, 3]) positions.push((await hub.publish('chat', text(n))).position)
      const { client, connection } = await connect()
      store.holdReplies()
      const results = positions.slice(0, 2).map((since) => hub.resumeRoom(connection, 'chat', { since }))
      expect(await results[0]).toMatchObject({ ended: 'replaced' })
      store.releaseReplies()
      expect(await results[1]).toEqual({ complete: true, replayed: 1, position: positions[2] })
      expect(numbers(await received(connection, client))).toEqual([3])
    })
  })

  describe('#close', () => {
    it('waits for messages that are being stored, and delivers them before the goodbyes', async () => {
      const store = new FaultyStore(memoryHistory())
      const { hub, connect } = await serveHistory({ store })
      const { client, connection } = await connect()
      await hub.resumeRoom(connection, 'chat')
      store.holdReplies()
      const published = hub.publish('chat', text(1))
      const closed = hub.close()
      await turn()
      store.releaseReplies()
      await Promise.all([published, closed])
      expect(await client.closed()).toMatch(/^1001/)
      expect(numbers(client.received.all)).toEqual([1])
      expect(store.state).toBe('closed')
      await expect(hub.publish('chat', text(2))).rejects.toMatchObject({ code: 'WSHUB_ERR_NOT_STORED' })
    })

    it('waits for a store that does not answer no longer than it may', async () => {
      const store = new FaultyStore(memoryHistory())
      const { hub, connect } = await serveHistory({ store })
      await connect()
      store.holdReplies()
      const published = hub.publish('chat', text(1)).catch(() => {})
      await hub.close({ timeoutMs: 50 })
      expect(hub.state).toBe('closed')
      store.releaseReplies()
      await published
    })

    it('reports what the store fails with while it closes', async () => {
      const store = new FaultyStore(memoryHistory())
      const faults = new Journal<Error>()
      const { hub } = await serveHistory({ store }, { onError: (error) => faults.push(error) })
      store.closeError = new Error('the disk is full')
      await hub.close()
      expect(faults.all.map(({ message }) => message)).toEqual([
        'the store of the history failed: something was lost',
        '1 more: the store of the history failed: the disk is full',
      ])
      expect(faults.all[0]).toMatchObject({ code: 'WSHUB_ERR_HISTORY_AWAY' })
    })
  })
})

describe('onBehind', () => {
  it('is called before anything that comes after what is lost', async () => {
    const bus = new MemoryHistoryBus()
    const { hub, connect } = await serveHistory(
      { store: memoryHistory({ bus }) },
      {},
      { onBehind: (connection, room) => void connection.sendText(text(`behind ${room}`)) },
    )
    const { client, connection } = await connect()
    await hub.resumeRoom(connection, 'chat')
    await hub.publish('chat', text(1))
    bus.evict('chat')
    await Promise.all([hub.publish('chat', text(2)), hub.publish('chat', text(3))])
    expect(numbers(await received(connection, client))).toEqual([1, 'behind chat', 2, 3])
  })

  it('closes the connection with 1011 when it throws', async () => {
    const bus = new MemoryHistoryBus()
    const { hub, connect } = await serveHistory(
      { store: memoryHistory({ bus }) },
      {},
      {
        onBehind() {
          throw new Error('no snapshot')
        },
      },
    )
    const { client, connection } = await connect()
    await hub.resumeRoom(connection, 'chat')
    await hub.publish('chat', text(1))
    bus.evict('chat')
    hub.broadcastToRoom('chat', text(2))
    expect(await client.closed()).toMatch(/^1011/)
  })
})

describe('Cluster', () => {
  it('does not let a call that changes something overtake what was published before', async () => {
    const store = new FaultyStore(memoryHistory({ bus: new MemoryHistoryBus() }))
    const { hub, connect } = await serveHistory(
      { store },
      { backplane: new MemoryBackplane(new MemoryBus()) },
    )
    await hub.cluster.ready()
    const { client, connection } = await connect()
    await hub.resumeRoom(connection, 'chat')
    store.holdReplies()
    hub.broadcastToRoom('chat', text(1))
    const disconnected = hub.cluster.disconnect({ room: 'chat' })
    expect(await hub.cluster.roomSize('chat')).toMatchObject({ missing: [] })
    expect(connection.state).toBe('open')
    hub.broadcastToRoom('chat', text(2)) // does not hold it up
    store.releaseReplies()
    await disconnected
    await client.closed()
    expect(numbers(client.received.all)[0]).toBe(1)
  })

  it('joins and leaves rooms of this process at once, so that a later call of the hub holds', async () => {
    const store = new FaultyStore(memoryHistory())
    const { hub, connect } = await serveHistory({ store })
    const { connection } = await connect()
    store.holdReplies()
    hub.broadcastToRoom('chat', text(1))
    const { id } = connection
    const calls = [hub.cluster.join({ id }, 'plain')]
    expect(connection.inRoom('plain')).toBe(true)
    hub.leaveRoom(connection, 'plain')
    hub.joinRoom(connection, 'plain too')
    calls.push(hub.cluster.leave({ id }, 'plain too'), hub.cluster.join({ room: 'nobody' }, 'plain'))
    hub.joinRoom(connection, 'plain too')
    store.releaseReplies()
    await Promise.all(calls)
    expect([...connection.rooms]).toEqual(['plain too'])
  })

  it('keeps the order of calls of which the first waits for the store', async () => {
    const bus = new MemoryBus()
    const store = new FaultyStore(memoryHistory({ bus: new MemoryHistoryBus() }))
    const one = await serveHistory({ store }, { backplane: new MemoryBackplane(bus) })
    const two = await serve({ backplane: new MemoryBackplane(bus) })
    await Promise.all([one.hub.cluster.ready(), two.hub.cluster.ready()])
    holdClock() // no call is given up
    const { connection } = await two.connect()
    const { id } = connection
    const { cluster } = one.hub
    store.holdReplies()
    one.hub.broadcastToRoom('chat', text(1))
    const joined = cluster.join({ id }, 'plain')
    store.releaseReplies()
    // In the very moment in which nothing waits any more, but the first call is still to be made.
    for (let looks = 0; one.hub.stats().history?.appended === 0; looks++) {
      expect(looks).toBeLessThan(100_000)
      await Promise.resolve()
    }
    expect(await cluster.leave({ id }, 'plain')).toMatchObject({ count: 1, missing: [] })
    expect(await joined).toMatchObject({ count: 1, missing: [] })
    expect(connection.rooms.size).toBe(0)
  })
})
