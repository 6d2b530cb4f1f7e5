import { describe, expect, it } from 'vitest'
import { PresenceRoom } from '../../src/presence/presence-room.ts'

const OWN_USERS = 50_000
const NODES = 2_000
/** Visiting each user of the room for each node takes several seconds. */
const MOST_CPU_MS = 500

function snapshot(...users: string[]) {
  const members = users.map((user) => ({ user, connections: 1, stamp: 1, info: '' }))
  return { version: 1, users: users.length, anonymous: 0, isListed: true, members }
}

describe('PresenceRoom', () => {
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
