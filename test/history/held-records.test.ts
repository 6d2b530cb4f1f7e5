import { describe, expect, it } from 'vitest'
import { HeldRecords } from '../../src/history/held-records.ts'

const BYTES = 262_144
const record = (offset: number) => ({
  epoch: 'e',
  offset,
  previous: offset - 1,
  tag: '',
  record: Buffer.alloc(BYTES),
})

describe('HeldRecords', () => {
  it('holds at most 1 MiB of a room, and 16 MiB of all rooms of a hub', () => {
    const shared = { all: 0 }
    const rooms = Array.from({ length: 30 }, () => new HeldRecords(shared))
    for (const room of rooms) for (let offset = 2; offset < 10; offset++) room.add(record(offset))
    expect(shared.all).toBeLessThanOrEqual(16_777_216)
    expect(rooms[0]?.take({ epoch: 'e', offset: 1, tag: '' }, () => false)).toHaveLength(3)
    const holding = rooms.filter(({ isEmpty }) => !isEmpty).length
    expect(holding).toBeGreaterThan(15)
    expect(holding).toBeLessThan(25)
    for (const room of rooms) room.clear()
    expect(shared.all).toBe(0)
  })
})
