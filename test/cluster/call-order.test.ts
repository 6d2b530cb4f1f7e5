import { describe, expect, it, vi } from 'vitest'
import type { Selector } from 'wshub'
import { deferred } from '../../src/base/deferred.ts'
import { openEnvelope, readBody } from '../../src/cluster/wire/envelope.ts'
import { Bus } from '../support/bus.ts'
import { type ClusterNode, enter, heard, three, untilState } from '../support/cluster.ts'
import { holdClock } from '../support/held-clock.ts'
import { eventually, turn } from '../support/hub-server.ts'
import { quiet } from './envelopes.ts'

/** Long enough that a call which never gets an answer makes the test time out. */
const PATIENT = { callTimeoutMs: 60_000 }
const isTea = (channel: string) => channel.endsWith('.r.tea')

/** A call waits for messages that do not arrive for half of this time; its caller waits longer. */
const BRIEF = { callTimeoutMs: 4_000 }
const LONGER = { timeoutMs: 60_000 }

/** The barriers that a node has published: the channels of each envelope. */
function barriersOf(bus: Bus, { backplane }: ClusterNode): string[][] {
  return bus.published
    .filter(({ by, bytes }) => by === backplane && openEnvelope(bytes).kind === 'barriers')
    .map(({ bytes }) => {
      const body = readBody(openEnvelope(bytes))
      return body.kind === 'barriers' ? body.barriers.map(({ channel }) => channel).sort() : []
    })
}

/** Does something while a node is away; resolves when the others know that it is back. */
async function away(node: ClusterNode, run: () => Promise<unknown>): Promise<void> {
  node.backplane.cut()
  await untilState(node, 'reconnecting')
  await run()
  node.backplane.restore()
  await node.hub.cluster.ready()
  await node.hub.cluster.nodes() // the others answer after its hello
}

/**
 * Makes the engine confirm the next subscription of a node late.
 * @param carries whether it carries messages before that
 */
function slowSubscription({ backplane }: ClusterNode, { carries }: { readonly carries: boolean }) {
  const { promise, resolve } = deferred()
  const subscribe = backplane.subscribe.bind(backplane)
  backplane.subscribe = async (channel) => {
    if (carries) await subscribe(channel)
    await promise
    if (!carries) await subscribe(channel)
  }
  const confirm = async (): Promise<void> => {
    resolve()
    await turn()
  }
  return { confirm }
}

/** Makes a call that takes longer to a node than the room of the node has been subscribed. */
async function slowCall(from: ClusterNode, to: ClusterNode) {
  to.backplane.delay = (channel) => !isTea(channel)
  const called = from.hub.cluster.join({ id: to.connection.id }, 'rum', LONGER)
  const calledAt = performance.now()
  const passedMs = () => performance.now() - calledAt
  await eventually('time to pass', () => passedMs() > 200, passedMs)
  to.backplane.release()
  return called
}

