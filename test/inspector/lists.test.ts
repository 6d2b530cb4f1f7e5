import { describe, expect, it, onTestFinished } from 'vitest'
import { type Connection, Hub } from 'wshub'
import { Traffic } from '../../adapters/inspector/traffic.ts'
import { Bus } from '../support/bus.ts'
import { FAST } from '../support/cluster.ts'
import { HOSTILE, inspected, messageOf, Page, view } from './inspected.ts'

/** Two nodes that know each other. */
async function two() {
  const bus = new Bus()
  const make = () => new Hub({ backplane: bus.backplane(), cluster: FAST })
  const one = await inspected(view, make())
  const other = await inspected({ ...view, metadata: () => ({ name: HOSTILE }) }, make())
  await Promise.all([one.hub.cluster.ready(), other.hub.cluster.ready()])
  return { one, other }
}

const only = (hub: Hub): Connection => {
  const [connection] = hub.connections()
  if (connection === undefined) throw new Error('no connection')
  return connection
}

describe('the lists of an inspector', () => {
  it('find rooms and clients of all nodes by a search, also by metadata', async () => {
    const { one, other } = await two()
    await other.client()
    const connection = only(other.hub)
    other.hub.joinRoom(connection, ['red', 'b.ue', 'blue'])
    const page = await Page.open(one.port)
    page.view({ search: 'B.U' }) // not a pattern
    const { rooms, clients } = await page.shows('the room', ({ rooms }) => rooms.rows.length === 1)
    expect(rooms).toMatchObject({ rows: [{ room: 'b.ue', size: 1 }], matching: 1, pages: 1 })
    expect(clients.rows).toMatchObject([
      { id: connection.id, rooms: ['red', 'b.ue', 'blue'], metadata: JSON.stringify({ name: HOSTILE }) },
    ])
    page.view({ search: 'ONERROR' })
    await page.shows('the client alone', ({ rooms, clients: { rows } }) => {
      return rooms.rows.length === 0 && rows.length === 1 && rows[0]?.id === connection.id
    })
  })

  it('add up the members of a room on all nodes, also where it is not among the largest', async () => {
    const { one, other } = await two()
    await one.client()
    await other.client()
    const small = Array.from({ length: 30 }, (_, n) => `small ${n}`)
    other.hub.joinRoom(only(other.hub), [...small, 'shared'])
    one.hub.joinRoom(only(one.hub), 'shared')
    const page = await Page.open(one.port)
    const { rooms } = await page.shows('its size', ({ rooms }) => rooms.rows[0]?.size === 2)
    expect(rooms.rows[0]?.room).toBe('shared')
  })

  it('count what is delivered to each room, and put the busiest first', async () => {
    const { one, other } = await two()
    const near = await one.client()
    const far = await other.client()
    one.hub.joinRoom(only(one.hub), ['quiet', 'busy'])
    await other.hub.cluster.join({ id: only(other.hub).id }, 'busy')
    const page = await Page.open(one.port)
    page.view({ roomOrder: 'traffic' })
    await page.shows('a snapshot') // counts from now on
    let sent = 0
    const timer = setInterval(() => one.hub.broadcastToRoom('busy', `${sent++}`), 20)
    try {
      const { rooms } = await page.shows('traffic of both nodes', ({ rooms }) => {
        const [{ messages = 0, deliveries = 0 } = {}] = rooms.rows
        return messages > 0 && deliveries > messages * 1.5
      })
      expect(rooms.rows.map(({ room }) => room)).toEqual(['busy', 'quiet'])
      expect(rooms.rows[1]).toMatchObject({ messages: 0, deliveries: 0, bytes: 0 })
    } finally {
      clearInterval(timer)
    }
    expect([near.received.all[0], far.received.all[0]]).toEqual(['0', '0'])
  })

  it('turn their pages, in each order', async () => {
    const { hub, port, client } = await inspected(view)
    await client()
    const connection = only(hub)
    const names = Array.from({ length: 60 }, (_, n) => `room ${n}`)
    hub.joinRoom(connection, names)
    const page = await Page.open(port)
    const seen: string[] = []
    for (const roomPage of [0, 1, 2]) {
      page.view({ roomPage })
      const from = names[roomPage * 25]
      const { rooms } = await page.shows(`page ${roomPage}`, ({ rooms }) => rooms.rows[0]?.room === from)
      expect(rooms).toMatchObject({ matching: 60, pages: 3 })
      seen.push(...rooms.rows.map(({ room }) => room))
    }
    expect(seen).toEqual(names)
    hub.leaveRoom(connection, names.slice(10))
    const { rooms: fewer } = await page.shows('the last page of fewer', ({ rooms }) => rooms.pages === 1)
    expect(fewer).toMatchObject({ page: 0, matching: 10 })
    expect(fewer.rows).toHaveLength(10)
    page.view({ clientOrder: 'newest' })
    const newest = await page.shows(
      'the page itself first',
      ({ clients }) => clients.rows[0]?.isInspector === true,
    )
    expect(newest.clients.rows[1]).toMatchObject({ id: connection.id })
    expect(newest.clients.rows[1]?.ageMs).toBeLessThanOrEqual(Date.now() - connection.openedAt + 100)
    page.view({ clientOrder: 'oldest' })
    await page.shows('the client first', ({ clients }) => clients.rows[0]?.id === connection.id)
  })

  it('are searched in short turns, however slow metadata is', async () => {
    let calls = 0
    let longest = 0
    const metadata = ({ id }: Connection<object>) => {
      calls++
      const start = performance.now()
      while (performance.now() - start < 4) {}
      return { user: `user ${id}` }
    }
    const { hub, port, client } = await inspected({ ...view, metadata })
    await Promise.all(Array.from({ length: 300 }, () => client()))
    const page = await Page.open(port)
    await page.shows('the clients', ({ clients }) => clients.matching === 301)
    calls = 0
    const timer = setInterval(() => {
      longest = Math.max(longest, calls)
      calls = 0
    })
    onTestFinished(() => clearInterval(timer))
    page.view({ search: `user ${only(hub).id}` })
    await page.client.received.first('a search', (json) => messageOf(json).isSearching === true)
    const found = await page.shows('one', ({ clients }) => clients.matching === 1)
    expect(found).toMatchObject({ isSearching: false, clients: { rows: [{ id: only(hub).id }] } })
    expect(longest).toBeLessThan(30)
  })

  it('are not taken from the application by what it sends to everyone', async () => {
    const { hub, port } = await inspected(view)
    const page = await Page.open(port)
    hub.broadcast(JSON.stringify({ nodes: [], token: 'guessed' }))
    const { token } = await page.shows('a message with another token', ({ token }) => token !== 't')
    expect(token).toBe('guessed') // which the page ignores: see the test in Chromium
  })

  it('say how much is delivered to rooms that are too many to be counted', () => {
    const traffic = new Traffic()
    const names = Array.from({ length: 20_003 }, (_, n) => `${n}`)
    for (const name of names) traffic.count([name], 2, 10)
    traffic.turn(1)
    expect([traffic.uncounted, traffic.bytesOf('19999'), traffic.bytesOf('20000')]).toEqual([6, 20, 0])
    traffic.turn(1)
    expect(traffic.uncounted).toBe(0)
  })
})
