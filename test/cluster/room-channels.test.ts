import { describe, expect, it, onTestFinished } from 'vitest'
import { Hub, type HubErrorCode } from 'wshub'
import { Bus } from '../support/bus.ts'
import { enter, FAST, heard, join, three } from '../support/cluster.ts'
import { eventually } from '../support/hub-server.ts'
import { quiet } from './envelopes.ts'

const hubError = (code: HubErrorCode) => expect.objectContaining({ name: 'HubError', code })

describe('the channels of rooms', () => {
  it('the channel of a room is subscribed while the room has a member, and for roomGraceMs', async () => {
    const a = await join(new Bus(), { roomGraceMs: 60 })
    a.hub.joinRoom(a.connection, 'tea')
    expect(a.backplane.channels.has('wshub.r.tea')).toBe(true)
    a.hub.leaveRoom(a.connection, 'tea')
    expect(a.backplane.channels.has('wshub.r.tea')).toBe(true)
    await eventually(
      'the channel to be left',
      () => !a.backplane.channels.has('wshub.r.tea'),
      () => [...a.backplane.channels],
    )
    expect(a.hub.cluster.stats().rooms).toBe(0)
  })

  it('members who come and go cause no subscriptions', async () => {
    const a = await join(new Bus(), { roomGraceMs: 10_000 })
    await eventually(
      'all subscriptions',
      () => a.backplane.channels.has('wshub.a'),
      () => [...a.backplane.channels],
    )
    const before = { ...a.backplane.asked }
    for (let i = 0; i < 1_000; i++) {
      a.hub.joinRoom(a.connection, 'tea')
      a.hub.leaveRoom(a.connection, 'tea')
    }
    expect(a.backplane.asked).toEqual({ ...before, subscribe: before.subscribe + 1 })
  })

  it('the subscription of a room ends after its last connection closes', async () => {
    const a = await join(new Bus(), { roomGraceMs: 0 })
    a.hub.joinRoom(a.connection, ['tea', 'rum'])
    await a.client.close()
    const own = ['wshub.c', `wshub.n.${a.hub.cluster.node}`]
    await eventually(
      'only the node’s own channels to be left',
      () => a.backplane.channels.size === 2,
      () => [...a.backplane.channels],
    )
    expect([...a.backplane.channels].sort()).toEqual(own.sort())
  })

  it('rooms with any Unicode names are never mixed up', async () => {
    const nodes = await three(new Bus())
    const [a, b] = nodes
    const names = [
      'é',
      'e\u0301',
      '茶',
      '🍵',
      '\ud800',
      '\ud801',
      'a.b',
      'a_2eb',
      'x'.repeat(500),
      ' ',
      '*',
      '>',
    ]
    for (const [i, name] of names.entries()) if (i % 2 === 0) await enter(b, name)
    for (const name of names) a.hub.broadcastToRoom(name, name)
    const [, received] = await heard(nodes)
    expect(received).toEqual(names.filter((_, i) => i % 2 === 0).map((name) => Buffer.from(name).toString()))
  })

  it('rooms of two namespaces never share messages', async () => {
    const bus = new Bus()
    const a = await join(bus, { namespace: 'one' })
    const b = await join(bus, { namespace: 'two' })
    await enter(a, 'tea')
    await enter(b, 'tea')
    a.hub.broadcast('1')
    a.hub.broadcastToRoom('tea', '2')
    a.hub.sendTo(b.connection.id, '3')
    await quiet()
    b.hub.broadcast('end')
    expect(await b.client.upTo('end')).toEqual([])
    expect(a.client.received.all).toEqual(['1', '2'])
    expect((await a.hub.cluster.nodes()).results).toHaveLength(1)
  })

  it('a subscription that the engine has refused is tried again', async () => {
    const nodes = await three(new Bus())
    const [a, b] = nodes
    b.backplane.refuse = (channel) => channel.endsWith('tea')
    b.hub.joinRoom(b.connection, 'tea')
    const fault = await b.faults.first('the refusal', () => true)
    expect(fault).toEqual(hubError('WSHUB_ERR_BACKPLANE'))
    expect(fault.cause).toEqual(new Error('no permission for wshub.r.tea'))
    b.backplane.refuse = () => false
    await eventually(
      'another try',
      () => b.backplane.channels.has('wshub.r.tea'),
      () => [...b.backplane.channels],
    )
    a.hub.broadcastToRoom('tea', 'x')
    expect((await heard(nodes))[1]).toEqual(['x'])
  })
})

describe('a hub without connections', () => {
  it('a hub without connections publishes, counts and calls, and subscribes to no messages', async () => {
    const bus = new Bus()
    const nodes = await three(bus)
    await enter(nodes[1], 'tea')
    const backplane = bus.backplane()
    const publisher = new Hub({ backplane, cluster: FAST })
    onTestFinished(() => void publisher.close())
    await publisher.cluster.ready()
    await eventually(
      'the publisher to know the others',
      () => publisher.cluster.stats().nodes === 4,
      () => publisher.cluster.stats(),
    )
    expect(publisher.broadcastToRoom('tea', '1')).toBe(0)
    publisher.broadcast('2')
    publisher.sendTo(nodes[2].connection.id, '3')
    expect(await publisher.cluster.roomSize('tea')).toMatchObject({ count: 1, missing: [] })
    nodes[0].hub.broadcastToRoom('tea', '4')
    expect(await heard(nodes)).toEqual([['2'], ['1', '2', '4'], ['2', '3']])
    expect([...backplane.channels].sort()).toEqual(['wshub.c', `wshub.n.${publisher.cluster.node}`])
    await publisher.close()
    expect(backplane.state).toBe('closed')
  })
})