describe('a call to the cluster', () => {
  it('a call stays behind a message that takes a slower way through the engine', async () => {
    const [a, b] = await three(new Bus(), PATIENT)
    await enter(b, 'tea')
    b.backplane.delay = isTea
    a.hub.broadcastToRoom('tea', 'bye')
    const disconnected = a.hub.cluster.disconnect({ room: 'tea' }, 4_001)
    // Calls of another node continue, and so do messages to the connection.
    a.hub.broadcast('meanwhile')
    await b.client.received.first('a message', (text) => text === 'meanwhile')
    expect(b.connection.state).toBe('open')
    b.backplane.release()
    expect(await disconnected).toMatchObject({ count: 1, missing: [] })
    expect(await b.client.closed()).toBe('4001')
    expect(b.client.received.all).toEqual(['meanwhile', 'bye'])
  })

  it('a call stays behind the earlier calls of its node, even one that only reads', async () => {
    const [a, b] = await three(new Bus(), PATIENT)
    await enter(b, 'tea')
    b.backplane.delay = isTea
    a.hub.broadcastToRoom('tea', 'x')
    const left = a.hub.cluster.leave({ room: 'tea' }, 'tea')
    const counted = a.hub.cluster.roomSize('tea')
    const joined = a.hub.cluster.join({ id: b.connection.id }, 'rum')
    await turn()
    b.backplane.release()
    expect(await left).toMatchObject({ count: 1, missing: [] })
    expect(await counted).toMatchObject({ count: 0, missing: [] })
    expect(await joined).toMatchObject({ count: 1, missing: [] })
    await b.client.received.first('a message', () => true)
    expect(b.client.received.all).toEqual(['x'])
  })

  it('a call does not wait for the messages of another node', async () => {
    const [a, b, c] = await three(new Bus(), PATIENT)
    await enter(b, 'tea')
    b.backplane.delay = isTea
    a.hub.broadcastToRoom('tea', 'x')
    expect(await c.hub.cluster.leave({ room: 'tea' }, 'tea')).toMatchObject({ count: 1, missing: [] })
    b.backplane.release()
  })

  it('a call waits half of callTimeoutMs at most, and what has not arrived by then is reported as lost', async () => {
    const [a, b] = await three(new Bus(), BRIEF)
    await enter(b, 'tea')
    a.hub.broadcastToRoom('tea', '1')
    await b.client.received.first('a message', (text) => text === '1')
    b.backplane.drop = isTea
    a.hub.broadcastToRoom('tea', '2')
    const { count, missing, tookMs } = await a.hub.cluster.leave({ room: 'tea' }, 'tea', LONGER)
    expect({ count, missing }).toEqual({ count: 1, missing: [] })
    expect(tookMs).toBeGreaterThanOrEqual(BRIEF.callTimeoutMs / 2)
    expect(b.gaps.all).toEqual([{ node: a.hub.cluster.node, scope: 'room', room: 'tea', count: 1 }])
    // The next call does not wait again.
    const again = await a.hub.cluster.join({ id: b.connection.id }, 'tea')
    expect(again).toMatchObject({ count: 1, missing: [] })
    expect(b.gaps.all).toHaveLength(1)
  })

  it('a message that a call waits for in vain is reported as lost, even the first of its node in the room', async () => {
    const [a, b] = await three(new Bus(), BRIEF)
    await enter(b, 'tea')
    b.backplane.drop = isTea
    a.hub.broadcastToRoom('tea', '1')
    const left = await a.hub.cluster.leave({ room: 'tea' }, 'tea', LONGER)
    expect(left).toMatchObject({ count: 1, missing: [] })
    expect(b.gaps.all).toEqual([{ node: a.hub.cluster.node, scope: 'room', room: 'tea', count: 1 }])
    expect(b.hub.cluster.stats().lost).toBe(1)
  })

  it('a message is not reported as lost when the room was left and entered again while a call waited for it', async () => {
    holdClock({ intervals: false, performance: true })
    const [a, b] = await three(new Bus(), { ...BRIEF, roomGraceMs: 0 })
    await enter(b, 'tea')
    b.backplane.drop = isTea
    a.hub.broadcastToRoom('tea', '1')
    const called = a.hub.cluster.disconnect({ id: b.connection.id }, 4_001, '', LONGER)
    await quiet() // it waits
    b.hub.leaveRoom(b.connection, 'tea')
    vi.advanceTimersByTime(1)
    expect([...b.backplane.channels].some(isTea)).toBe(false)
    await b.hub.joinRoom(b.connection, 'tea')
    expect(b.connection.state).toBe('open')
    vi.advanceTimersByTime(BRIEF.callTimeoutMs / 2)
    expect(await called).toMatchObject({ count: 1 })
    expect(b.gaps.all).toEqual([])
  })

  it('a call does not wait for messages that were published before the subscription, or were not accepted', async () => {
    const [a, b] = await three(new Bus(), { ...PATIENT, maxEnvelopeBytes: 1_024 })
    a.hub.broadcastToRoom('tea', 'too early')
    const publishedAt = performance.now()
    // The other node knows only the age of a message, so it has to exceed the time that a request takes.
    const ageMs = () => performance.now() - publishedAt
    await eventually('time to pass', () => ageMs() > 200, ageMs)
    await enter(b, 'tea')
    expect(await a.hub.cluster.join({ id: b.connection.id }, 'rum')).toMatchObject({ count: 1, missing: [] })
    a.hub.broadcastToRoom('rum', 'in time')
    a.hub.broadcastToRoom('rum', 'x'.repeat(2_000))
    expect(await a.hub.cluster.leave({ room: 'tea' }, 'rum')).toMatchObject({ count: 1, missing: [] })
    await b.client.received.first('a message', (text) => text === 'in time')
    expect(b.client.received.all).toEqual(['in time'])
  })

  it('a call that takes long does not wait for a message that came before the subscription was confirmed', async () => {
    const [a, b] = await three(new Bus(), PATIENT)
    const { confirm } = slowSubscription(b, { carries: true })
    b.hub.joinRoom(b.connection, 'tea')
    a.hub.broadcastToRoom('tea', '1')
    await b.client.received.first('a message', (text) => text === '1')
    await confirm()
    expect(await slowCall(a, b)).toMatchObject({ count: 1, missing: [] })
    expect(b.gaps.all).toEqual([])
  })

  it('a message that arrives twice before the subscription is confirmed is delivered once', async () => {
    const bus = new Bus()
    const [a, b] = await three(bus, PATIENT)
    const { confirm } = slowSubscription(b, { carries: true })
    b.hub.joinRoom(b.connection, 'tea')
    a.hub.broadcastToRoom('tea', '1')
    await b.client.received.first('a message', (text) => text === '1')
    for (const { channel, bytes } of bus.published) if (isTea(channel)) bus.inject(channel, bytes)
    await confirm()
    a.hub.broadcastToRoom('tea', '2')
    await b.client.received.first('the next message', (text) => text === '2')
    expect(b.client.received.all).toEqual(['1', '2'])
    expect(b.hub.cluster.stats().repeated).toBe(1)
  })

  it('after a call that waits for a message from before the subscription, no other such message is lost', async () => {
    const [a, b] = await three(new Bus(), BRIEF)
    const { confirm } = slowSubscription(b, { carries: false })
    b.hub.joinRoom(b.connection, 'tea')
    a.hub.broadcastToRoom('tea', '1')
    const called = slowCall(a, b)
    a.hub.broadcastToRoom('tea', '2')
    await confirm()
    expect(await called).toMatchObject({ count: 1, missing: [] })
    a.hub.broadcastToRoom('tea', '3')
    await b.client.received.first('a message', (text) => text === '3')
    // It cannot be told from a message that was lost.
    expect(b.gaps.all).toEqual([{ node: a.hub.cluster.node, scope: 'room', room: 'tea', count: 1 }])
  })

  it('a call does not wait for a room whose subscription has ended', async () => {
    const [a, b] = await three(new Bus(), { callTimeoutMs: 60_000, roomGraceMs: 0 })
    await enter(b, 'tea')
    b.backplane.delay = isTea
    a.hub.broadcastToRoom('tea', 'x')
    b.hub.leaveRoom(b.connection, 'tea')
    await eventually(
      'the room to be left',
      () => ![...b.backplane.channels].some(isTea),
      () => [...b.backplane.channels],
    )
    expect(await a.hub.cluster.call('none')).toMatchObject({ missing: [] })
  })

  it('a call publishes barriers once on a channel, in envelopes that are not too long; a call that reads publishes none', async () => {
    const bus = new Bus()
    const [a, b] = await three(bus, { ...PATIENT, maxEnvelopeBytes: 1_024 })
    await enter(b, 'tea')
    a.hub.broadcastToRoom('tea', 'x')
    a.hub.broadcastToRoom('rum', 'x')
    a.hub.broadcast('x')
    a.hub.sendTo(b.connection.id, 'x')
    await a.hub.cluster.roomSize('tea')
    expect(barriersOf(bus, a)).toEqual([])
    await a.hub.cluster.leave({ all: true }, 'rum')
    await a.hub.cluster.leave({ all: true }, 'rum')
    const channels = ['wshub.a', `wshub.n.${b.hub.cluster.node}`, 'wshub.r.rum', 'wshub.r.tea'].sort()
    expect(barriersOf(bus, a)).toEqual([channels])
    // The channel of a node is a separate path, on which no request overtakes a message to its connections.
    for (let i = 0; i < 2; i++) await a.hub.cluster.leave({ id: b.connection.id }, 'rum')
    const others = channels.filter((channel) => !channel.includes('.n.'))
    expect(barriersOf(bus, a)).toEqual([channels, others])
    for (let i = 0; i < 100; i++) a.hub.broadcastToRoom(`room ${i}`, 'x')
    await a.hub.cluster.leave({ all: true }, 'rum')
    const later = barriersOf(bus, a).slice(2)
    expect(later.length).toBeGreaterThan(1)
    expect(later.flat()).toHaveLength(100)
  })

  it('a call is refused when too much already waits to hold it behind its messages', async () => {
    const [a, b, c] = await three(new Bus(), PATIENT)
    await enter(b, 'tea')
    b.backplane.delay = isTea
    a.hub.broadcastToRoom('tea', 'x')
    // Adds each size until no more fits, so that less remains than the smallest one takes.
    const sizes = [1_000_000, 100_000, 10_000, 1_000, 0].flatMap((size) => Array<number>(17).fill(size))
    const calls = sizes.map((size) => a.hub.cluster.call('none', 'x'.repeat(size)))
    c.hub.broadcastToRoom('tea', 'bye')
    expect(await c.hub.cluster.disconnect({ room: 'tea' }, 4_001)).toMatchObject({
      count: 0,
      missing: [b.hub.cluster.node],
    })
    b.backplane.release()
    await Promise.all(calls)
    expect(await heard([a, b, c])).toEqual([[], ['x', 'bye'], []])
    expect(b.connection.state).toBe('open')
  })

  it.each([
    ['all', (_b: ClusterNode): Selector => ({ room: 'tea' }), 'wshub.c'],
    ['one node', (b: ClusterNode): Selector => ({ id: b.connection.id }), '.n.'],
  ])(
    'a call to %s is refused by a node that may have missed what tells which messages are before it',
    async (_nodes, select, channel) => {
      const [a, b] = await three(new Bus(), PATIENT)
      b.hub.joinRoom(b.connection, 'tea')
      await b.hub.cluster.join({ id: b.connection.id }, 'tea')
      b.backplane.drop = (name, bytes) => name.includes(channel) && openEnvelope(bytes).kind === 'barriers'
      b.backplane.delay = isTea
      a.hub.broadcastToRoom('tea', 'bye')
      const disconnected = await a.hub.cluster.disconnect(select(b), 4_001)
      expect(disconnected).toMatchObject({ count: 0, missing: [b.hub.cluster.node] })
      expect(await a.hub.cluster.roomSize('tea')).toMatchObject({ count: 1, missing: [] })
      expect(b.connection.state).toBe('open')
      b.backplane.release()
      await b.client.received.first('the message', (text) => text === 'bye')
    },
  )

  it.each([
    ['all', (_c: ClusterNode): Selector => ({ all: true })],
    ['one node', (c: ClusterNode): Selector => ({ id: c.connection.id })],
  ])(
    'a call to %s is answered by a node that has missed earlier ones and is back',
    async (_nodes, select) => {
      const [a, , c] = await three(new Bus(), PATIENT)
      await a.hub.cluster.join(select(c), 'rum') // the node follows the calls
      await away(c, () => a.hub.cluster.leave(select(c), 'rum', { timeoutMs: 1 }))
      const { results, missing } = await a.hub.cluster.join(select(c), 'tea')
      expect(missing).toEqual([])
      expect(results).toContainEqual({ node: c.hub.cluster.node, count: 1 })
    },
  )

  it.each([
    ['that was always there', async (_a: ClusterNode, _c: ClusterNode) => {}],
    [
      'that is back',
      (a: ClusterNode, c: ClusterNode) =>
        away(c, () => a.hub.cluster.leave({ all: true }, 'rum', { timeoutMs: 1 })),
    ],
  ])('a call after one that the backplane has refused is answered by a node %s', async (_node, prepare) => {
    const [a, , c] = await three(new Bus(), PATIENT)
    await a.hub.cluster.join({ all: true }, 'rum') // the node follows the calls
    await prepare(a, c)
    a.hub.broadcastToRoom('tea', 'a message that the refused call would stay behind')
    a.backplane.isFull = true
    await a.hub.cluster.leave({ all: true }, 'rum', { timeoutMs: 1 })
    a.backplane.isFull = false
    const { results, missing } = await a.hub.cluster.join({ all: true }, 'tea')
    expect(missing).toEqual([])
    expect(results).toContainEqual({ node: c.hub.cluster.node, count: 1 })
  })

  it('a call to one node is answered after a message to it that the backplane has refused', async () => {
    const [a, , c] = await three(new Bus(), PATIENT)
    await a.hub.cluster.join({ id: c.connection.id }, 'rum') // the node follows the calls
    a.backplane.isFull = true
    expect(a.hub.sendTo(c.connection.id, 'refused')).toBe(false)
    a.backplane.isFull = false
    expect(await a.hub.cluster.join({ id: c.connection.id }, 'tea')).toMatchObject({ count: 1, missing: [] })
  })

  it('a call stays behind messages from before an outage in which the node missed what tells so', async () => {
    const [a, , c] = await three(new Bus(), PATIENT)
    await enter(c, 'tea')
    a.hub.broadcastToRoom('tea', 'hello')
    await c.client.received.first('a message', (text) => text === 'hello')
    c.backplane.delay = (channel, bytes) => isTea(channel) && openEnvelope(bytes).kind === 'message'
    a.hub.broadcastToRoom('tea', 'bye')
    await away(c, () => a.hub.cluster.leave({ all: true }, 'rum', { timeoutMs: 1 }))
    const disconnected = a.hub.cluster.disconnect({ room: 'tea' }, 4_001)
    a.hub.broadcast('meanwhile')
    await c.client.received.first('a message', (text) => text === 'meanwhile')
    expect(c.connection.state).toBe('open')
    c.backplane.release()
    expect(await disconnected).toMatchObject({ count: 1, missing: [] })
    expect(await c.client.closed()).toBe('4001')
    expect(c.client.received.all).toEqual(['hello', 'meanwhile', 'bye'])
  })

  it('a call that waits for messages is dropped when the hub is closed', async () => {
    const [a, b] = await three(new Bus(), PATIENT)
    await enter(b, 'tea')
    b.backplane.delay = isTea
    a.hub.broadcastToRoom('tea', 'x')
    const left = a.hub.cluster.leave({ room: 'tea' }, 'tea')
    await turn()
    await b.hub.close({ timeoutMs: 1_000 })
    expect(await left).toMatchObject({ missing: [b.hub.cluster.node] })
  })
})
