import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { Hub, type HubErrorCode, type HubOptions } from 'wshub'
import { openEnvelope } from '../../src/cluster/wire/envelope.ts'
import { Bus } from '../support/bus.ts'
import { acquainted, enter, FAST, join, three, untilState } from '../support/cluster.ts'
import { holdClock } from '../support/held-clock.ts'
import { Journal } from '../support/hub-server.ts'
import { Gate } from '../support/raw.ts'
import { quiet } from './envelopes.ts'

const hubError = (code: HubErrorCode) => expect.objectContaining({ name: 'HubError', code })

/** More than the time for which a publisher waits for nodes to become known once it is connected. */
const SETTLED_MS = 600

/**
 * Waits until a publisher is connected and the others have answered, and then lets the time for unknown nodes
 * pass, which would be over before that if the process stood still.
 */
async function settled({ cluster }: Hub): Promise<void> {
  await cluster.ready()
  await quiet()
  vi.advanceTimersByTime(SETTLED_MS)
}

/** Makes a hub without waiting until it is ready. */
function publisher(bus: Bus, { cluster, ...options }: HubOptions = {}, startError?: Error) {
  const backplane = bus.backplane()
  backplane.startError = startError
  const faults = new Journal<Error>()
  const hub = new Hub({
    backplane,
    // It gives other nodes half a second to become known.
    cluster: { ...FAST, heartbeatIntervalMs: 5_000, heartbeatTimeoutMs: 15_000, ...cluster },
    onError: (error) => faults.push(error),
    ...options,
  })
  onTestFinished(() => void hub.close())
  return { hub, backplane, faults }
}

