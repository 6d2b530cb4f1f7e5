import { describe, expect, it } from 'vitest'
import { Hub } from 'wshub'
import { Bus } from '../support/bus.ts'
import { agreed, presenceOf, servePresence, two } from './support.ts'

describe('hub.stats().presence', () => {
  it('is undefined without the option, and begins with zeros', () => {
    expect(new Hub().stats().presence).toBeUndefined()
    const hub = new Hub({ presence: { rooms: () => 'members' } })
    expect(hub.stats().presence).toEqual({ rooms: 0, members: 0, changes: 0, repairs: 0 })
  })

  it('counts rooms, their users once for each room, and the changes told', async () => {
    const { hub, enter, changes } = await servePresence()
    const { connection } = await enter('ann', 'a', 'b')
    await enter('ann', 'a')
    await enter('bob', 'a', 'count')
    await enter(undefined, 'a', 'plain')
    await changes.first('all', ({ room, count }) => room === 'a' && count === 3)
    expect(hub.stats().presence).toMatchObject({ rooms: 3, members: 3, repairs: 0 })
    hub.leaveRoom(connection, 'b')
    await changes.first('the room to be empty', ({ room, left }) => room === 'b' && left.length === 1)
    expect(hub.stats().presence).toEqual({ rooms: 2, members: 2, changes: changes.all.length, repairs: 0 })
  })

  it('counts the questions about changes that were lost, which are a gap of their room, too', async () => {
    const [x, y] = await two(new Bus())
    await y.enter('bob', 'a')
    await x.enter('ann', 'a')
    await agreed([x, y], 'a', 'ann:1 bob:1')
    const before = y.hub.stats().presence?.repairs ?? 0
    y.backplane.drop = (_channel, bytes) => presenceOf(bytes)?.op === 'delta'
    await x.enter('cid', 'a')
    await agreed([x, y], 'a', 'ann:1 bob:1 cid:1')
    expect(y.hub.stats().presence).toMatchObject({ rooms: 1, members: 3, repairs: before + 1 })
    y.backplane.drop = () => false
    await x.enter('dan', 'a')
    await agreed([x, y], 'a', 'ann:1 bob:1 cid:1 dan:1')
    expect(y.gaps.all).toEqual([{ node: x.hub.cluster.node, scope: 'room', room: 'a', count: 1 }])
  })
})
