import { describe, expect, it } from 'vitest'
import { RoomChanges } from '../../src/presence/room-changes.ts'
import type { RoomMember } from '../../src/presence/room-member.ts'
import { Roster } from '../../src/presence/roster.ts'
import { finished } from './finished.ts'

const MANY = 1_000

describe('RoomChanges', () => {
  it('tells nothing of a user who is back before the application was told of the leave', () => {
    const roster = new Roster('members', 'here', MANY)
    const changes = new RoomChanges(roster)
    const there = roster.share('there')
    const leaving: RoomMember[] = []
    const put = (version: number, connections: number, info: string) => {
      const users = Math.min(connections, 1)
      const members = [{ user: 'ann', connections, stamp: version, info }]
      finished(roster.putting(there, { version, users, anonymous: 0, isListed: true, members }))
    }
    const leaveAndCome = (version: number, info: string) => {
      put(version, 0, '')
      expect(changes.take(true, MANY, version, leaving)).toBeUndefined()
      for (const member of leaving.splice(0)) expect(changes.leave(member, version)).toBe(true)
      put(version + 1, 1, info)
      return changes.take(true, MANY, version + 1, leaving)
    }
    put(1, 1, '1')
    changes.take(true, MANY, 1, leaving)
    expect(leaveAndCome(2, '1')).toBeUndefined()
    expect(leaveAndCome(4, '2')).toMatchObject({ joined: [], left: [], updated: [{ user: 'ann', info: 2 }] })
  })

  it('has a user leave who was back for a moment just when the grace period ended', () => {
    const roster = new Roster('members', 'here', MANY)
    const changes = new RoomChanges(roster)
    const there = roster.share('there')
    const leaving: RoomMember[] = []
    const put = (version: number, connections: number) => {
      const users = Math.min(connections, 1)
      const members = [{ user: 'ann', connections, stamp: 1, info: '{}' }]
      finished(roster.putting(there, { version, users, anonymous: 0, isListed: true, members }))
    }
    put(1, 1)
    expect(changes.take(true, MANY, 10, leaving)).toMatchObject({ joined: [{ user: 'ann' }], count: 1 })
    put(2, 0)
    expect(changes.take(true, MANY, 20, leaving)).toBeUndefined()
    const [ann] = leaving.splice(0)
    if (ann === undefined) throw new Error('her grace period has begun')
    put(3, 1)
    expect(changes.leave(ann, 20)).toBe(false)
    put(4, 0)
    changes.take(true, MANY, 30, leaving)
    expect(leaving).toEqual([ann])
    expect(changes.leave(ann, 30)).toBe(true)
    expect(changes.take(true, MANY, 40, leaving)).toMatchObject({ left: ['ann'], count: 0 })
  })
})
