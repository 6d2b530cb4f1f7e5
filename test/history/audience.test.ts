import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { MemoryBackplane, MemoryBus, MemoryHistoryBus, memoryHistory } from 'wshub'
import { positionOf } from '../../src/history/position.ts'
import { eventually, type HubServer, turn } from '../support/hub-server.ts'
import { BEHIND, Member, Node, PLAIN } from './node.ts'
import { lastPosition, numbers, received, serveHistory, text } from './support.ts'

/** Two nodes that share a history, and a backplane. */
async function pair(): Promise<[HubServer, HubServer]> {
  const bus = new MemoryBus()
  const history = new MemoryHistoryBus()
  const make = () =>
    serveHistory({ store: memoryHistory({ bus: history }) }, { backplane: new MemoryBackplane(bus) })
  const nodes: [HubServer, HubServer] = [await make(), await make()]
  for (const { hub } of nodes) await hub.cluster.ready()
  await eventually(
    'the nodes to know each other',
    () => nodes.every(({ hub }) => hub.cluster.stats().nodes === 2),
    () => nodes.map(({ hub }) => hub.cluster.stats()),
  )
  return nodes
}

const NONE = { key: undefined, exceptIds: [], exceptRooms: [] }

/** A member of the rooms `a` and `b` that has had a message to both, brought by `a`, and one to `b`. */
async function afterUnion(): Promise<{ node: Node; member: Member }> {
  const node = new Node(memoryHistory())
  onTestFinished(() => node.history.close(0))
  const member = new Member('slow')
  for (const room of ['a', 'b']) node.join(member, room)
  node.history.broadcast(['a', 'b'], { data: 'union', ...NONE })
  await node.history.publish('b', { data: 'b', ...NONE })
  expect(member.received).toEqual(['union', 'b'])
  return { node, member }
}

