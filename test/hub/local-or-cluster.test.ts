import { describe, expect, it } from 'vitest'
import { Bus } from '../support/bus.ts'
import { enter, join } from '../support/cluster.ts'

/** Two nodes; the only member of the room is a client of the other one. */
async function pair() {
  const bus = new Bus()
  const here = await join(bus)
  const there = await join(bus)
  await enter(there, 'user:7')
  return { here: here.hub, there }
}

// The table of docs/cluster.md.
describe('what a hub does over a backplane', () => {
  it('reaches a user anywhere through a room named after the user', async () => {
    const { here, there } = await pair()
    expect(here.broadcastToRoom('user:7', 'hello')).toBe(0) // none in this process
    here.broadcastToRoom('user:7', 'end')
    expect(await there.client.upTo('end')).toEqual(['hello'])
    expect((await here.cluster.roomSize('user:7')).count).toBe(1)
    expect((await here.cluster.members('user:7')).results).toEqual([
      { id: there.connection.id, metadata: {} },
    ])
  })

  it('searches, counts and joins only in this process without hub.cluster', async () => {
    const { here, there } = await pair()
    expect(here.getConnection(there.connection.id)).toBeUndefined()
    expect(here.members('user:7')).toEqual([])
    expect(here.roomSize('user:7')).toBe(0)
    expect(here.rooms()).toEqual([])
    expect(here.size).toBe(1)
    expect(here.connections()).toHaveLength(1)
  })

  it('disconnects only in this process without hub.cluster', async () => {
    const { here, there } = await pair()
    expect(here.disconnect('user:7', 4403, 'banned')).toBe(0)
    expect(there.connection.state).toBe('open')
    expect((await here.cluster.disconnect({ room: 'user:7' }, 4403, 'banned')).count).toBe(1)
    expect(there.connection.state).not.toBe('open')
  })
})
