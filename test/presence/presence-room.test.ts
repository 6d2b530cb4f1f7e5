import { describe, expect, it } from 'vitest'
import { PresenceRoom } from '../../src/presence/presence-room.ts'

const OWN_USERS = 50_000
const NODES = 2_000
/** The most users of other nodes that are kept. */
const MOST = 100_000
/** Visiting each user of the room for each node takes several seconds. */
const MOST_CPU_MS = 500

function snapshot(...users: string[]) {
  const members = users.map((user) => ({ user, connections: 1, stamp: 1, info: '' }))
  return { version: 1, users: users.length, anonymous: 0, isListed: true, members }
}

describe('PresenceRoom', () => {
  it('names its users again at three quarters of the limit', () => {
    const room = new PresenceRoom('a', 'members', 'here', 8)
    const users = ['ann', 'bob', 'cid', 'dan', 'eve', 'fay', 'gus', 'hal', 'ida']
    const complete: boolean[] = []
    const tell = (version: number, far: readonly string[]) => {
      room.replace('there', { ...snapshot(...far), version }, version)
      const isComplete = room.takeChange(true, 100, 1, [])?.isComplete
      if (isComplete !== undefined) complete.push(isComplete)
      expect(room.show(true).isComplete).toBe(complete.at(-1))
    }
    tell(1, users.slice(0, 8))
    for (let version = 2; version < 8; version++) tell(version, users.slice(0, version % 2 === 0 ? 9 : 8))
    tell(8, users.slice(0, 7))
    expect(new Set(complete.slice(1))).toEqual(new Set([false]))
    tell(9, users.slice(0, 6))
    expect(room.show(true)).toMatchObject({ count: 6, isComplete: true })
    expect(complete.at(-1)).toBe(true)
  })

  it('is not complete while it does not keep all users, and asks for them when there is space', () => {
    const room = new PresenceRoom('a', 'members', 'here', MOST)
    const users = Array.from({ length: MOST }, (_, i) => `user-${i}`)
    room.replace('one', snapshot(...users), 1)
    expect(room.show(true)).toMatchObject({ count: MOST, isComplete: true })
    room.replace('two', snapshot('ann', 'bob'), 1)
    const take = () => room.takeChange(true, MOST, 1, [])?.isComplete
    expect([take(), room.show(true).isComplete]).toEqual([false, false])
    expect([room.show(true).count, room.announced('two', 1), room.isBehind('two')]).toEqual([
      MOST + 2,
      false,
      false,
    ])
    const half = users.slice(0, MOST / 2)
    expect(room.replace('one', { ...snapshot(...half), version: 2 }, 2)).toBe(true)
    take()
    expect([room.announced('two', 1), room.isBehind('two'), room.announced('one', 2)]).toEqual([
      true,
      true,
      false,
    ])
    expect([take(), room.show(true).isComplete]).toEqual([undefined, false])
    expect(room.replace('two', snapshot('ann', 'bob'), 1)).toBe(true)
    expect([take(), room.show(true).count, room.announced('two', 1)]).toEqual([true, MOST / 2 + 2, false])
  })

  it('forgets a node at the cost of its own users, however many others there are', () => {
    const room = new PresenceRoom('a', 'members', 'here', 100_000)
    for (let i = 0; i < OWN_USERS; i++) room.add({ user: `user-${i}`, info: '' })
    for (let i = 0; i < NODES; i++) room.replace(`node-${i}`, snapshot(`user-${i}`, `far-${i}`), 1)
    const before = process.cpuUsage()
    for (let i = 0; i < NODES; i++) expect(room.forget(`node-${i}`)).toBe(true)
    const { user, system } = process.cpuUsage(before)
    expect((user + system) / 1_000).toBeLessThan(MOST_CPU_MS)
    const { members } = room.show(true)
    expect([members.length, members.every(({ connections }) => connections === 1)]).toEqual([OWN_USERS, true])
  })
})