describe('a message to rooms with a history', () => {
  it('reaches the members on all nodes, in one order', async () => {
    const [one, two] = await pair()
    const [a, b] = [await one.connect(), await two.connect()]
    await one.hub.resumeRoom(a.connection, 'chat')
    await two.hub.resumeRoom(b.connection, 'chat')
    for (let n = 0; n < 50; n++) {
      one.hub.broadcastToRoom('chat', text(`a${n}`))
      two.hub.broadcastToRoom('chat', text(`b${n}`))
    }
    await a.client.received.until('all', (all) => all.length === 100)
    await b.client.received.until('all', (all) => all.length === 100)
    expect(a.client.received.all).toEqual(b.client.received.all)
    expect(new Set(a.client.received.all).size).toBe(100)
  })

  it('of the union of several comes once to a member of several, live and on a replay', async () => {
    const { hub, connect } = await serveHistory()
    const both = await connect()
    const onlyB = await connect()
    hub.joinRoom(both.connection, ['a', 'b'])
    hub.joinRoom(onlyB.connection, 'b')
    const start = { a: (await hub.history('a')).position, b: (await hub.history('b')).position }
    expect(hub.broadcastToRoom(['b', 'a'], text(1))).toBe(2)
    await hub.publish('a', text(2))
    await hub.publish('b', text(3))
    expect(numbers(await received(both.connection, both.client)).sort()).toEqual([1, 2, 3])
    expect(numbers(await received(onlyB.connection, onlyB.client))).toEqual([1, 3])

    const again = await connect()
    await Promise.all([
      hub.resumeRoom(again.connection, 'b', { since: start.b }),
      hub.resumeRoom(again.connection, 'a', { since: start.a }),
    ])
    expect(numbers(await received(again.connection, again.client)).sort()).toEqual([1, 2, 3])
  })

  it('is replayed to a member that has joined an earlier room of the union without a position', async () => {
    const { hub, connect } = await serveHistory()
    const first = await connect()
    hub.joinRoom(first.connection, 'all')
    await hub.resumeRoom(first.connection, 'chat')
    hub.broadcastToRoom(['all', 'chat'], text(1))
    await hub.publish('all', text(2))
    await hub.publish('chat', text(3))
    const texts = await received(first.connection, first.client)
    expect(numbers(texts).sort()).toEqual([1, 2, 3])
    const since = lastPosition(texts.filter((data) => numbers([data])[0] !== 2))
    await first.client.close()
    hub.broadcastToRoom(['all', 'chat'], text(4))
    await hub.publish('chat', text(5))

    const { client, connection } = await connect()
    hub.joinRoom(connection, 'all')
    const result = await hub.resumeRoom(connection, 'chat', { since })
    hub.broadcastToRoom(['all', 'chat'], text(6))
    await hub.publish('all', text(7))
    await hub.publish('chat', text(8))

    expect(result).toMatchObject({ complete: true, replayed: 2 })
    expect(numbers(await received(connection, client)).sort()).toEqual([4, 5, 6, 7, 8])
  })

  it('is replayed to a newcomer to an earlier room of the union', async () => {
    const { hub, connect } = await serveHistory()
    const since = (await hub.history('chat')).position
    hub.broadcastToRoom(['all', 'chat'], text(1))
    await hub.publish('chat', text(2))
    const { client, connection } = await connect()
    const resumed = Promise.all([
      hub.resumeRoom(connection, 'all'),
      hub.resumeRoom(connection, 'chat', { since }),
    ])
    expect(await resumed).toMatchObject([{ replayed: 0 }, { complete: true, replayed: 2 }])
    hub.broadcastToRoom(['all', 'chat'], text(3))
    await hub.publish('all', text(4))
    await hub.publish('chat', text(5))
    expect(numbers(await received(connection, client)).sort()).toEqual([1, 2, 3, 4, 5])
  })

  it('is not lost in silence when a member leaves the room that would have brought it', async () => {
    const node = new Node(memoryHistory())
    onTestFinished(() => node.history.close(0))
    const since = {
      a: positionOf(await node.history.publish('a', { data: 'start', ...NONE })),
      b: positionOf(await node.history.publish('b', { data: 'start', ...NONE })),
    }
    node.history.broadcast(['a', 'b'], { data: 'union', ...NONE })
    await node.history.publish('b', { data: 'b', ...NONE })
    const member = new Member('slow')
    node.join(member, 'a')
    node.join(member, 'b')
    member.isStalled = true
    const replays = ['a', 'b'] as const
    const resumed = replays.map((room) => node.history.resume(member, room, { since: since[room] }))
    await eventually(
      'both replays to wait',
      () => member.waiting === 2,
      () => member.waiting,
    )
    node.leave(member, 'a')
    member.drain()
    expect(await Promise.all(resumed)).toMatchObject([{ complete: false }, { replayed: 1 }])
    expect(member.received).toEqual([BEHIND, 'b'])
  })

  it.each([
    ['has joined', (node: Node, member: Member) => node.join(member, 'a')],
    [
      'has resumed',
      async (node: Node, member: Member) => {
        node.join(member, 'a')
        await node.history.resume(member, 'a', {})
      },
    ],
  ])('that was dropped comes again to a member that %s an earlier room meanwhile', async (_what, enter) => {
    const node = new Node(memoryHistory())
    onTestFinished(() => node.history.close(0))
    const member = new Member('slow')
    node.join(member, 'b')
    await node.history.resume(member, 'b', {})
    node.history.broadcast(['a', 'b'], { data: 'union', ...NONE })
    await node.history.publish('b', { data: 'b', ...NONE })
    expect(member.received).toEqual(['union', 'b'])
    member.isStalled = true
    node.history.resync(member, member.origins.slice(0, 1))
    await enter(node, member)
    node.history.broadcast(['a', 'b'], { data: 'both', ...NONE })
    await node.history.publish('a', { data: 'end', ...NONE })
    member.drain()
    await eventually(
      'the replay',
      () => member.received.length >= 6,
      () => member.received,
    )
    await node.history.publish('b', { data: 'end', ...NONE })
    expect(member.received.slice(2).sort()).toEqual(['b', 'both', 'end', 'end', 'union'])
  })

  it('is told to be lost when it was dropped after its member had left the room that brought it', async () => {
    const { node, member } = await afterUnion()
    node.leave(member, 'a')
    node.history.resync(member, member.origins.slice(0, 1))
    await turn()
    expect(member.received).toEqual(['union', 'b', BEHIND])
  })

  it('is told to be lost when its member leaves the room that brings it before it comes again', async () => {
    const node = new Node(memoryHistory())
    onTestFinished(() => node.history.close(0))
    const member = new Member('slow')
    for (const room of ['a', 'b', 'other']) node.join(member, room)
    node.history.broadcast(['a', 'b'], { data: 'union', ...NONE })
    await node.history.publish('b', { data: 'b', ...NONE })
    member.isStalled = true
    node.history.resync(member, member.origins.slice(0, 1))
    node.leave(member, 'a')
    await turn()
    expect(member.received).toEqual(['union', 'b', BEHIND])
  })

  it('is told to be lost in every room when it was dropped, and the room shares with more than are known', async () => {
    const node = new Node(memoryHistory())
    onTestFinished(() => node.history.close(0))
    const member = new Member('slow')
    for (const room of ['a', 'z', PLAIN]) node.join(member, room)
    const many = Array.from({ length: 1_000 }, (_, n) => `b${n}`)
    node.history.broadcast(['a', ...many.sort(), 'z'], { data: 'union', ...NONE })
    await node.history.publish('z', { data: 'z', ...NONE })
    expect(member.received).toEqual(['union', 'z'])
    node.leave(member, 'a')
    node.history.resync(member, member.origins.slice(0, 1))
    await turn()
    expect(member.received).toEqual(['union', 'z', BEHIND])
  })

  it('is told to be lost when it was dropped after its node has ceased to follow the room', async () => {
    const { node, member } = await afterUnion()
    vi.useFakeTimers({ toFake: ['setTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    node.leave(member, 'a')
    expect(node.history.stats.rooms).toBe(2)
    vi.advanceTimersByTime(1_000)
    expect(node.history.stats.rooms).toBe(1)
    node.history.resync(member, member.origins.slice(0, 1))
    await turn()
    expect(member.received).toEqual(['union', 'b', BEHIND])
  })

  it.each([
    [
      'its member leaves the room that brings it',
      (node: Node, member: Member) => {
        node.history.resync(member, member.origins.slice(0, 1))
        node.leave(member, 'a')
      },
    ],
    [
      'it was dropped after its member had left that room',
      (node: Node, member: Member) => {
        node.leave(member, 'a')
        node.history.resync(member, member.origins.slice(0, 1))
      },
    ],
  ])('is told to be lost before what follows, also in the same turn, when %s', async (_when, lose) => {
    const { node, member } = await afterUnion()
    lose(node, member)
    await node.history.publish('b', { data: 'next', ...NONE })
    expect(member.received).toEqual(['union', 'b'])
    await eventually(
      'what follows',
      () => member.received.length === 4,
      () => member.received,
    )
    await node.history.publish('b', { data: 'last', ...NONE })
    expect(member.received).toEqual(['union', 'b', BEHIND, 'next', 'last'])
  })

  it('is told to be lost once when its member resumes the other room at once', async () => {
    const { node, member } = await afterUnion()
    node.leave(member, 'a')
    node.history.resync(member, member.origins.slice(0, 1))
    expect(await node.history.resume(member, 'b', {})).toMatchObject({ complete: true })
    await node.history.publish('b', { data: 'last', ...NONE })
    expect(member.received).toEqual(['union', 'b', BEHIND, 'last'])
  })

  it('and to plain rooms comes once to a member of both', async () => {
    const [one, two] = await pair()
    const [a, b] = [await one.connect(), await two.connect()]
    for (const [node, { connection }] of [
      [one, a],
      [two, b],
    ] as const) {
      await node.hub.resumeRoom(connection, 'chat')
      await node.hub.cluster.join({ id: connection.id }, 'plain')
    }
    const c = await two.connect()
    await two.hub.cluster.join({ id: c.connection.id }, 'plain')
    expect(one.hub.broadcastToRoom(['plain', 'chat'], text(1))).toBe(1)
    await c.client.received.first('1', (data) => data === text(1)) // the backplane's copy
    await one.hub.publish('chat', text(2))
    for (const { client } of [a, b]) {
      await client.received.until('2', (all) => numbers(all).includes(2))
      expect(numbers(client.received.all)).toEqual([1, 2])
    }
  })

  it('keeps its exceptions, live and on a replay', async () => {
    const { hub, connect } = await serveHistory()
    const [all, some] = [await connect(), await connect()]
    hub.joinRoom(all.connection, 'chat')
    hub.joinRoom(some.connection, ['chat', 'muted'])
    const { position: since } = await hub.history('chat')
    expect(hub.broadcastToRoomExcept('chat', text(1), some.connection)).toBe(1)
    await hub.publish('chat', text(2), { except: some.connection })
    await hub.publish('chat', text(3), { exceptRooms: 'muted' })
    await hub.publish('chat', text(4))
    expect(numbers(await received(all.connection, all.client))).toEqual([1, 2, 3, 4])
    expect(numbers(await received(some.connection, some.client))).toEqual([4])

    const result = await hub.resumeRoom(some.connection, 'chat', { since })
    expect(result).toMatchObject({ complete: true, replayed: 1 })
    const muted = await connect()
    hub.joinRoom(muted.connection, 'muted')
    await hub.resumeRoom(muted.connection, 'chat', { since })
    expect(numbers(await received(muted.connection, muted.client))).toEqual([1, 2, 4])
  })

  it('is not stored when it is volatile or local', async () => {
    const { hub, connect } = await serveHistory()
    const { client, connection } = await connect()
    await hub.resumeRoom(connection, 'chat')
    hub.broadcastToRoom('chat', text(1), { volatile: true })
    hub.broadcastToRoom('chat', text(2), { local: true })
    await hub.publish('chat', text(3))
    expect(numbers(await received(connection, client))).toEqual([1, 2, 3])
    expect(numbers((await hub.history('chat')).messages.map(({ data }) => data))).toEqual([3])
  })

  it('keeps bytes as bytes', async () => {
    const { hub, connect } = await serveHistory()
    const { client, connection } = await connect()
    await hub.publish('chat', Buffer.from([1, 2, 3]))
    await hub.resumeRoom(connection, 'chat', { last: 1 })
    expect(await received(connection, client)).toEqual(['0x010203'])
    expect((await hub.history('chat')).messages[0]?.data).toEqual(Buffer.from([1, 2, 3]))
  })

  it('is compressed for a client that negotiated it', async () => {
    const { hub, connect } = await serveHistory({}, { enableCompression: true })
    const { client, connection } = await connect({ perMessageDeflate: true })
    const long = JSON.stringify({ n: 'x'.repeat(10_000) })
    await hub.publish('chat', long)
    await hub.resumeRoom(connection, 'chat', { last: 1 })
    await hub.publish('chat', long)
    expect(numbers(await received(connection, client))).toEqual(Array(2).fill('x'.repeat(10_000)))
    expect(hub.stats().sentBytes).toBeLessThan(2_000)
  })
})
