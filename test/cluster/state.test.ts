import { describe, expect, it, onTestFinished } from 'vitest'
import { type Backplane, BackplaneLife, Hub, type HubErrorCode } from 'wshub'
import { Bus } from '../support/bus.ts'
import { enter, FAST, join, three, untilState } from '../support/cluster.ts'
import { eventually, inTime, Journal } from '../support/hub-server.ts'
import { published } from './envelopes.ts'

const hubError = (code: HubErrorCode) => expect.objectContaining({ name: 'HubError', code })

describe('the state of a cluster', () => {
  it('the state is connected only after published messages have come back', async () => {
    const bus = new Bus()
    const backplane = bus.backplane()
    backplane.stall()
    const hub = new Hub({ backplane, cluster: FAST })
    onTestFinished(() => void hub.close())
    expect(hub.cluster.state).toBe('connecting')
    let isReady = false
    const ready = hub.cluster.ready().then(() => {
      isReady = true
    })
    await eventually(
      'probes',
      () => bus.published.length > 1,
      () => bus.published.length,
    )
    expect([backplane.state, hub.cluster.state, isReady]).toEqual(['connected', 'connecting', false])
    backplane.resume()
    await inTime('the hub to be ready', ready, () => hub.cluster.state)
    expect(hub.cluster.state).toBe('connected')
    await hub.cluster.ready()
  })

  it('the state is reconnecting while the engine is away, and local delivery continues', async () => {
    const bus = new Bus()
    const nodes = await three(bus)
    const [a, b] = nodes
    await enter(a, 'tea')
    bus.stop()
    expect(a.hub.cluster.state).toBe('reconnecting')
    expect(a.hub.broadcastToRoom('tea', 'here')).toBe(1)
    expect(a.hub.joinRoom(a.connection, 'rum')).toBe(true)
    expect(a.hub.broadcastToRoom('rum', 'and here')).toBe(1)
    const fault = await a.faults.first('the report', () => true)
    expect(fault).toEqual(hubError('WSHUB_ERR_BACKPLANE'))
    bus.start()
    await untilState(a, 'connected')
    await untilState(b, 'connected')
    b.hub.broadcastToRoom('rum', 'again')
    await a.client.received.first('the message', (text) => text === 'again')
    expect(a.client.received.all).toEqual(['here', 'and here', 'again'])
  })

  it('the state is reconnecting when the engine hangs, though the backplane reports connected', async () => {
    const [a] = await three(new Bus())
    a.backplane.stall()
    await untilState(a, 'reconnecting')
    expect(a.backplane.state).toBe('connected')
    // It receives nothing, not even its own messages, so it cannot tell whether the others are alive.
    expect(a.hub.cluster.stats().nodes).toBe(3)
    a.backplane.resume()
    await untilState(a, 'connected')
    expect(a.hub.cluster.stats().nodes).toBe(3)
  })

  it('the state is reconnecting when the part of the engine that carries some rooms hangs', async () => {
    const [a, b] = await three(new Bus())
    await enter(a, 'tea', 'rum')
    a.backplane.drop = (channel) => channel === 'wshub.r.rum'
    await untilState(a, 'reconnecting')
    expect(b.hub.cluster.state).toBe('connected')
    a.backplane.drop = () => false
    await untilState(a, 'connected')
  })

  it('the state is not connected while a subscription is missing after an outage', async () => {
    const bus = new Bus()
    const [a, b] = await three(bus)
    await enter(a, 'tea')
    a.backplane.cut()
    a.backplane.channels.delete('wshub.r.tea')
    a.backplane.restore()
    const probes = () => published(bus, 'wshub.r.tea').filter(({ kind }) => kind === 'checkpoint').length
    await eventually('two probes', () => probes() > 1, probes)
    expect(a.hub.cluster.state).toBe('reconnecting')
    a.backplane.channels.add('wshub.r.tea')
    await untilState(a, 'connected')
    expect(b.gaps.all).toEqual([])
  })

  it('a node that was disconnected does not declare the other nodes dead', async () => {
    const [a, b] = await three(new Bus())
    a.backplane.cut()
    // The others forget it, so it would have forgotten them as well.
    await eventually(
      'the others to forget it',
      () => b.hub.cluster.stats().nodes === 2,
      () => b.hub.cluster.stats(),
    )
    expect(a.hub.cluster.stats().nodes).toBe(3)
    a.backplane.restore()
    await untilState(a, 'connected')
    expect(await a.hub.cluster.nodes()).toMatchObject({ missing: [], results: [{}, {}, {}] })
    expect(b.hub.cluster.stats().nodes).toBe(3)
  })

  it('the state is closed when the backplane cannot start, and the hub works alone', async () => {
    const bus = new Bus()
    const backplane = bus.backplane()
    backplane.startError = new Error('wrong password')
    const faults = new Journal<Error>()
    const hub = new Hub({ backplane, onError: (error) => faults.push(error) })
    const ready = hub.cluster.ready()
    await expect(ready).rejects.toEqual(hubError('WSHUB_ERR_HUB_CLOSED'))
    expect(faults.all).toEqual([hubError('WSHUB_ERR_BACKPLANE')])
    expect(faults.all[0]?.cause).toBe(backplane.startError)
    expect(hub.cluster.state).toBe('closed')
    await expect(hub.cluster.ready()).rejects.toEqual(hubError('WSHUB_ERR_HUB_CLOSED'))
    expect(await hub.cluster.nodes()).toMatchObject({ results: [{}], missing: [] })
    expect(hub.broadcast('x')).toBe(0)
    await hub.close()
  })

  it('the reason is told when a backplane that cannot start closes itself, as those of Redis and NATS do', async () => {
    const reason = new Error('wrong password')
    const faults = new Journal<Error>()
    const hub = new Hub({ backplane: refusedBackplane(reason), onError: (error) => faults.push(error) })
    hub.broadcastToRoom('news', 'early')
    const refused = {
      code: 'WSHUB_ERR_HUB_CLOSED',
      message: 'the cluster cannot be reached (wrong password)',
      expose: false,
    }
    await expect(hub.cluster.ready()).rejects.toMatchObject({ ...refused, cause: reason })
    await expect(hub.cluster.ready()).rejects.toMatchObject({ ...refused, cause: reason })
    await hub.close()
    expect(faults.all.map(({ message }) => message)).toEqual([
      'the backplane cannot start (wrong password)',
      '1 message was not published: the cluster was left before it was reached',
    ])
    expect(faults.all[0]?.cause).toBe(reason)
  })

  it('a hub that closes gives its backplane what is left of timeoutMs', async () => {
    const backplane = new Bus().backplane()
    const close = backplane.close.bind(backplane)
    const given: (number | undefined)[] = []
    backplane.close = (timeoutMs?: number) => {
      given.push(timeoutMs)
      return close()
    }
    const hub = new Hub({ backplane, cluster: FAST })
    await hub.cluster.ready()
    await hub.close({ timeoutMs: 1_000_000 })
    expect(given).toEqual([expect.any(Number)])
    expect(given[0]).toBeGreaterThan(900_000)
    expect(given[0]).toBeLessThanOrEqual(1_000_000)
  })

  it('the state is closed when the application closes the backplane', async () => {
    const [a, b, c] = await three(new Bus())
    const call = a.hub.cluster.call('x', '', { timeoutMs: 60_000 })
    await a.backplane.close()
    expect(a.hub.cluster.state).toBe('closed')
    expect((await call).missing.sort()).toEqual([b.hub.cluster.node, c.hub.cluster.node].sort())
    expect(a.hub.joinRoom(a.connection, 'tea')).toBe(true)
    expect(a.hub.broadcastToRoom('tea', 'x')).toBe(1)
    expect(a.hub.leaveRoom(a.connection, 'tea')).toBe(true)
    expect(a.faults.all[0]).toEqual(hubError('WSHUB_ERR_BACKPLANE'))
  })

  it('errors that a backplane recovers from are reported and change nothing', async () => {
    const [a] = await three(new Bus())
    const error = new Error('ECONNRESET')
    a.backplane.complain(error)
    expect(a.faults.all).toEqual([hubError('WSHUB_ERR_BACKPLANE')])
    expect(a.faults.all[0]?.cause).toBe(error)
    expect(a.hub.cluster.state).toBe('connected')
  })

  it('the hub survives a backplane that breaks its contract', async () => {
    const bus = new Bus()
    const a = await join(bus)
    a.backplane.publish = () => {
      throw new Error('not in the contract')
    }
    expect(a.hub.broadcast('x')).toBe(1)
    await a.faults.first(
      'the report',
      (error) => error.cause instanceof Error && /contract/.test(error.message),
    )
    a.backplane.close = () => Promise.reject(new Error('not closed'))
    await a.hub.close({ timeoutMs: 50 })
    expect(a.faults.all.at(-1)?.message).toContain('not closed')
  })
})

/** Returns a backplane whose engine refuses it: it rejects `start`, and closes at the same time. */
function refusedBackplane(reason: Error): Backplane {
  const life = new BackplaneLife()
  return {
    get state() {
      return life.state
    },
    start: (listener) =>
      life.start(listener, () => {
        life.failStart(reason)
        life.close()
      }),
    publish: () => false,
    subscribe: (channel) => life.subscribe(channel, () => {}),
    unsubscribe: (channel) => life.channels.delete(channel),
    close: async () => void life.close(),
  }
}
