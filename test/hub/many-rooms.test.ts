import { describe, expect, it } from 'vitest'
import { memoryHistory } from 'wshub'
import { Journal, serve } from '../support/hub-server.ts'

/** More rooms than those whose rules are remembered. */
const MANY = 10_500

/** Returns a function that an application might give, which fails when it is asked for a room again. */
function asksOnce<Rule>(rule: Rule): (room: string) => Rule {
  const asked = new Set<string>()
  return (room) => {
    if (asked.has(room)) throw new Error(`asked again for ${room}`)
    asked.add(room)
    return rule
  }
}

describe('A connection that joins very many rooms at once', () => {
  it('is in all of them or in none, whatever the application says of a room the second time', async () => {
    const faults = new Journal<Error>()
    const { hub, connect } = await serve({
      limits: { maxRoomsPerConnection: MANY },
      presence: { rooms: asksOnce('members' as const), user: () => 'ann' },
      history: { store: memoryHistory(), rooms: asksOnce({ maxMessages: 2 }) },
      onError: (error) => faults.push(error),
    })
    const { connection } = await connect()
    const rooms = Array.from({ length: MANY }, (_, index) => `room ${index}`)
    expect(hub.joinRoom(connection, rooms)).toBe(true)
    expect(connection.rooms.size).toBe(MANY)
    expect(hub.stats().history?.rooms).toBe(MANY)
    expect(hub.broadcastToRoom(rooms, 'to all')).toBe(1)
    expect(faults.all).toEqual([])
  })
})
