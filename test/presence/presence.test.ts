import { describe, expect, expectTypeOf, it, vi } from 'vitest'
import { Hub, type PresenceMember, type RoomPresence } from 'wshub'
import { holdClock } from '../support/held-clock.ts'
import { eventually, thrownBy, turn } from '../support/hub-server.ts'
import { servePresence, type Told, usersOf } from './support.ts'

/** Returns a change without what is empty. */
function brief({ room, joined, left, updated, count, isComplete }: Told): string {
  const users = (members: readonly PresenceMember[]) => members.map(({ user }) => user).join(',')
  const parts = [`+${users(joined)}`, `-${left.join(',')}`, `~${users(updated)}`, `=${count}`]
  const named = parts.filter((part) => part.length > 1).join(' ')
  return `${room} ${named}${isComplete ? '' : ' incomplete'}`
}

describe('Hub with presence', () => {
  describe('#presence', () => {
    it('lists each user once, with the number of connections', async () => {
      const { hub, enter } = await servePresence()
      await enter('ann', 'a')
      await enter('ann', 'a')
      await enter('bob', 'a', 'b')
      expect(usersOf(hub, 'a')).toBe('ann:2 bob:1')
      expect(hub.presence('a')).toMatchObject({ count: 2, isComplete: true })
      expect(usersOf(hub, 'b')).toBe('bob:1')
    })

    it('sees a connection in the turn in which it joins and leaves', async () => {
      const { hub, enter } = await servePresence({ leaveGraceMs: 0 })
      const { connection } = await enter('ann')
      hub.joinRoom(connection, 'a')
      expect(usersOf(hub, 'a')).toBe('ann:1')
      hub.leaveRoom(connection, 'a')
      expect(usersOf(hub, 'a')).toBe('')
    })

    it('counts a connection without a user, and does not list it', async () => {
      const { hub, enter } = await servePresence()
      await enter(undefined, 'a')
      await enter('ann', 'a')
      expect(usersOf(hub, 'a')).toBe('ann:1')
      expect(hub.presence('a').count).toBe(2)
    })

    it('is empty and complete for a room without a connection', async () => {
      const { hub } = await servePresence()
      expect(hub.presence('a')).toEqual({ members: [], count: 0, isComplete: true })
    })

    it('counts the connections of a room of the mode count, and asks for no user', async () => {
      const asked: string[] = []
      const { hub, enter } = await servePresence({
        user: ({ id }) => {
          asked.push(id)
          return 'ann'
        },
      })
      await enter('ann', 'count')
      await enter('ann', 'count')
      expect(hub.presence('count')).toEqual({ members: [], count: 2, isComplete: true })
      expect(asked).toEqual([])
    })

    it('counts only above maxMembersPerRoom, and says so', async () => {
      const { hub, enter, changes } = await servePresence({ maxMembersPerRoom: 3, leaveGraceMs: 0 })
      for (const user of ['ann', 'bob', 'cid', 'cid']) await enter(user, 'a')
      const { connection } = await enter('dan', 'a')
      expect(hub.presence('a')).toEqual({ members: [], count: 4, isComplete: false })
      await changes.first('the change that is not complete', ({ isComplete }) => !isComplete)
      expect(changes.all.map(brief).at(-1)).toBe('a =4 incomplete')
      // It lists its users again when they are at most three quarters of the limit.
      hub.disconnect((other) => /cid|dan/.test(`${other.getMetadata('user')}`))
      expect(connection.state).toBe('closing')
      await changes.until('a complete change after that', (all) => all.at(-1)?.isComplete === true)
      expect(changes.all.map(brief).at(-1)).toBe('a =2')
      expect(usersOf(hub, 'a')).toBe('ann:1 bob:1')
    })

    it('throws for a room without presence, and for a hub without the option', async () => {
      const { hub } = await servePresence()
      const code = 'WSHUB_ERR_NO_PRESENCE'
      expect(thrownBy(() => hub.presence('plain'))).toMatchObject({ code })
      expect(thrownBy(() => new Hub().presence('a'))).toMatchObject({ code })
      expect(thrownBy(() => hub.presence(''))).toMatchObject({ code: 'WSHUB_ERR_INVALID_ROOM' })
      await expect(hub.presenceSettled('plain')).rejects.toMatchObject({ code })
      expect(await hub.presenceSettled('a')).toBe(true)
    })

    it('has the info of the latest connection, as JSON carries it, frozen', async () => {
      const infos = [{ at: new Date(0), no: undefined }, { name: 'Ann' }]
      const { hub, enter } = await servePresence({ info: () => infos.shift() })
      await enter('ann', 'a')
      expect(hub.presence('a').members[0]?.info).toEqual({ at: '1970-01-01T00:00:00.000Z' })
      await enter('ann', 'a')
      const [member] = hub.presence('a').members
      expect(member).toEqual({ user: 'ann', info: { name: 'Ann' }, connections: 2 })
      expect(Object.isFrozen(member) && Object.isFrozen(member?.info)).toBe(true)
    })

    it('does not change with an info that the application changes afterwards', async () => {
      const info = { name: 'Ann' }
      const { hub, enter } = await servePresence({ info: () => info })
      await enter('ann', 'a')
      info.name = 'Eve'
      expect(hub.presence('a').members[0]?.info).toEqual({ name: 'Ann' })
    })

    it('is typed by the metadata, and its infos as the caller says', () => {
      const hub = new Hub<{ userId: string; age: number }>({
        presence: {
          rooms: () => 'members',
          user: (connection) => {
            expectTypeOf(connection.getMetadata('age')).toEqualTypeOf<number | undefined>()
            return connection.getMetadata('userId')
          },
        },
      })
      expectTypeOf(hub.presence<{ name: string }>('a')).toEqualTypeOf<RoomPresence<{ name: string }>>()
      expectTypeOf(hub.presence('a')).toEqualTypeOf<RoomPresence<unknown>>()
    })
  })

  describe('the option onChange', () => {
    it('is called once a turn and room, with all who have joined in it', async () => {
      const { hub, enter, changes } = await servePresence()
      const all = [await enter('ann'), await enter('bob'), await enter('ann')]
      for (const { connection } of all) hub.joinRoom(connection, 'a')
      await changes.until('a change', ({ length }) => length > 0)
      await turn()
      expect(changes.all.map(brief)).toEqual(['a +ann,bob =2'])
    })

    it('names a user as left once the grace is over, and not before', async () => {
      const { enter, changes, hub } = await servePresence({ leaveGraceMs: 50 })
      const { connection } = await enter('ann', 'a')
      await changes.until('ann to join', ({ length }) => length === 1)
      const leftAt = performance.now()
      hub.leaveRoom(connection, 'a')
      expect(usersOf(hub, 'a')).toBe('ann:0')
      await changes.until('ann to leave', ({ length }) => length === 2)
      expect(performance.now() - leftAt).toBeGreaterThan(49)
      expect(changes.all.map(brief)).toEqual(['a +ann =1', 'a -ann =0'])
      expect(usersOf(hub, 'a')).toBe('')
    })

    it('is not called for a user who comes back in time', async () => {
      holdClock({ intervals: false, performance: true })
      const { enter, changes, hub } = await servePresence({ leaveGraceMs: 200 })
      const first = await enter('ann', 'a')
      const marker = await enter('bob', 'a')
      const second = await enter('ann')
      first.connection.terminate()
      await eventually(
        'the connection to end',
        () => hub.size === 2,
        () => hub.size,
      )
      hub.joinRoom(second.connection, 'a')
      hub.leaveRoom(marker.connection, 'a')
      await turn()
      vi.advanceTimersByTime(300)
      await changes.first('bob to leave, who left later', ({ left }) => left.includes('bob'))
      expect(changes.all.flatMap(({ left }) => left)).toEqual(['bob'])
      expect(changes.all.flatMap(({ joined }) => joined.map(({ user }) => user)).sort()).toEqual([
        'ann',
        'bob',
      ])
    })

    it('is not called for a user who comes and goes within a turn', async () => {
      const { enter, changes, hub } = await servePresence()
      const { connection } = await enter('ann')
      hub.joinRoom(connection, 'a')
      hub.leaveRoom(connection, 'a')
      await turn()
      await enter('bob', 'a')
      await changes.until('bob to join', ({ length }) => length > 0)
      expect(changes.all.map(brief)).toEqual(['a +bob =1'])
    })

    it('names an anonymous connection by the count alone, and without a grace', async () => {
      const { enter, changes, hub } = await servePresence({ leaveGraceMs: 60_000 })
      const { connection } = await enter(undefined, 'a', 'count')
      await changes.until('both rooms', ({ length }) => length === 2)
      hub.leaveRoom(connection, ['a', 'count'])
      await changes.until('both rooms again', ({ length }) => length === 4)
      expect(changes.all.map(brief).sort()).toEqual(['a =0', 'a =1', 'count =0', 'count =1'])
    })

    it('that throws is reported', async () => {
      const failure = new Error('no')
      const { enter, faults } = await servePresence({
        onChange: () => {
          throw failure
        },
      })
      await enter('ann', 'a')
      expect(await faults.first('the error', () => true)).toBe(failure)
    })
  })

  describe('#updatePresence', () => {
    it('asks for the info again', async () => {
      const { enter, changes, hub } = await servePresence()
      const { connection } = await enter('ann', 'a', 'b')
      await changes.until('ann to join', ({ length }) => length === 2)
      connection.setMetadata('name', 'Ann')
      expect(hub.updatePresence(connection)).toBe(true)
      await changes.until('two updates', ({ length }) => length === 4)
      expect(changes.all.map(brief).slice(2)).toEqual(['a ~ann =1', 'b ~ann =1'])
      expect(hub.presence('a').members[0]?.info).toEqual({ name: 'Ann' })
    })

    it('changes nothing when the info is the same', async () => {
      const { enter, changes, hub } = await servePresence()
      const { connection } = await enter('ann', 'a')
      await changes.until('ann to join', ({ length }) => length === 1)
      expect(hub.updatePresence(connection)).toBe(true)
      await enter('bob', 'a')
      await changes.until('bob to join', ({ length }) => length === 2)
      expect(changes.all.map(brief)).toEqual(['a +ann =1', 'a +bob =2'])
    })

    it('makes another user of the connection', async () => {
      const { enter, changes, hub } = await servePresence({ leaveGraceMs: 0 })
      const { connection } = await enter(undefined, 'a')
      connection.setMetadata('user', 'ann')
      hub.updatePresence(connection)
      expect(usersOf(hub, 'a')).toBe('ann:1')
      expect(hub.presence('a').count).toBe(1)
      connection.setMetadata('user', 'bob')
      hub.updatePresence(connection)
      await changes.until(
        'ann to leave',
        (all) => all.some(({ left }) => left.includes('ann')) || usersOf(hub, 'a') === 'bob:1',
      )
      expect(usersOf(hub, 'a')).toBe('bob:1')
    })

    it('returns false for a connection in no room, and throws for one of another hub', async () => {
      const { enter, hub } = await servePresence()
      const other = await servePresence()
      const { connection } = await enter('ann')
      expect(hub.updatePresence(connection)).toBe(false)
      hub.joinRoom(connection, 'count')
      expect(hub.updatePresence(connection)).toBe(false)
      expect(thrownBy(() => other.hub.updatePresence(connection))).toMatchObject({
        code: 'WSHUB_ERR_FOREIGN_CONNECTION',
      })
    })
  })

  describe('the options rooms, user and info', () => {
    it('make joinRoom throw when rooms throws, or returns something else', async () => {
      const failure = new Error('no')
      const { hub, enter } = await servePresence({
        rooms: (room) => {
          if (room === 'throws') throw failure
          return (room === 'odd' ? 'everyone' : 'members') as 'members' // as a JavaScript caller may
        },
      })
      const { connection } = await enter('ann')
      const code = 'WSHUB_ERR_INVALID_OPTION'
      expect(thrownBy(() => hub.joinRoom(connection, ['a', 'throws']))).toMatchObject({
        code,
        cause: failure,
      })
      expect(thrownBy(() => hub.joinRoom(connection, 'odd'))).toMatchObject({
        code,
        message: expect.stringContaining('presence.rooms("odd")'),
      })
      expect(connection.rooms.size).toBe(0)
    })

    it.each([
      ['is no string', 7],
      ['is empty', ''],
      ['is too long', 'é'.repeat(129)],
    ])('make a connection anonymous, and report it, when its user %s', async (_what, user) => {
      const { hub, enter, faults } = await servePresence({ user: () => user as string }) // as above
      await enter(undefined, 'a')
      expect(hub.presence('a')).toMatchObject({ members: [], count: 1 })
      expect(await faults.first('the error', () => true)).toMatchObject({ code: 'WSHUB_ERR_PRESENCE' })
    })

    it('make a connection anonymous, and report it, when user is async', async () => {
      const user = (async () => 'ann') as unknown as () => string // as above
      const { hub, enter, faults } = await servePresence({ user })
      await enter(undefined, 'a')
      expect(hub.presence('a')).toMatchObject({ members: [], count: 1 })
      expect(faults.all).toMatchObject([{ code: 'WSHUB_ERR_INVALID_OPTION' }])
    })

    it('make a connection anonymous when user throws', async () => {
      const failure = new Error('no')
      const { hub, enter, faults } = await servePresence({
        user: () => {
          throw failure
        },
      })
      await enter(undefined, 'a')
      expect(hub.presence('a').count).toBe(1)
      expect(faults.all).toEqual([failure])
    })

    it.each([
      ['is too long', 'x'.repeat(2_000)],
      ['has no JSON', 7n],
      ['has a promise in it', { toJSON: () => Promise.reject(new Error('not handled')) }],
      ['has two promises in it', { toJSON: () => [1, 2].map((n) => Promise.reject(new Error(`${n}`))) }],
      ['is circular', Object.assign([], { 0: globalThis })],
    ])('list a user without an info that %s, and report it', async (_what, info) => {
      const { hub, enter, faults } = await servePresence({ info: () => info })
      await enter('ann', 'a')
      expect(hub.presence('a').members).toEqual([{ user: 'ann', info: undefined, connections: 1 }])
      expect(faults.all).toHaveLength(1)
    })

    it('keep users apart whatever Unicode their ids are of', async () => {
      const users = ['\ud800', '\ud801', 'é', 'e\u0301', '__proto__', 'a b', '\0', '𝕏'.repeat(64)]
      const { hub, enter, faults } = await servePresence()
      for (const user of users) await enter(user, 'a')
      expect(hub.presence('a').members.map(({ user }) => user)).toEqual(users)
      expect(faults.all).toEqual([])
    })

    it('may close the connection, or move it, while it joins', async () => {
      const { hub, enter } = await servePresence({
        leaveGraceMs: 0,
        user: (connection) => {
          if (connection.getMetadata('user') === 'ann') connection.hub.leaveRoom(connection, 'a')
          else if (connection.getMetadata('user') === 'bob') connection.terminate()
          else connection.hub.joinRoom(connection, 'b')
          return `${connection.getMetadata('user')}`
        },
      })
      for (const user of ['ann', 'bob', 'cid']) await enter(user, 'a')
      const seen = () => usersOf(hub, 'a')
      await eventually('bob to be closed', () => hub.size === 2 && seen() === 'cid:1', seen)
      expect(usersOf(hub, 'b')).toBe('cid:1')
    })
  })

  it('takes a connection out with the user that it joined with', async () => {
    const { hub, enter } = await servePresence({ leaveGraceMs: 0 })
    const { connection } = await enter('ann', 'a')
    connection.setMetadata('user', 'bob')
    hub.leaveRoom(connection, 'a')
    expect(usersOf(hub, 'a')).toBe('')
    expect(hub.presence('a').count).toBe(0)
  })

  it.each(['a', 'count'])('asks nobody about the room %s when a connection leaves it', async (room) => {
    let isBroken = false
    const { hub, enter, faults } = await servePresence({
      leaveGraceMs: 0,
      rooms: (name) => {
        if (isBroken) throw new Error('no room is known')
        return name.startsWith('count') ? 'count' : name === 'a' || name === 'b' ? 'members' : undefined
      },
    })
    const { connection } = await enter('ann', room, 'b')
    const { client } = await enter('bob', room, 'b')
    for (let n = 0; n < 10_000; n++) thrownBy(() => hub.presence(`forgets ${n}`))
    await turn()
    isBroken = true
    hub.leaveRoom(connection, room)
    client.socket.terminate()
    const seen = () => [hub.roomSize(room), hub.roomSize('b')]
    await eventually('the closed connection to leave', () => `${seen()}` === '0,1', seen)
    isBroken = false
    const known = () => [hub.presence(room).count, usersOf(hub, 'b')]
    await eventually('both to be gone', () => `${known()}` === '0,ann:1', known)
    expect(faults.all).toEqual([])
  })
})
