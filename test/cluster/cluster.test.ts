import { describe, expect, it } from 'vitest'
import { Hub, type HubErrorCode } from 'wshub'
import { openEnvelope } from '../../src/cluster/wire/envelope.ts'
import { Bus } from '../support/bus.ts'
import { acquainted, FAST, join, three } from '../support/cluster.ts'
import { Client, eventually, serve } from '../support/hub-server.ts'

const hubError = (code: HubErrorCode) => expect.objectContaining({ name: 'HubError', code })

describe('Hub#close', () => {
  it('Hub#close leaves the cluster after the connections, and closes the backplane', async () => {
    const bus = new Bus()
    const nodes = await three(bus)
    const [a, b] = nodes
    const left = await join(
      bus,
      {},
      {},
      { onClose: (connection) => connection.hub.broadcast('somebody left') },
    )
    await acquainted([...nodes, left])
    const pending = left.hub.cluster.call('x', '', { timeoutMs: 60_000 })
    b.backplane.stall()
    await left.hub.close()
    expect((await pending).missing).toContain(b.hub.cluster.node)
    expect(await left.client.closed()).toBe('1001')
    await a.client.received.first('the farewell', (text) => text === 'somebody left')
    expect(left.backplane.state).toBe('closed')
    expect(left.hub.cluster.state).toBe('closed')
    const last = bus.published.findLast(({ by }) => by === left.backplane)
    expect(openEnvelope(last?.bytes ?? Buffer.alloc(0)).kind).toBe('leave')
    await expect(left.hub.cluster.nodes()).rejects.toEqual(hubError('WSHUB_ERR_HUB_CLOSED'))
    await expect(left.hub.cluster.ready()).rejects.toEqual(hubError('WSHUB_ERR_HUB_CLOSED'))
    await eventually(
      'the others to know',
      () => a.hub.cluster.stats().nodes === 3,
      () => a.hub.cluster.stats(),
    )
  })

  it('Hub#close stays in the cluster until the last batch of connections is closed', async () => {
    const bus = new Bus()
    const a = await join(bus)
    const left = await join(
      bus,
      {},
      {},
      { onClose: (connection) => connection.hub.broadcast(`${connection.id} left`) },
    )
    const clients = [left, ...(await Promise.all([1, 2, 3].map(() => left.connect())))]
    await acquainted([a, left])
    expect(await left.hub.close({ batch: 1, everyMs: 20 })).toEqual({ closed: 4, terminated: 0 })
    for (const { client } of clients) expect(await client.closed()).toBe('1001')
    for (const { connection } of clients) {
      await a.client.received.first('each farewell', (text) => text === `${connection.id} left`)
    }
    expect(a.gaps.all).toEqual([])
    await eventually(
      'the other to know',
      () => a.hub.cluster.stats().nodes === 1,
      () => a.hub.cluster.stats(),
    )
  })

  it('Hub#close leaves no timer behind, even when the hub was never connected', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    const bus = new Bus()
    bus.stop()
    const before = timers()
    const hubs = Array.from({ length: 20 }, () => new Hub({ backplane: bus.backplane(), cluster: FAST }))
    const ready = hubs.map((hub) => hub.cluster.ready())
    for (const promise of ready) promise.catch(() => {})
    await Promise.all(hubs.map((hub) => hub.close()))
    for (const promise of ready) await expect(promise).rejects.toEqual(hubError('WSHUB_ERR_HUB_CLOSED'))
    expect(timers()).toBeLessThan(before + 20)
  })
})

describe('a hub without a backplane', () => {
  it('a hub without a backplane is a cluster of one', async () => {
    const hub = new Hub({ cluster: { publicMetadata: ['name'] } })
    const { node } = hub.cluster
    expect(hub.cluster.state).toBe('connected')
    await hub.cluster.ready()
    hub.cluster.handle('echo', (payload, from) => `${payload} from ${from}`)
    expect(await hub.cluster.call('echo', 'x')).toEqual({
      results: [{ node, value: `x from ${node}`, error: undefined }],
      missing: [],
      tookMs: expect.any(Number),
    })
    expect(await hub.cluster.nodes()).toMatchObject({ results: [{ node, connections: 0, rooms: 0 }] })
    expect(await hub.cluster.roomSize('tea')).toMatchObject({ count: 0, results: [{ node, count: 0 }] })
    expect(await hub.cluster.disconnect({ id: 'elsewhere.1' })).toMatchObject({ missing: ['elsewhere'] })
    expect(hub.sendTo('elsewhere.1', 'x')).toBe(false)
    expect(hub.cluster.stats()).toMatchObject({ nodes: 1, rooms: 0, published: 0, pendingCalls: 0 })
    await hub.close()
    expect(hub.cluster.state).toBe('closed')
  })

  it('a hub without a backplane joins, lists and disconnects its own connections', async () => {
    const { hub, url, connections, log } = await serve()
    const client = await Client.open(url)
    await log.first('onOpen', (entry) => entry === 'open')
    const id = connections[0]?.id ?? ''
    expect(await hub.cluster.join({ all: true }, 'tea')).toMatchObject({ count: 1 })
    expect(await hub.cluster.members('tea')).toMatchObject({ results: [{ id, metadata: {} }] })
    expect(hub.sendTo(id, 'x')).toBe(true)
    expect(await hub.cluster.disconnect({ room: 'tea' }, 4000, 'bye')).toMatchObject({ count: 1 })
    expect(await client.closed()).toBe('4000 bye')
    expect(client.received.all).toEqual(['x'])
  })
})
