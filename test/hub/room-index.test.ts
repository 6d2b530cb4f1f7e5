import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RoomIndex } from '../../src/hub/room-index.ts'

const ann = { name: 'ann' }
const bob = { name: 'bob' }

describe('RoomIndex', () => {
  it('knows members by room and rooms by member', () => {
    const index = new RoomIndex<object>()
    expect(index.add(ann, 'tea')).toBe(true)
    expect(index.add(ann, 'tea')).toBe(false)
    index.add(bob, 'tea')
    index.add(ann, 'rum')
    expect([...index.members('tea')]).toEqual([ann, bob])
    expect([...index.roomsOf(ann)]).toEqual(['tea', 'rum'])
    expect(index.has(bob, 'rum')).toBe(false)
  })

  it('reports which rooms are created and which end', () => {
    const log: string[] = []
    const index = new RoomIndex<object>()
    index.watch({
      occupied: (room) => log.push(`+${room}`),
      vacated: (room) => log.push(`-${room}`),
    })
    index.add(ann, 'tea')
    index.add(ann, 'tea')
    index.add(bob, 'tea')
    index.add(bob, 'rum')
    index.remove(ann, 'tea')
    index.remove(ann, 'tea')
    expect(log).toEqual(['+tea', '+rum'])
    index.removeMember(bob)
    index.removeMember(bob)
    expect(log).toEqual(['+tea', '+rum', '-tea', '-rum'])
  })

  it('forgets a room with its last member', () => {
    const index = new RoomIndex<object>()
    index.add(ann, 'tea')
    expect(index.remove(ann, 'tea')).toBe(true)
    expect(index.remove(ann, 'tea')).toBe(false)
    expect(index.names()).toEqual([])
    expect(index.size).toBe(0)
    expect(index.roomsOf(ann).size).toBe(0)
  })

  it('forgets a member with its last room', () => {
    const index = new RoomIndex<object>()
    index.add(ann, 'tea')
    index.add(ann, 'rum')
    index.remove(ann, 'tea')
    expect(index.roomsOf(ann)).not.toBe(index.roomsOf(bob))
    index.remove(ann, 'rum')
    expect(index.roomsOf(ann)).toBe(index.roomsOf(bob)) // the same set for the members of every empty room
  })

  it('returns the rooms of a member that it removes', () => {
    const index = new RoomIndex<object>()
    index.add(ann, 'tea')
    index.add(ann, 'rum')
    index.add(bob, 'tea')
    expect([...index.removeMember(ann)]).toEqual(['tea', 'rum'])
    expect([...index.removeMember(ann)]).toEqual([])
    expect(index.names()).toEqual(['tea'])
  })

  it('unites rooms, each member once', () => {
    const index = new RoomIndex<object>()
    index.add(ann, 'tea')
    index.add(ann, 'rum')
    index.add(bob, 'rum')
    expect([...index.union(['tea', 'rum', 'none'])]).toEqual([ann, bob])
    expect([...index.union([])]).toEqual([])
    expect(index.union(['tea'])).toBe(index.members('tea'))
  })

  it('admits a member to as many rooms as the limit allows, each counted once', () => {
    const index = new RoomIndex<object>()
    const limits = { maxRoomsPerConnection: 3, maxRoomNameBytes: 4 }
    index.add(ann, 'tea')
    index.checkLimits(ann, ['rum', 'ale'], limits)
    index.checkLimits(ann, ['tea', 'rum', 'rum', 'ale', 'ale'], limits)
    expect(() => index.checkLimits(ann, ['rum', 'ale', 'gin'], limits)).toThrow(
      expect.objectContaining({
        code: 'WSHUB_ERR_TOO_MANY_ROOMS',
        message: expect.stringContaining('a connection is in at most 3 rooms'),
      }),
    )
    index.checkLimits(bob, ['rum', 'ale', 'gin'], limits)
    expect(index.names()).toEqual(['tea'])
  })

  it("limits the bytes of a room's name, unless the member is in the room", () => {
    const index = new RoomIndex<object>()
    const limits = { maxRoomsPerConnection: 3, maxRoomNameBytes: 4 }
    index.checkLimits(ann, ['four', 'éé'], limits)
    for (const name of ['fifth', 'ééé']) {
      expect(() => index.checkLimits(ann, ['four', name], limits)).toThrow(
        expect.objectContaining({
          code: 'WSHUB_ERR_INVALID_ROOM',
          message: expect.stringContaining("a room's name has at most 4 bytes"),
        }),
      )
      index.add(ann, name)
      index.checkLimits(ann, ['four', name], limits)
      index.removeMember(ann)
    }
  })

  it('accepts names of object properties as rooms', () => {
    const index = new RoomIndex<object>()
    index.add(ann, '__proto__')
    expect(index.names()).toEqual(['__proto__'])
    expect(index.members('constructor').size).toBe(0)
  })

  it('agrees with a simple model', () => {
    const members = [ann, bob, { name: 'cid' }]
    const rooms = ['tea', 'rum', 'ale']
    const step = fc.record({
      action: fc.constantFrom('add', 'remove', 'removeMember'),
      member: fc.constantFrom(...members),
      room: fc.constantFrom(...rooms),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const index = new RoomIndex<object>()
        const model = new Set<string>()
        for (const { action, member, room } of steps) {
          const pair = `${member.name} ${room}`
          if (action === 'add') {
            expect(index.add(member, room)).toBe(!model.has(pair))
            model.add(pair)
          } else if (action === 'remove') {
            expect(index.remove(member, room)).toBe(model.delete(pair))
          } else {
            const removed = rooms.filter((name) => model.delete(`${member.name} ${name}`))
            expect([...index.removeMember(member)].sort()).toEqual(removed.sort())
          }
          for (const name of rooms) {
            const expected = members.filter((m) => model.has(`${m.name} ${name}`))
            expect(new Set(index.members(name))).toEqual(new Set(expected))
          }
          for (const m of members) {
            expect(new Set(index.roomsOf(m))).toEqual(
              new Set(rooms.filter((r) => model.has(`${m.name} ${r}`))),
            )
            for (const r of rooms) expect(index.has(m, r)).toBe(model.has(`${m.name} ${r}`))
          }
          const alive = rooms.filter((r) => members.some((m) => model.has(`${m.name} ${r}`)))
          expect(index.names().sort()).toEqual(alive.sort())
          expect(index.size).toBe(alive.length)
          expect(index.union(rooms).size).toBe(
            members.filter((m) => rooms.some((r) => model.has(`${m.name} ${r}`))).length,
          )
        }
      }),
    )
  })
})
