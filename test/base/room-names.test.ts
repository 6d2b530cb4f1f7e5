import { describe, expect, it } from 'vitest'
import { asRooms } from '../../src/base/room-names.ts'

describe('asRooms', () => {
  it('returns one room as an array, and an array as it is', () => {
    const rooms = ['a', 'b']
    expect(asRooms('a')).toEqual(['a'])
    expect(asRooms(rooms)).toBe(rooms)
    expect(asRooms([])).toEqual([])
  })

  it.each(['', [''], ['a', ''], 7, null, undefined, {}, new Set(['a']), ['a', 7]])('refuses %o', (room) => {
    expect(() => asRooms(room as string)).toThrow(expect.objectContaining({ code: 'WSHUB_ERR_INVALID_ROOM' })) // not a room by its type either
  })
})
