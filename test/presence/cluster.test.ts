import { describe, expect, it } from 'vitest'
import { Bus } from '../support/bus.ts'
import { FAST } from '../support/cluster.ts'
import { eventually } from '../support/hub-server.ts'
import {
  agreed,
  type PresenceNode,
  presenceNode,
  presenceOf,
  servePresence,
  toldIn,
  two,
  usersOf,
} from './support.ts'

/** The others always answer in time. */
const PATIENT = { callTimeoutMs: 60_000 }

/** Longer than it takes a user to move to another node, also when the process stands still for a while. */
const MOVING_MS = 5_000

/** Waits until a node knows of a number of others. */
async function knows({ hub }: PresenceNode, nodes: number): Promise<void> {
  const seen = () => hub.cluster.stats().nodes
  await eventually('the number of nodes', () => seen() === nodes, seen)
}

/** Waits until a node was told that a user has joined: one who leaves in the same turn is not told. */
function joins({ changes }: PresenceNode, user: string): Promise<unknown> {
  return changes.first(`${user} to join`, ({ joined }) => joined.some((member) => member.user === user))
}

/** Returns all users that a node was told of as joined, or as left. */
function told({ changes }: PresenceNode, what: 'joined' | 'left', room = 'a'): string[] {
  return changes.all
    .filter((change) => change.room === room)
    .flatMap((change) => (what === 'left' ? change.left : change.joined.map(({ user }) => user)))
}

