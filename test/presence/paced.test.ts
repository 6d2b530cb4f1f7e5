import { afterEach, expect, it, vi } from 'vitest'
import type { Connection, Hub } from 'wshub'
import { openEnvelope } from '../../src/cluster/wire/envelope.ts'
import type { PresenceMessage } from '../../src/cluster/wire/presence-message.ts'
import { RoomMember } from '../../src/presence/room-member.ts'
import { Bus, type Published } from '../support/bus.ts'
import { acquainted } from '../support/cluster.ts'
import { eventually } from '../support/hub-server.ts'
import { quiet } from './quiet.ts'
import { presenceNode, toldIn } from './support.ts'

/** Four turns. */
const IN_ONE_ROOM = 16_000
const OTHER_ROOMS = 20
const IN_OTHERS = 50
/** More than the members that are looked at in a turn, and those of a room that were begun before that. */
const MOST_A_TURN = 7_000

const ROOMS = ['big', ...Array.from({ length: OTHER_ROOMS }, (_, index) => `room-${index}`)]
const TOTAL = IN_ONE_ROOM + OTHER_ROOMS * IN_OTHERS

/** Whether these are at most the users of the nodes that have few. */
function isSmall(users: string[]): boolean {
  return users.every((user) => user === 'dan' || user === 'eve')
}

function membersIn({ rooms }: Extract<PresenceMessage, { op: 'answer' }>): number {
  return rooms.reduce((sum, { members }) => sum + members.length, 0)
}

function connectionOf(hub: Hub, user: string): Connection {
  for (const connection of hub.connections()) {
    if (connection.getMetadata('user') === user) return connection
  }
  throw new Error(`${user} is not connected`)
}

/** Whether some users of the largest room were dropped, but not all. */
function isSome(dropped: unknown): boolean {
  return dropped !== 0 && dropped !== IN_ONE_ROOM
}

/** Opens a node with very many users, and one that knows of all of them, with a user in each room. */
async function crowded(leaveGraceMs: number) {
  const bus = new Bus()
  const options = { maxMembersPerRoom: 100_000, leaveGraceMs }
  const crowd = await presenceNode(bus, options, {}, { maxConnections: 100_000 })
  const node = await presenceNode(bus, options)
  await acquainted([crowd, node])
  for (const [index, room] of ROOMS.entries()) {
    node.hub.joinRoom(quiet(node.hub, 'dan'), room)
    const users = index === 0 ? IN_ONE_ROOM : IN_OTHERS
    for (let user = 0; user < users; user++) crowd.hub.joinRoom(quiet(crowd.hub, `${room}-${user}`), room)
  }
  const told = () => node.changes.all.reduce((sum, { joined }) => sum + joined.length, 0)
  await eventually('all users to be told', () => told() === TOTAL + ROOMS.length, told)
  const members = (rooms = ROOMS) => rooms.flatMap((room) => node.hub.presence(room).members)
  return {
    bus,
    crowd,
    node,
    members,
    without: (rooms = ROOMS) => members(rooms).filter((member) => member.connections === 0).length,
  }
}

afterEach(() => {
  vi.restoreAllMocks()
})

it('A node that dies with very many users is forgotten bit by bit, and they leave in one change a room', async () => {
  const { crowd, node, members, without } = await crowded(200)
  crowd.backplane.cut() // as if it were dead
  const forgotten = [0]
  await eventually('the node to be forgotten', () => without() > 0, without)
  await eventually(
    'all of its users to be forgotten',
    () => forgotten.at(-1) === TOTAL,
    without,
    () => {
      forgotten.push(without())
      const { isComplete } = node.hub.presence('big')
      expect([isComplete, without(['big'])]).not.toEqual([true, expect.toSatisfy(isSome)])
    },
  )
  const most = Math.max(...forgotten.map((users, index) => users - (forgotten[index - 1] ?? 0)))
  expect(most).toBeLessThan(MOST_A_TURN)
  const known = () => members().length
  await eventually('only those of the other node to be left', () => known() === ROOMS.length, known)
  const leaving = node.changes.all.filter(({ left }) => left.length > 0)
  expect(leaving.map(({ room }) => room).sort()).toEqual([...ROOMS].sort())
  expect(leaving.map(({ room, left }) => [room, left.length])).toContainEqual(['big', IN_ONE_ROOM])
  expect(leaving.map(({ count }) => count)).toEqual(ROOMS.map(() => 1))
})

