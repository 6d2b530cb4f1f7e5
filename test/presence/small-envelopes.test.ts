import { describe, expect, it } from 'vitest'
import { Bus } from '../support/bus.ts'
import { eventually } from '../support/hub-server.ts'
import { agreed, two } from './support.ts'

/** The least that `cluster.maxEnvelopeBytes` may be. */
const SMALL = 1_024

function listed(users: readonly string[]): string {
  return users
    .map((user) => `${user}:1`)
    .sort()
    .join(' ')
}

describe('Presence with small envelopes', () => {
  it('is complete for more rooms than one message names', async () => {
    const bus = new Bus()
    const cluster = { maxEnvelopeBytes: SMALL, heartbeatTimeoutMs: 20_000, callTimeoutMs: 20_000 }
    const [x, y] = await two(bus, {}, cluster)
    const rooms = Array.from({ length: 300 }, (_, i) => `room of many ${i} ☺`)
    await x.enter('ann', ...rooms)
    await y.enter('bob', ...rooms)
    const isShared = (room: string) => {
      const { members, isComplete } = y.hub.presence(room)
      return members.length === 2 && isComplete
    }
    const shared = () => rooms.filter(isShared).length
    await eventually(
      'all rooms to be complete',
      () => shared() === rooms.length,
      () => [shared(), ...x.faults.all],
    )
    expect([...x.faults.all, ...y.faults.all]).toEqual([])
    expect(Math.max(...bus.published.map(({ bytes }) => bytes.length))).toBeLessThanOrEqual(SMALL)
  })

  it('is complete for more users than one message names, whose infos are as long as they may be', async () => {
    const bus = new Bus()
    const options = { maxInfoBytes: 128, info: () => `☺${'x'.repeat(123)}` }
    const [x, y] = await two(bus, options, { maxEnvelopeBytes: SMALL, heartbeatTimeoutMs: 20_000 })
    const users = Array.from({ length: 20 }, (_, i) =>
      `${'ü'.repeat(126)}${String(i).padStart(2, '0')}☺`.slice(-127),
    )
    const connections = []
    for (const user of users) connections.push((await x.enter(user)).connection)
    await y.enter('first', 'a')
    await agreed([x, y], 'a', 'first:1')
    for (const connection of connections) x.hub.joinRoom(connection, ['a', 'b'])
    await agreed([x, y], 'b', listed(users))
    await agreed([x, y], 'a', listed([...users, 'first']))
    expect([...x.faults.all, ...y.faults.all]).toEqual([])
    expect(Math.max(...bus.published.map(({ bytes }) => bytes.length))).toBeLessThanOrEqual(SMALL)
  })
})