describe('Presence in a cluster', () => {
  it('is the same on each node that has a connection in the room', async () => {
    const [x, y] = await two(new Bus())
    const { connection } = await x.enter('ann', 'a')
    await y.enter('bob', 'a')
    await y.enter('ann', 'a')
    await agreed([x, y], 'a', 'ann:2 bob:1')
    x.hub.leaveRoom(connection, 'a')
    await agreed([x, y], 'a', 'ann:1 bob:1')
    expect(told(x, 'left')).toEqual([])
    expect(told(x, 'joined').sort()).toEqual(['ann', 'bob'])
  })

  it('is asked for by a node that has its first connection in the room, and by one that has none', async () => {
    const bus = new Bus()
    const [x, y] = await two(bus, {}, PATIENT)
    await x.enter('ann', 'a')
    await x.enter(undefined, 'a', 'count')
    expect(y.hub.presence('a')).toEqual({ members: [], count: 0, isComplete: false })
    expect(await y.hub.presenceSettled('a')).toBe(true)
    expect(y.hub.presence('a')).toMatchObject({ members: [{ user: 'ann' }], count: 2, isComplete: true })
    expect(await y.hub.presenceSettled('count')).toBe(true)
    expect(y.hub.presence('count')).toEqual({ members: [], count: 1, isComplete: true })
    await y.enter('bob', 'b')
    expect(await y.hub.presenceSettled('b')).toBe(true)
  })

  it('is told in one first change to a node that has its first connection in the room', async () => {
    const [x, y] = await two(new Bus(), {}, PATIENT)
    for (const user of ['ann', 'bob', 'cid']) await x.enter(user, 'a')
    await y.enter('dan', 'a')
    await y.changes.until('a change', ({ length }) => length > 0)
    expect(y.changes.all).toMatchObject([{ count: 4, isComplete: true }])
    expect(told(y, 'joined').sort()).toEqual(['ann', 'bob', 'cid', 'dan'])
  })

  it('is told in full again to a node where nobody was in the room for the grace', async () => {
    const [x, y] = await two(new Bus(), {}, PATIENT)
    await x.enter('ann', 'a')
    const { connection } = await y.enter('bob', 'a')
    await joins(y, 'ann')
    y.hub.leaveRoom(connection, 'a')
    const rooms = () => y.hub.stats().presence?.rooms
    await eventually('the room to be dropped', () => rooms() === 0, rooms)
    const { length: before } = y.changes.all
    y.hub.joinRoom(connection, 'a')
    await y.changes.until('a change', ({ length }) => length > before)
    expect(told(y, 'left')).toEqual(['bob'])
    expect(y.changes.all.slice(before)).toMatchObject([{ count: 2, isComplete: true }])
    expect(told(y, 'joined').sort()).toEqual(['ann', 'ann', 'bob', 'bob'])
  })

  it('has the latest info of a user on all nodes, whoever told it', async () => {
    const [x, y] = await two(new Bus())
    const { connection } = await x.enter('ann', 'a')
    await agreed([x], 'a', 'ann:1')
    const other = await y.enter('ann', 'a')
    await agreed([x, y], 'a', 'ann:2')
    const infos = () => [x, y].map(({ hub }) => JSON.stringify(hub.presence('a').members[0]?.info))
    for (const [node, conn, name] of [
      [x, connection, 'one'],
      [y, other.connection, 'two'],
      [x, connection, 'three'],
    ] as const) {
      conn.setMetadata('name', name)
      node.hub.updatePresence(conn)
      await eventually(name, () => infos().every((info) => info?.includes(name)), infos)
    }
  })

  it('has the latest info of a user, whichever node did not know of the other', async () => {
    const nodes = await two(new Bus())
    const open = async ({ hub, enter }: PresenceNode, room: string, name: string) => {
      const { connection } = await enter('ann')
      connection.setMetadata('name', name)
      const before = Date.now()
      while (Date.now() === before); // Connections of the same millisecond have no order.
      hub.joinRoom(connection, room)
    }
    // One of the two directions is against the order of the ids.
    for (const [room, [first, second]] of [
      ['a', nodes],
      ['b', [nodes[1], nodes[0]]],
    ] as const) {
      await open(first, room, 'old')
      await open(second, room, 'new')
      await agreed(nodes, room, 'ann:2')
      expect(nodes.map(({ hub }) => hub.presence(room).members[0]?.info)).toEqual(
        nodes.map(() => ({ name: 'new' })),
      )
    }
  })

  it('tells of no change when a user moves to another node within the grace', async () => {
    const [x, y] = await two(new Bus(), { leaveGraceMs: MOVING_MS })
    await y.enter('bob', 'a')
    const { connection } = await x.enter('ann', 'a')
    const other = await y.enter('ann')
    await agreed([x, y], 'a', 'ann:1 bob:1')
    connection.terminate()
    await agreed([y], 'a', 'ann:0 bob:1')
    y.hub.joinRoom(other.connection, 'a')
    const last = await y.enter('eve', 'a')
    await agreed([y], 'a', 'ann:1 bob:1 eve:1')
    await joins(y, 'eve')
    last.connection.terminate() // leaves after ann, who would be told as left before
    await y.changes.first('eve to leave', ({ left }) => left.includes('eve'))
    expect(told(y, 'left')).toEqual(['eve'])
    expect(told(y, 'joined').filter((user) => user === 'ann')).toHaveLength(1)
  })

  it('lets the members of a node that dies leave in one change', async () => {
    const [x, y] = await two(new Bus())
    for (const user of ['ann', 'bob', 'cid']) await x.enter(user, 'a')
    await y.enter('dan', 'a')
    await agreed([x, y], 'a', 'ann:1 bob:1 cid:1 dan:1')
    x.backplane.cut() // as if it were dead
    await y.changes.first('a change with someone left', ({ left }) => left.length > 0)
    expect([...told(y, 'left')].sort()).toEqual(['ann', 'bob', 'cid'])
    expect(y.changes.all.filter(({ left }) => left.length > 0)).toHaveLength(1)
    await agreed([y], 'a', 'dan:1')
    x.backplane.restore()
    await agreed([x, y], 'a', 'ann:1 bob:1 cid:1 dan:1')
  })

  it('hands the members of a node that closes over in silence', async () => {
    const [x, y] = await two(new Bus(), { leaveGraceMs: MOVING_MS })
    await x.enter('ann', 'a')
    await y.enter('bob', 'a')
    const other = await y.enter('ann')
    await agreed([x, y], 'a', 'ann:1 bob:1')
    const closed = x.hub.close({ timeoutMs: 1_000 })
    await agreed([y], 'a', 'ann:0 bob:1')
    y.hub.joinRoom(other.connection, 'a')
    await closed
    await knows(y, 1)
    await agreed([y], 'a', 'ann:1 bob:1')
    const last = await y.enter('eve', 'a')
    await joins(y, 'eve')
    last.connection.terminate()
    await y.changes.first('eve to leave', ({ left }) => left.includes('eve'))
    expect(told(y, 'left')).toEqual(['eve'])
  })

  it('is not complete after the hub was closed', async () => {
    const [x, y] = await two(new Bus())
    await y.enter('bob', 'a')
    await x.enter('ann', 'a')
    await agreed([x, y], 'a', 'ann:1 bob:1')
    await x.hub.close({ timeoutMs: 1_000 })
    expect(x.hub.presence('a')).toEqual({ members: [], count: 0, isComplete: false })
    expect(await x.hub.presenceSettled('a')).toBe(false)
    const { hub } = await servePresence()
    await hub.close({ timeoutMs: 1_000 })
    expect(hub.presence('a')).toEqual({ members: [], count: 0, isComplete: false })
    expect(await hub.presenceSettled('a')).toBe(false)
  })

  it('ignores what arrives late of a node that has left', async () => {
    const bus = new Bus()
    const [x, y] = await two(bus, { leaveGraceMs: 0 })
    await y.enter('bob', 'a')
    y.backplane.delay = (channel) => channel.endsWith('.r.a')
    await x.enter('ann', 'a')
    await x.hub.presenceSettled('a')
    await x.hub.close({ timeoutMs: 1_000 })
    await knows(y, 1)
    y.backplane.release()
    await y.enter('cid', 'a')
    await agreed([y], 'a', 'bob:1 cid:1')
  })

  it('finds a change that was lost by the next one', async () => {
    const bus = new Bus()
    const [x, y] = await two(bus, {}, { heartbeatIntervalMs: 60_000, heartbeatTimeoutMs: 60_000 })
    await y.enter('bob', 'a')
    await x.enter('ann', 'a')
    await agreed([x, y], 'a', 'ann:1 bob:1')
    y.backplane.drop = (_channel, bytes) => presenceOf(bytes)?.op === 'delta'
    await x.enter('cid', 'a')
    await eventually(
      'the change',
      () => toldIn(bus.published).at(-1)?.op === 'delta',
      () => bus.published.length,
    )
    y.backplane.drop = () => false
    await x.enter('dan', 'a')
    await agreed([x, y], 'a', 'ann:1 bob:1 cid:1 dan:1')
  })

  it.each(['joined', 'left'])(
    'finds the last change that was lost, of a user who has %s, by a digest',
    async (what) => {
      const [x, y] = await two(new Bus())
      await y.enter('bob', 'a')
      const { connection } = await x.enter('ann', 'a')
      await agreed([x, y], 'a', 'ann:1 bob:1')
      y.backplane.drop = (_channel, bytes) => presenceOf(bytes)?.op === 'delta'
      if (what === 'joined') await x.enter('cid', 'a')
      else x.hub.leaveRoom(connection, 'a')
      await agreed([x, y], 'a', what === 'joined' ? 'ann:1 bob:1 cid:1' : 'bob:1')
    },
  )

  it('finds the last change that was lost with the digest after it', async () => {
    const [x, y] = await two(new Bus())
    await y.enter('bob', 'a')
    const { connection } = await x.enter('ann', 'a')
    await agreed([x, y], 'a', 'ann:1 bob:1')
    let digests = 0
    y.backplane.drop = (_channel, bytes) => {
      const op = presenceOf(bytes)?.op
      if (op === 'digest') digests++
      return op === 'delta' || (op === 'digest' && digests < 3)
    }
    x.hub.leaveRoom(connection, 'a')
    await agreed([x, y], 'a', 'bob:1')
  })

  it('sends the members of a large room in bounded parts, of which none may be missing', async () => {
    const bus = new Bus()
    const [x, y] = await two(bus, { info: () => ({ text: 'x'.repeat(900) }) })
    const { connection } = await x.enter('user-0', 'a')
    for (let i = 1; i < 150; i++) {
      const other = await x.enter(`user-${i}`)
      x.hub.joinRoom(other.connection, 'a')
    }
    expect(connection.inRoom('a')).toBe(true)
    let lost = 0
    y.backplane.drop = (_channel, bytes) => {
      const message = presenceOf(bytes)
      return message?.op === 'answer' && message.part === 1 && lost++ === 0
    }
    y.hub.presence('a')
    const seen = () => y.hub.presence('a').members.length
    await eventually('all members', () => seen() === 150 && y.hub.presence('a').isComplete, seen)
    const sizes = bus.published.map(({ bytes }) => bytes.length)
    expect(Math.max(...sizes)).toBeLessThan(40_000)
    expect(lost).toBeGreaterThan(0)
  })

  it('counts only, on all nodes, when one of them has too many members', async () => {
    const [x, y] = await two(new Bus(), { maxMembersPerRoom: 4 })
    await y.enter('bob', 'a')
    const own = []
    for (let i = 0; i < 5; i++) own.push(await x.enter(`user-${i}`, 'a'))
    const seen = () => [x, y].map(({ hub }) => hub.presence('a'))
    const isCounted = () => seen().every(({ count, members }) => count === 6 && members.length === 0)
    await eventually('the count', isCounted, seen)
    expect(seen().map(({ isComplete }) => isComplete)).toEqual([false, false])
    for (const { connection } of own.slice(2)) x.hub.leaveRoom(connection, 'a')
    await agreed([x, y], 'a', 'bob:1 user-0:1 user-1:1')
    expect([...told(x, 'left'), ...told(y, 'left')]).toEqual([])
  })

  it('is local, and not complete, while the engine is away, and true again after that', async () => {
    const bus = new Bus()
    const [x, y] = await two(bus)
    await x.enter('ann', 'a')
    await y.enter('bob', 'a')
    await agreed([x, y], 'a', 'ann:1 bob:1')
    bus.stop()
    expect(x.hub.presence('a').isComplete).toBe(false)
    await x.enter('cid', 'a')
    await x.changes.first('cid to join', ({ joined }) => joined.some(({ user }) => user === 'cid'))
    bus.start()
    await agreed([x, y], 'a', 'ann:1 bob:1 cid:1')
    expect([...told(x, 'left'), ...told(y, 'left')]).toEqual([])
  })

  it('tells of local changes before the cluster is reached, after callTimeoutMs at the latest', async () => {
    const bus = new Bus()
    const x = await presenceNode(bus)
    await x.enter('ann', 'a')
    await agreed([x], 'a', 'ann:1')
    bus.stop()
    const { hub, enter, changes } = x
    await enter('bob', 'b')
    await changes.first('bob to join', ({ room }) => room === 'b')
    expect(await hub.presenceSettled('b')).toBe(false)
  })

  it('settles as not complete beside a node that does not answer', async () => {
    const bus = new Bus()
    const [x, y] = await two(bus)
    const isAnswer = (bytes: Buffer) => presenceOf(bytes)?.op === 'answer'
    x.backplane.drop = (_channel, bytes) => isAnswer(bytes)
    await y.enter('bob', 'a')
    await x.enter('ann', 'a')
    expect(await x.hub.presenceSettled('a')).toBe(false)
    expect(x.hub.presence('a').isComplete).toBe(false)
    x.backplane.drop = () => false
    await agreed([x], 'a', 'ann:1 bob:1')
  })

  it('gives each who waits until it is settled the whole time', async () => {
    const bus = new Bus()
    const [x, y] = await two(bus, {}, { callTimeoutMs: 10_000 })
    x.backplane.drop = (_channel, bytes) => presenceOf(bytes)?.op === 'answer'
    await y.enter('bob', 'a')
    const first = x.hub.presenceSettled('a')
    const digests = () => toldIn(bus.published).filter(({ op }) => op === 'digest').length
    const before = digests()
    await eventually('some beats', () => digests() >= before + 200, digests)
    const second = x.hub.presenceSettled('a')
    expect(await first).toBe(false)
    x.backplane.drop = () => false
    expect(await second).toBe(true)
    expect(usersOf(x.hub, 'a')).toBe('bob:1')
  })

  it('publishes nothing in a room in which nothing changes, but the digest', async () => {
    const bus = new Bus()
    const [x, y] = await two(bus)
    await x.enter('ann', 'a')
    await y.enter('bob', 'a')
    await agreed([x, y], 'a', 'ann:1 bob:1')
    const ops = () => new Set(toldIn(bus.published.slice(start)).map(({ op }) => op))
    await eventually(
      'the last repairs',
      () =>
        toldIn(bus.published)
          .slice(-6)
          .every(({ op }) => op === 'digest'),
      () => toldIn(bus.published).length,
    )
    const start = bus.published.length
    await eventually(
      'some heartbeats',
      () => bus.published.length > start + 20,
      () => bus.published.length,
    )
    expect([...ops()]).toEqual(['digest'])
  })

  it('ends the subscription of a room that nobody is in, after the grace', async () => {
    const bus = new Bus()
    const [x] = await two(bus)
    const { connection } = await x.enter('ann', 'a')
    await x.hub.presenceSettled('a')
    x.hub.leaveRoom(connection, 'a')
    const isSubscribed = () => [...x.backplane.channels].some((channel) => channel.endsWith('.r.a'))
    expect(isSubscribed()).toBe(true)
    await eventually(
      'the subscription to end',
      () => !isSubscribed(),
      () => [...x.backplane.channels],
    )
    expect(FAST.roomGraceMs).toBeGreaterThan(0)
  })

  it('follows a room that nobody is in until the grace ends, however much changes on another node', async () => {
    const [x, y] = await two(new Bus())
    const { connection } = await x.enter('ann', 'a')
    const { connection: other } = await y.enter('bob')
    await agreed([x, y], 'a', 'ann:1')
    x.hub.leaveRoom(connection, 'a')
    const rooms = () => x.hub.stats().presence?.rooms
    const isOver = () => {
      if (other.inRoom('a')) y.hub.leaveRoom(other, 'a')
      else y.hub.joinRoom(other, 'a')
      return rooms() === 0
    }
    await eventually('the end of the room', isOver, rooms)
    const { connection: back } = await x.enter('cid', 'a')
    y.hub.joinRoom(other, 'a')
    await agreed([x, y], 'a', 'bob:1 cid:1')
    x.hub.leaveRoom(back, 'a')
    await agreed([y], 'a', 'bob:1')
  })

  it.each([1, 3_000])('asks about %d rooms again at each beat while the backplane is full', async (count) => {
    const [x, y] = await two(new Bus(), {}, { heartbeatTimeoutMs: 20_000, callTimeoutMs: 10_000 })
    const rooms = Array.from({ length: count }, (_, i) => `room ${i}`)
    await x.enter('ann', 'room 0')
    y.backplane.isFull = true
    const settled = y.hub.presenceSettled('room 0')
    for (const room of rooms) y.hub.presence(room)
    const refused = () => y.backplane.refused
    await eventually('some beats', () => refused() > 10, refused)
    expect(refused()).toBeLessThan(100)
    expect(y.hub.presence('room 0').isComplete).toBe(false)
    y.backplane.isFull = false
    expect(await settled).toBe(true)
    expect(usersOf(y.hub, 'room 0')).toBe('ann:1')
  })

  it('asks a node again about what did not arrive when the backplane was full', async () => {
    const [x, y] = await two(new Bus(), {}, { heartbeatTimeoutMs: 20_000, callTimeoutMs: 10_000 })
    await y.enter('bob', 'a')
    await agreed([x, y], 'a', 'bob:1')
    y.backplane.drop = (_channel, bytes) => presenceOf(bytes)?.op === 'delta'
    y.backplane.isFull = true
    await x.enter('ann', 'a')
    const refused = () => y.backplane.refused
    await eventually('some beats', () => refused() > 10, refused)
    expect(refused()).toBeLessThan(100)
    y.backplane.isFull = false
    await agreed([x, y], 'a', 'ann:1 bob:1')
  })
})