describe('what is published before a hub is connected', () => {
  it('early messages arrive, in order, when the hub is closed at once', async () => {
    const bus = new Bus()
    const nodes = await three(bus)
    const [a, b] = nodes
    await enter(a, 'tea')
    const { hub, faults } = publisher(bus)
    const bytes = Buffer.from('bytes')
    hub.broadcastToRoom('tea', '1')
    hub.broadcastToRoom('tea', bytes)
    bytes.fill(0)
    hub.broadcast('2')
    expect(hub.sendTo(b.connection.id, '3')).toBe(true)
    hub.broadcastToRoom('tea', '4')
    await hub.close()
    await a.client.received.first('the last', (text) => text === '4')
    expect(a.client.received.all.filter((text) => text !== '2')).toEqual(['1', '0x6279746573', '4'])
    await b.client.received.first('the last', (text) => text === '3')
    expect(b.client.received.all.sort()).toEqual(['2', '3'])
    expect(hub.cluster.stats()).toMatchObject({ published: 5, unpublished: 0 })
    expect(faults.all).toEqual([])
    expect(a.gaps.all).toEqual([])
  })

  it('early messages wait for an engine that is down, and later messages do not overtake them', async () => {
    const bus = new Bus()
    const a = await join(bus)
    await enter(a, 'tea')
    bus.stop()
    await untilState(a, 'reconnecting')
    const { hub, faults } = publisher(bus)
    for (let i = 0; i < 50; i++) hub.broadcastToRoom('tea', String(i))
    expect(hub.cluster.stats()).toMatchObject({ published: 0, unpublished: 0 })
    bus.start()
    await untilState(a, 'connected')
    await hub.cluster.ready()
    hub.broadcastToRoom('tea', 'end')
    await a.client.received.first('the end', (text) => text === 'end')
    const all = [...Array.from({ length: 50 }, (_, i) => String(i)), 'end']
    const { received } = a.client
    // The other node may reconnect a moment after the publisher, and then misses the first messages.
    expect(received.all).toEqual(all.slice(-received.all.length))
    expect(faults.all).toEqual([])
  })

  it('early messages are reported as not published when the hub is closed and was never connected', async () => {
    const bus = new Bus()
    bus.stop()
    const { hub, faults } = publisher(bus)
    for (let i = 0; i < 3; i++) hub.broadcast('x')
    const started = performance.now()
    await hub.close({ timeoutMs: 100 })
    expect(performance.now() - started).toBeGreaterThanOrEqual(99)
    expect(faults.all).toEqual([hubError('WSHUB_ERR_NOT_PUBLISHED')])
    expect(faults.all[0]?.message).toBe(
      '3 messages were not published: the cluster was left before it was reached',
    )
    expect(hub.cluster.stats()).toMatchObject({ published: 0, unpublished: 3 })
  })

  it('closing the hub waits for early messages no longer than handlers leave of timeoutMs', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const bus = new Bus()
    bus.stop()
    const { hub, faults } = publisher(bus, { cluster: { callTimeoutMs: 400 } })
    hub.broadcast('too early')
    hub.cluster.handle('slow', () => new Promise(() => {}))
    const call = expect(hub.cluster.call('slow')).resolves.toMatchObject({ missing: [hub.cluster.node] })
    const closed = hub.close({ timeoutMs: 1_000 })
    await vi.advanceTimersByTimeAsync(999)
    expect(hub.state).toBe('closing')
    await vi.advanceTimersByTimeAsync(1)
    expect(hub.state).toBe('closed')
    await closed
    await call
    // One for the message, one for the call.
    expect(faults.all).toEqual(Array(2).fill(hubError('WSHUB_ERR_NOT_PUBLISHED')))
  })

  it('early messages are reported as not published when the backplane cannot start, and so are later ones', async () => {
    const { hub, faults } = publisher(new Bus(), {}, new Error('wrong password'))
    hub.broadcast('x')
    await faults.first('the report', (error) => error.message.includes('1 message was not published'))
    expect(faults.all).toEqual([hubError('WSHUB_ERR_BACKPLANE'), hubError('WSHUB_ERR_NOT_PUBLISHED')])
    await hub.close()
    expect(hub.cluster.stats()).toMatchObject({ published: 0, unpublished: 1 })
    hub.broadcast('y')
    expect(faults.all.slice(2)).toEqual([hubError('WSHUB_ERR_NOT_PUBLISHED')])
    expect(hub.cluster.stats()).toMatchObject({ published: 0, unpublished: 2 })
  })

  it('early messages beyond maxEarlyBytes are reported as not published, and the others arrive', async () => {
    const bus = new Bus()
    const a = await join(bus)
    const { hub, faults } = publisher(bus, { cluster: { maxEarlyBytes: 2_000 } })
    for (let i = 0; i < 10; i++) hub.broadcast(`${i} ${'x'.repeat(500)}`)
    expect(faults.all).toEqual([hubError('WSHUB_ERR_NOT_PUBLISHED')])
    await hub.cluster.ready()
    await acquainted([a, { ...a, hub, backplane: a.backplane }])
    hub.broadcast('end')
    await a.client.received.first('the end', (text) => text === 'end')
    expect(a.client.received.all.map((text) => text.split(' ')[0])).toEqual(['0', '1', 'end'])
    expect(hub.cluster.stats()).toMatchObject({ published: 3, unpublished: 8 })
  })

  it('a message that onError publishes while early messages are sent follows them', async () => {
    const bus = new Bus()
    const a = await join(bus)
    await enter(a, 'tea')
    const { hub, backplane } = publisher(bus, {
      onError: () => hub.broadcastToRoom('tea', 'from onError'),
    })
    const publish = backplane.publish.bind(backplane)
    backplane.publish = (channel, bytes) => channel !== 'wshub.r.rum' && publish(channel, bytes)
    hub.broadcastToRoom('rum', 'refused')
    hub.broadcastToRoom('tea', '1')
    await hub.cluster.ready()
    hub.broadcastToRoom('tea', 'end')
    await a.client.received.first('the end', (text) => text === 'end')
    expect(a.client.received.all).toEqual(['1', 'from onError', 'end'])
  })

  it('no early message waits with maxEarlyBytes 0', async () => {
    const { hub, faults } = publisher(new Bus(), { cluster: { maxEarlyBytes: 0 } })
    hub.broadcast('x')
    expect(faults.all).toEqual([hubError('WSHUB_ERR_NOT_PUBLISHED')])
    await hub.close()
  })

  it('early messages that the connected backplane rejects are reported', async () => {
    const bus = new Bus()
    const { hub, backplane, faults } = publisher(bus)
    hub.broadcast('x')
    const publish = backplane.publish.bind(backplane)
    backplane.publish = (channel, bytes) => channel !== 'wshub.a' && publish(channel, bytes)
    await hub.cluster.ready()
    expect(faults.all).toEqual([hubError('WSHUB_ERR_BACKPLANE')])
    expect(hub.cluster.stats()).toMatchObject({ published: 0, unpublished: 1 })
  })
})

