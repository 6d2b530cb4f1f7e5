import { afterEach, describe, expect, it, vi } from 'vitest'
import { Hub, readInstruments } from 'wshub'
import { RoomTable } from '../../src/presence/room-table.ts'
import { Bus } from '../support/bus.ts'
import { eventually } from '../support/hub-server.ts'
import { quiet } from './quiet.ts'
import { agreed, presenceOf, servePresence, two } from './support.ts'

const MANY_ROOMS = 3_000

/** Counts the rooms that are visited from now on. */
function countVisits(): { rooms: number } {
  const visits = { rooms: 0 }
  const { [Symbol.iterator]: iterate } = RoomTable.prototype
  vi.spyOn(RoomTable.prototype, Symbol.iterator).mockImplementation(function* (this: RoomTable) {
    for (const room of iterate.call(this)) {
      visits.rooms++
      yield room
    }
  })
  return visits
}

describe('hub.stats().presence', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  it('is undefined without the option, and begins with zeros', () => {
    expect(new Hub().stats().presence).toBeUndefined()
    const hub = new Hub({ presence: { rooms: () => 'members' } })
    expect(hub.stats().presence).toEqual({ rooms: 0, members: 0, changes: 0, repairs: 0 })
  })

  it('counts rooms, their users once for each room, and the changes told', async () => {
    const { hub, enter, changes } = await servePresence()
    const { connection } = await enter('ann', 'a', 'b')
    await enter('ann', 'a')
    await enter('bob', 'a', 'count')
    await enter(undefined, 'a', 'plain')
    await changes.first('all', ({ room, count }) => room === 'a' && count === 3)
    expect(hub.stats().presence).toMatchObject({ rooms: 3, members: 3, repairs: 0 })
    hub.leaveRoom(connection, 'b')
    await changes.first('the room to be empty', ({ room, left }) => room === 'b' && left.length === 1)
    await eventually(
      'the room to be forgotten',
      () => hub.stats().presence?.rooms !== 3,
      () => hub.stats().presence,
    )
    expect(hub.stats().presence).toEqual({ rooms: 2, members: 2, changes: changes.all.length, repairs: 0 })
  })

  it('visits no room, however many there are', async () => {
    const { hub } = await servePresence({}, { limits: { maxRoomsPerConnection: MANY_ROOMS } })
    const rooms = Array.from({ length: MANY_ROOMS }, (_, index) => `room-${index}`)
    const [ann, bob] = [quiet(hub, 'ann'), quiet(hub, 'bob')]
    for (const connection of [ann, bob]) hub.joinRoom(connection, rooms)
    const visits = countVisits()
    const of = () => hub.stats().presence
    expect(of()).toMatchObject({ rooms: MANY_ROOMS, members: 2 * MANY_ROOMS })
    const readings = new Map(
      readInstruments(hub).map(({ instrument, samples }) => [instrument.name, samples[0]?.value]),
    )
    expect(readings.get('wshub.presence.members')).toBe(2 * MANY_ROOMS)
    expect(visits.rooms).toBe(0)
    hub.leaveRoom(ann, rooms)
    await eventually('ann to have left', () => of()?.members === MANY_ROOMS, of)
    hub.leaveRoom(bob, rooms)
    await eventually('the rooms to be dropped', () => of()?.rooms === 0, of)
    expect(of()).toMatchObject({ rooms: 0, members: 0 })
    expect(visits.rooms).toBe(0)
    hub.joinRoom(ann, rooms)
    expect(of()).toMatchObject({ members: MANY_ROOMS })
    await hub.close()
    expect(of()).toMatchObject({ rooms: 0, members: 0 })
  })

  it('counts the users of a room that is only counted again, and of a node that dies', async () => {
    const [x, y] = await two(new Bus(), { maxMembersPerRoom: 4 })
    const members = () => x.hub.stats().presence?.members
    await x.enter('ann', 'a')
    const enter = (...users: string[]) => {
      return users.map((user) => {
        const connection = quiet(y.hub, user)
        y.hub.joinRoom(connection, 'a')
        return connection
      })
    }
    const far = enter('bob', 'cid', 'dan')
    await eventually('all users', () => members() === 4, members)
    const more = enter('eve', 'fay')
    const count = () => x.hub.presence('a').count
    await eventually('too many users', () => count() === 6, count)
    for (const connection of [...more, ...far.slice(1)]) connection.terminate()
    await agreed([x, y], 'a', 'ann:1 bob:1')
    await eventually('two users', () => members() === 2, members)
    y.backplane.cut()
    await eventually('only the own one', () => members() === 1, members)
  })

  it('counts the questions about changes that were lost, which are a gap of their room, too', async () => {
    const [x, y] = await two(new Bus())
    await y.enter('bob', 'a')
    await x.enter('ann', 'a')
    await agreed([x, y], 'a', 'ann:1 bob:1')
    const before = y.hub.stats().presence?.repairs ?? 0
    y.backplane.drop = (_channel, bytes) => presenceOf(bytes)?.op === 'delta'
    await x.enter('cid', 'a')
    await agreed([x, y], 'a', 'ann:1 bob:1 cid:1')
    expect(y.hub.stats().presence).toMatchObject({ rooms: 1, members: 3, repairs: before + 1 })
    y.backplane.drop = () => false
    await x.enter('dan', 'a')
    await agreed([x, y], 'a', 'ann:1 bob:1 cid:1 dan:1')
    expect(y.gaps.all).toEqual([{ node: x.hub.cluster.node, scope: 'room', room: 'a', count: 1 }])
  })
})