it('A node that is back while it is being forgotten keeps its users', async () => {
  const { crowd, node, without } = await crowded(60_000)
  crowd.backplane.cut()
  await eventually('the node to be forgotten', () => without() > 0, without)
  crowd.backplane.restore()
  await eventually('its users to be back', () => without() === 0, without)
  expect(node.changes.all.filter(({ left }) => left.length > 0)).toEqual([])
})

it('A node that is back while it is being forgotten is not dropped from further rooms', async () => {
  const { crowd, node, without } = await crowded(60_000)
  const others = ROOMS.slice(1)
  node.backplane.delay = (_channel, bytes) => {
    return openEnvelope(Buffer.from(bytes)).stamp.node === crowd.hub.cluster.node
  }
  await eventually('the node to be forgotten', () => without(['big']) > 0, without)
  crowd.hub.joinRoom(quiet(crowd.hub, 'zoe'), 'room-0')
  node.backplane.release()
  const back = () => node.hub.presence('room-0').members.some(({ user }) => user === 'zoe')
  await eventually(
    'its users to be back',
    () => back() && without() === 0,
    without,
    () => {
      expect(without(others)).toBe(0)
    },
  )
  expect(node.changes.all.filter(({ left }) => left.length > 0)).toEqual([])
})

it('Very many members are named and taken over bit by bit, in order with the changes of their node', async () => {
  const { bus, crowd, node } = await crowded(60_000)
  const late = await presenceNode(bus, { maxMembersPerRoom: 100_000 }, { callTimeoutMs: 20_000 })
  await acquainted([crowd, node, late])
  const { hub, changes } = late
  const [first, second] = [connectionOf(crowd.hub, 'big-0'), connectionOf(crowd.hub, 'big-1')]
  const refreshed = vi.spyOn(RoomMember.prototype, 'refresh')
  const namedIn = (published: readonly Published[]) => {
    const messages = toldIn(published.filter(({ by }) => by === crowd.backplane))
    return messages.reduce((sum, message) => sum + (message.op === 'answer' ? membersIn(message) : 0), 0)
  }
  const told = () => changes.all.flatMap(({ joined }) => joined.map(({ user }) => user))
  const hal = quiet(node.hub, 'hal')
  hub.joinRoom(quiet(hub, 'eve'), 'big')
  const settled = hub.presenceSettled('big')
  let isSettled = false
  void settled.then(() => {
    isSettled = true
  })
  const turns: { named: number; taken: number }[] = []
  const change = (user: string, gone: Connection) => {
    crowd.hub.joinRoom(quiet(crowd.hub, user), 'big')
    crowd.hub.leaveRoom(gone, 'big')
  }
  // What the last turn has done is looked at before the next one.
  let published = bus.published.length
  const look = () => {
    const now = { named: namedIn(bus.published.slice(published)), taken: refreshed.mock.calls.length }
    if (now.named > 1_000 && !turns.some(({ named }) => named > 1_000)) change('fay', first)
    if (now.taken > 1_000) {
      if (!turns.some(({ taken }) => taken > 1_000)) change('gus', second)
      // Another node tells something in each turn.
      node.hub.leaveRoom(hal, 'big')
      node.hub.joinRoom(hal, 'big')
    }
    turns.push(now)
    published = bus.published.length
    refreshed.mockClear()
  }
  await eventually(
    'presence to be settled',
    () => isSettled,
    () => turns,
    () => {
      look()
      expect([told(), hub.presence('big').isComplete]).toEqual([expect.toSatisfy(isSmall), false])
    },
  )
  look()
  expect(await settled).toBe(true)
  expect(Math.max(...turns.map(({ named }) => named))).toBeLessThan(MOST_A_TURN)
  expect(Math.max(...turns.map(({ taken }) => taken))).toBeLessThan(MOST_A_TURN)
  const total = IN_ONE_ROOM + 3 // dan, eve and hal; fay and gus in place of two others
  expect(hub.presence('big')).toMatchObject({ count: total, isComplete: true })
  expect(hub.stats().presence?.repairs).toBe(1)
  await eventually(
    'all users to be told',
    () => told().length === total,
    () => told().length,
  )
  expect(told()).toEqual(expect.arrayContaining(['dan', 'eve', 'fay', 'gus', 'hal']))
})