describe('a call before a hub is connected', () => {
  it('an early call waits for the cluster, and stays behind the messages before it', async () => {
    const bus = new Bus()
    const nodes = await three(bus)
    const [a, b] = nodes
    await enter(a, 'tea')
    bus.stop()
    await untilState(a, 'reconnecting')
    await untilState(b, 'reconnecting')
    const { hub } = publisher(bus)
    hub.sendTo(b.connection.id, 'bye')
    const patience = { timeoutMs: 10_000 }
    const counted = hub.cluster.nodes(patience)
    const disconnected = hub.cluster.disconnect({ id: b.connection.id }, 4_001, '', patience)
    expect(hub.cluster.stats().pendingCalls).toBe(2)
    bus.start()
    for (const node of nodes) await untilState(node, 'connected')
    expect((await counted).results.map(({ node }) => node)).toContain(hub.cluster.node)
    expect(await disconnected).toMatchObject({ count: 1, missing: [] })
    expect(await b.client.closed()).toBe('4001')
    expect(b.client.received.all).toEqual(['bye'])
    expect((await hub.cluster.nodes()).results).toHaveLength(4)
    expect(hub.cluster.stats().pendingCalls).toBe(0)
  })

  it('an early call lists all nodes when the engine is up', async () => {
    const bus = new Bus()
    await three(bus)
    holdClock({ intervals: false })
    const { hub } = publisher(bus)
    const answered = hub.cluster.nodes({ timeoutMs: 10_000 })
    await settled(hub)
    const { results, missing } = await answered
    expect([results.length, missing]).toEqual([4, []])
  })

  it('an early call ends in time, and is not made later', async () => {
    const bus = new Bus()
    const a = await join(bus)
    bus.stop()
    await untilState(a, 'reconnecting')
    const { hub, faults } = publisher(bus)
    const before = performance.now()
    expect(await hub.cluster.disconnect({ all: true }, 4_001, '', { timeoutMs: 50 })).toMatchObject({
      results: [{ node: hub.cluster.node, count: 0 }],
    })
    expect(performance.now() - before).toBeGreaterThanOrEqual(49)
    const byId = await hub.cluster.disconnect({ id: a.connection.id }, 4_001, '', { timeoutMs: 50 })
    expect(byId).toMatchObject({ count: 0, missing: [a.hub.cluster.node] })
    // The first answer names nobody as missing: no other node was known.
    expect(faults.all).toEqual([hubError('WSHUB_ERR_NOT_PUBLISHED')])
    expect(faults.all[0]?.message).toBe('a call was answered by this node alone: the cluster was not reached')
    bus.start()
    await hub.cluster.ready()
    await untilState(a, 'connected')
    hub.sendTo(a.connection.id, 'end')
    await a.client.received.first('the end', (text) => text === 'end')
    expect(a.connection.state).toBe('open')
  })

  it('an early call that the backplane rejects names the other nodes as missing', async () => {
    const bus = new Bus()
    const others = await three(bus)
    holdClock({ intervals: false })
    const { hub, backplane, faults } = publisher(bus)
    const publish = backplane.publish.bind(backplane)
    backplane.publish = (channel, bytes) =>
      openEnvelope(Buffer.from(bytes)).kind !== 'request' && publish(channel, bytes)
    const answered = hub.cluster.nodes({ timeoutMs: 10_000 })
    await settled(hub)
    const { results, missing } = await answered
    expect(results.map(({ node }) => node)).toEqual([hub.cluster.node])
    expect(missing.toSorted()).toEqual(others.map((other) => other.hub.cluster.node).toSorted())
    expect(faults.all).toContainEqual(hubError('WSHUB_ERR_BACKPLANE'))
  })

  it('an early call waits for slow answers, and names a node that does not answer', async () => {
    const bus = new Bus()
    const [quick, slow, silent] = await three(bus)
    holdClock({ intervals: false })
    const gate = new Gate()
    quick.hub.cluster.handle('work', () => 'quick')
    slow.hub.cluster.handle('work', async () => {
      await gate.opened
      return 'slow'
    })
    silent.hub.cluster.handle('work', () => new Promise(() => {}))
    const { hub } = publisher(bus, { cluster: { heartbeatIntervalMs: 500, heartbeatTimeoutMs: 2_000 } })
    const answered = hub.cluster.call('work', '', { timeoutMs: 60_000 })
    await settled(hub)
    await quiet()
    expect(hub.cluster.stats().pendingCalls).toBe(1)
    gate.open()
    silent.backplane.cut()
    const { results, missing } = await answered
    expect(results.map(({ value }) => value)).toEqual([undefined, 'quick', 'slow'])
    expect(missing).toEqual([silent.hub.cluster.node])
  })

  it('an early call ends when the backplane cannot start, and when the hub is closed', async () => {
    const { hub, faults } = publisher(new Bus(), {}, new Error('wrong password'))
    const patience = { timeoutMs: 60_000 }
    expect(await hub.cluster.nodes(patience)).toMatchObject({ results: [{ node: hub.cluster.node }] })
    expect(faults.all).toEqual([hubError('WSHUB_ERR_BACKPLANE'), hubError('WSHUB_ERR_NOT_PUBLISHED')])
    // Nobody else is asked about a connection of this node.
    const own = await hub.cluster.join({ id: `${hub.cluster.node}.1` }, 'tea')
    expect(own).toMatchObject({ count: 0, missing: [] })
    expect(faults.all).toHaveLength(2)
    const bus = new Bus()
    bus.stop()
    const { hub: other } = publisher(bus)
    const counted = other.cluster.roomSize('tea', patience)
    await other.close()
    expect(await counted).toMatchObject({ count: 0 })
  })
})
