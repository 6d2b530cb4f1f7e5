import { describe, expect, it } from 'vitest'
import { openEnvelope } from '../../src/cluster/wire/envelope.ts'
import { Bus } from '../support/bus.ts'
import { eventually, turn } from '../support/hub-server.ts'
import { quiet } from './quiet.ts'
import { presenceNode, servePresence, usersOf } from './support.ts'

/** Returns the bytes of all messages about presence on the channel of a room. */
function bytesIn(bus: Bus, room: string): number {
  return bus.published
    .filter(({ channel, bytes }) => channel.endsWith(`.r.${room}`) && openEnvelope(bytes).kind === 'presence')
    .reduce((sum, { bytes }) => sum + bytes.length, 0)
}

const TURNS = 20
const USERS_A_TURN = 50

describe('Presence under load', () => {
  it.each([
    ['lists all of a storm of users, with at most 8 bytes a user', 100_000, 8],
    ['counts a storm of too many users, with less than 2 bytes a user', 100, 2],
  ])('%s, and one change a node and turn', async (_what, maxMembersPerRoom, mostBytes) => {
    const bus = new Bus()
    const nodes = await Promise.all([1, 2, 3].map(() => presenceNode(bus, { maxMembersPerRoom })))
    const known = () => nodes.map(({ hub }) => hub.cluster.stats().nodes)
    await eventually('the nodes to know each other', () => known().every((count) => count === 3), known)
    for (const [index, { hub }] of nodes.entries()) hub.joinRoom(quiet(hub, `first-${index}`), 'a')
    await Promise.all(nodes.map(({ hub }) => hub.presenceSettled('a')))
    const before = bytesIn(bus, 'a')
    let turns = 0
    for (; turns < TURNS; turns++) {
      for (const [index, { hub }] of nodes.entries()) {
        for (let i = 0; i < USERS_A_TURN; i++)
          hub.joinRoom(quiet(hub, `u${index}-${turns * USERS_A_TURN + i}`), 'a')
      }
      await turn()
    }
    const total = 3 * (TURNS * USERS_A_TURN + 1)
    const counts = () => nodes.map(({ hub }) => hub.presence('a').count)
    const isAll = () => counts().every((count) => count === total)
    await eventually('all to be counted', isAll, counts, () => turns++)
    turns++
    await turn()
    const isListed = maxMembersPerRoom > total
    for (const { hub, changes } of nodes) {
      const { members, isComplete } = hub.presence('a')
      expect([members.length, isComplete]).toEqual([isListed ? total : 0, isListed])
      expect(changes.all.length).toBeLessThanOrEqual(turns + 2)
      expect(changes.all.at(-1)?.count).toBe(total)
      const joined = changes.all.flatMap((change) => change.joined.map(({ user }) => user))
      expect(new Set(joined).size).toBe(joined.length)
    }
    expect((bytesIn(bus, 'a') - before) / total).toBeLessThan(mostBytes)
  })

  it('publishes one change a turn for a client that joins and leaves ten thousand times', async () => {
    const bus = new Bus()
    const { hub, enter, changes } = await presenceNode(bus)
    const { connection } = await enter('ann')
    await enter('bob', 'a')
    await hub.presenceSettled('a')
    await changes.until('bob to join', ({ length }) => length > 0)
    const before = bus.published.length
    for (let i = 0; i < 10_000; i++) {
      hub.joinRoom(connection, 'a')
      hub.leaveRoom(connection, 'a')
    }
    hub.joinRoom(connection, 'a')
    await changes.until('ann to join', ({ length }) => length > 1)
    const published = bus.published.slice(before).filter(({ channel, bytes }) => {
      return channel.endsWith('.r.a') && openEnvelope(bytes).kind === 'presence'
    })
    expect(published).toHaveLength(1)
    expect(changes.all).toHaveLength(2)
    expect(usersOf(hub, 'a')).toBe('ann:1 bob:1')
  })

  it('keeps nothing of rooms without members and of users without connections', async () => {
    const { hub, changes } = await servePresence({ leaveGraceMs: 5 })
    const connection = quiet(hub, 'ann')
    for (let room = 0; room < 500; room++) {
      hub.joinRoom(connection, `room-${room}`)
      if (room > 0) hub.leaveRoom(connection, `room-${room - 1}`)
      await turn()
    }
    await changes.until('the last of them', (all) =>
      all.some(({ room, left }) => room === 'room-498' && left.length > 0),
    )
    expect(changes.all.flatMap(({ left }) => left)).toHaveLength(499)
    expect(hub.presence('room-3')).toEqual({ members: [], count: 0, isComplete: true })
    connection.terminate()
    await changes.until('the end', (all) =>
      all.some(({ room, left }) => room === 'room-499' && left.length > 0),
    )
  })
})
