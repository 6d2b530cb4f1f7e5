import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Gap, HubErrorCode } from 'wshub'
import { openEnvelope } from '../../src/cluster/wire/envelope.ts'
import { Bus } from '../support/bus.ts'
import { type ClusterNode, enter, heard, join, three, untilState } from '../support/cluster.ts'
import { eventually } from '../support/hub-server.ts'
import { quiet } from './envelopes.ts'

const hubError = (code: HubErrorCode) => expect.objectContaining({ name: 'HubError', code })

describe('what is lost', () => {
  const lostIn = (room: string, node: ClusterNode, count: number): Gap => ({
    node: node.hub.cluster.node,
    scope: 'room',
    room,
    count,
  })

  it('a gap is reported with the room, the count and the node, and counted', async () => {
    const nodes = await three(new Bus())
    const [a, b, c] = nodes
    await enter(b, 'tea')
    await enter(c, 'tea')
    const heardGaps: unknown[] = []
    const listener = (message: unknown) => heardGaps.push(message)
    subscribe('wshub:gap', listener)
    onTestFinished(() => void unsubscribe('wshub:gap', listener))
    b.backplane.drop = (_channel, bytes) => /^lost/.test(bytes.subarray(-5).toString())
    for (const text of ['1', 'lost1', 'lost2', '2', '3', 'lost3', '4']) a.hub.broadcastToRoom('tea', text)
    expect((await heard(nodes)).slice(1)).toEqual([
      ['1', '2', '3', '4'],
      ['1', 'lost1', 'lost2', '2', '3', 'lost3', '4'],
    ])
    expect(b.gaps.all).toEqual([lostIn('tea', a, 2), lostIn('tea', a, 1)])
    expect(heardGaps).toEqual(b.gaps.all.map((gap) => ({ hub: b.hub, gap })))
    expect(b.hub.cluster.stats().lost).toBe(3)
    expect(c.gaps.all).toEqual([])
  })

  it('a gap has a scope: a room, everyone, or one connection', async () => {
    const nodes = await three(new Bus())
    const [a, b] = nodes
    await enter(b, 'tea', 'rum')
    const node = a.hub.cluster.node
    let isDropping = false
    b.backplane.drop = (channel) => isDropping && channel !== 'wshub.c'
    for (const drops of [false, true, false]) {
      isDropping = drops
      a.hub.broadcast('x')
      a.hub.broadcastToRoom('tea', 'x')
      a.hub.broadcastToRoom(['tea', 'rum'], 'x')
      a.hub.sendTo(b.connection.id, 'x')
      await quiet()
    }
    expect(b.gaps.all).toEqual([
      { node, scope: 'everyone', room: undefined, count: 1 },
      { node, scope: 'room', room: 'tea', count: 2 },
      { node, scope: 'room', room: 'rum', count: 1 },
      { node, scope: 'direct', room: undefined, count: 1 },
    ])
  })

  it('messages that the backplane rejects are a gap for the other nodes', async () => {
    const nodes = await three(new Bus())
    const [a, b] = nodes
    await enter(b, 'tea')
    a.hub.broadcastToRoom('tea', '1')
    a.backplane.isFull = true
    a.hub.broadcastToRoom('tea', '2')
    a.hub.broadcastToRoom('tea', '3')
    a.backplane.isFull = false
    a.hub.broadcastToRoom('tea', '4')
    expect((await heard(nodes))[1]).toEqual(['1', '4'])
    expect(b.gaps.all).toEqual([lostIn('tea', a, 2)])
    expect(a.hub.cluster.stats().unpublished).toBe(2)
    expect(a.faults.all[0]).toEqual(hubError('WSHUB_ERR_BACKPLANE'))
  })

  it('messages that are too long for an envelope are a gap for the other nodes', async () => {
    const nodes = await three(new Bus(), { maxEnvelopeBytes: 2_000 })
    const [a, b] = nodes
    await enter(b, 'tea')
    a.hub.broadcastToRoom('tea', '1')
    a.hub.broadcastToRoom('tea', 'x'.repeat(2_000))
    a.hub.broadcastToRoom('tea', '2')
    expect((await heard(nodes))[1]).toEqual(['1', '2'])
    expect(b.gaps.all).toEqual([lostIn('tea', a, 1)])
    expect(a.faults.all).toEqual([hubError('WSHUB_ERR_ENVELOPE_TOO_BIG')])
  })

  it('a gap is reported after the publisher was disconnected, though nothing more is published', async () => {
    const nodes = await three(new Bus())
    const [a, b] = nodes
    await enter(b, 'tea')
    a.hub.broadcastToRoom('tea', '1')
    await b.client.received.first('the first', (text) => text === '1')
    a.backplane.cut()
    a.hub.broadcastToRoom('tea', '2')
    a.hub.broadcastToRoom('tea', '3')
    a.backplane.restore()
    await b.gaps.first('the gap', ({ room }) => room === 'tea')
    expect(b.gaps.all).toEqual([lostIn('tea', a, 2)])
  })

  it('a gap is reported after the receiver was disconnected, though nothing more is published', async () => {
    const nodes = await three(new Bus())
    const [a, b] = nodes
    await enter(b, 'tea')
    a.hub.broadcastToRoom('tea', '1')
    await b.client.received.first('the first', (text) => text === '1')
    b.backplane.cut()
    a.hub.broadcastToRoom('tea', '2')
    b.backplane.restore()
    await b.gaps.first('the gap', ({ room }) => room === 'tea')
    expect(b.gaps.all).toEqual([lostIn('tea', a, 1)])
    a.hub.broadcastToRoom('tea', '3')
    expect((await heard(nodes))[1]).toEqual(['1', '3'])
    expect(b.gaps.all).toHaveLength(1)
  })

  it('the checkpoints of many rooms are published in batches', async () => {
    const bus = new Bus()
    const [a, b] = await three(bus)
    const rooms = 2_000
    for (let i = 0; i < rooms; i++) a.hub.broadcastToRoom(`room ${i}`, 'x')
    const marks = () =>
      bus.published.filter(
        ({ by, channel, bytes }) =>
          by === a.backplane && channel.includes('.r.') && openEnvelope(bytes).kind === 'checkpoint',
      ).length
    b.backplane.cut()
    await untilState(b, 'reconnecting')
    b.backplane.restore()
    let [told, most] = [0, 0]
    await eventually(
      'all rooms to be told',
      () => {
        const now = marks()
        most = Math.max(most, now - told)
        told = now
        return told >= rooms
      },
      () => ({ told, most }),
    )
    expect(most).toBeLessThanOrEqual(rooms / 4)
  })

  it('a gap is reported after the engine was down, and everything flows again', async () => {
    const bus = new Bus()
    const nodes = await three(bus)
    const [a, b, c] = nodes
    for (const node of nodes) await enter(node, 'tea')
    a.hub.broadcastToRoom('tea', '1')
    b.hub.broadcastToRoom('tea', '2')
    await c.client.received.until('both', (all) => all.length === 2)
    await a.client.received.until('both', (all) => all.length === 2)
    bus.stop()
    a.hub.broadcastToRoom('tea', '3')
    b.hub.broadcastToRoom('tea', '4')
    await quiet()
    bus.start()
    for (const node of nodes) await untilState(node, 'connected')
    await c.gaps.until('both gaps', (gaps) => gaps.length === 2)
    expect(c.gaps.all).toEqual(expect.arrayContaining([lostIn('tea', a, 1), lostIn('tea', b, 1)]))
    a.hub.broadcastToRoom('tea', '5')
    const [ofA, ofB, ofC] = await heard(nodes)
    expect(ofA).toEqual(['1', '2', '3', '5'])
    expect(ofB?.toSorted()).toEqual(['1', '2', '4', '5'])
    expect(ofC?.toSorted()).toEqual(['1', '2', '5'])
    expect(await a.hub.cluster.roomSize('tea')).toMatchObject({ count: 3, missing: [] })
  })

  it('a gap is reported by a later probe while its publisher has a member in the room', async () => {
    const nodes = await three(new Bus())
    const [a, b] = nodes
    await enter(a, 'tea')
    await enter(b, 'tea')
    a.hub.broadcastToRoom('tea', '1')
    await b.client.received.first('the first', (text) => text === '1')
    b.backplane.drop = (_channel, bytes) => bytes.subarray(-4).toString() === 'last'
    a.hub.broadcastToRoom('tea', 'last')
    await b.gaps.first('the gap', () => true)
    expect(b.gaps.all).toEqual([lostIn('tea', a, 1)])
    expect(b.hub.cluster.state).toBe('connected')
  })

  it('neither a publisher that restarts nor a member that joins later is a gap', async () => {
    const bus = new Bus()
    const nodes = await three(bus)
    const [a, b, c] = nodes
    await enter(b, 'tea')
    for (let i = 0; i < 5; i++) a.hub.broadcastToRoom('tea', `old ${i}`)
    await enter(c, 'tea')
    a.hub.broadcastToRoom('tea', 'then')
    await b.client.received.first('the last', (text) => text === 'then')
    await a.hub.close()
    const again = await join(bus)
    for (let i = 0; i < 3; i++) again.hub.broadcastToRoom('tea', `new ${i}`)
    again.hub.broadcast('end')
    expect(await c.client.upTo('end')).toEqual(['then', 'new 0', 'new 1', 'new 2'])
    expect([b.gaps.all, c.gaps.all]).toEqual([[], []])
  })

  it('messages for nobody on this node are not a gap', async () => {
    const nodes = await three(new Bus(), { roomGraceMs: 60_000 })
    const [a, b] = nodes
    await enter(b, 'tea')
    a.hub.broadcastToRoom('tea', '1')
    await quiet()
    b.hub.leaveRoom(b.connection, 'tea')
    b.backplane.drop = (channel) => channel.endsWith('tea')
    a.hub.broadcastToRoom('tea', '2')
    await quiet()
    b.backplane.drop = () => false
    a.hub.broadcastToRoom('tea', '3')
    await heard(nodes)
    expect(b.gaps.all).toEqual([])
  })

  it('messages published between two subscriptions are not a gap', async () => {
    const nodes = await three(new Bus(), { roomGraceMs: 0 })
    const [a, b] = nodes
    await enter(b, 'tea')
    a.hub.broadcastToRoom('tea', '1')
    await quiet()
    b.hub.leaveRoom(b.connection, 'tea')
    await eventually(
      'the channel to be left',
      () => !b.backplane.channels.has('wshub.r.tea'),
      () => [...b.backplane.channels],
    )
    a.hub.broadcastToRoom('tea', '2')
    await enter(b, 'tea')
    a.hub.broadcastToRoom('tea', '3')
    expect((await heard(nodes))[1]).toEqual(['1', '3'])
    expect(b.gaps.all).toEqual([])
  })

  it('an onGap that throws is reported and does no harm', async () => {
    const bus = new Bus()
    const onGap = () => {
      throw new Error('too bad')
    }
    const [a, b] = await three(bus, { onGap })
    await enter(b, 'tea')
    a.hub.broadcastToRoom('tea', '1')
    a.backplane.isFull = true
    a.hub.broadcastToRoom('tea', '2')
    a.backplane.isFull = false
    a.hub.broadcastToRoom('tea', '3')
    await b.client.received.first('the last', (text) => text === '3')
    expect(b.faults.all).toEqual([new Error('too bad')])
  })

  it('a message that arrives twice is delivered once, and counted as repeated', async () => {
    const bus = new Bus()
    const nodes = await three(bus)
    const [a, b] = nodes
    await enter(b, 'tea', 'rum')
    a.hub.broadcastToRoom('tea', '1')
    a.hub.broadcastToRoom(['tea', 'rum'], '2')
    a.hub.sendTo(b.connection.id, '3')
    await quiet()
    const messages = bus.published.filter(({ bytes }) =>
      ['message', 'direct'].includes(openEnvelope(bytes).kind ?? ''),
    )
    expect(messages).toHaveLength(4)
    for (const { channel, bytes } of messages) bus.inject(channel, bytes)
    expect((await heard(nodes))[1]).toEqual(['1', '2', '3'])
    expect(b.hub.cluster.stats().repeated).toBeGreaterThanOrEqual(4)
    expect(b.gaps.all).toEqual([])
  })
})
