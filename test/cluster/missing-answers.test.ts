import { describe, expect, it, vi } from 'vitest'
import { HubError, type HubErrorCode } from 'wshub'
import { Bus } from '../support/bus.ts'
import { acquainted, enter, join, three } from '../support/cluster.ts'
import { holdClock } from '../support/held-clock.ts'
import { eventually } from '../support/hub-server.ts'
import { published, quiet, stranger } from './envelopes.ts'

const hubError = (code: HubErrorCode) => expect.objectContaining({ name: 'HubError', code })

describe('calls to a cluster', () => {
  it('calls name a node that is too slow as missing, in time, and never fail', async () => {
    holdClock({ intervals: false, performance: true })
    const nodes = await three(new Bus(), { heartbeatTimeoutMs: 60_000 })
    const [a, b, c] = nodes
    for (const node of nodes) await enter(node, 'tea')
    vi.advanceTimersByTime(1_000) // unknown nodes are not waited for any more
    b.backplane.stall()
    const counted = a.hub.cluster.roomSize('tea', { timeoutMs: 500 })
    await quiet() // the others answer
    vi.advanceTimersByTime(500)
    const size = await counted
    expect(size).toMatchObject({ count: 2, missing: [b.hub.cluster.node] })
    expect(size.tookMs).toBeGreaterThanOrEqual(499)
    c.hub.cluster.handle('slow', () => new Promise(() => {}))
    const called = a.hub.cluster.call('slow', '', { timeoutMs: 500 })
    await quiet()
    vi.advanceTimersByTime(500)
    const slow = await called
    expect(slow.missing.sort()).toEqual([b.hub.cluster.node, c.hub.cluster.node].sort())
    expect(slow.results).toMatchObject([{ node: a.hub.cluster.node }])
    b.backplane.resume()
    expect(await a.hub.cluster.roomSize('tea')).toMatchObject({ count: 3, missing: [] })
  })

  it('calls do not wait longer for their own node either', async () => {
    const a = await join(new Bus())
    a.hub.cluster.handle('slow', () => new Promise(() => {}))
    const { results, missing } = await a.hub.cluster.call('slow', '', { timeoutMs: 50 })
    expect({ results, missing }).toEqual({ results: [], missing: [a.hub.cluster.node] })
  })

  it('calls name a killed node as missing until heartbeatTimeoutMs is over, and then forget it', async () => {
    const nodes = await three(new Bus())
    const [a, b] = nodes
    b.backplane.cut()
    const { missing: silent } = await a.hub.cluster.nodes({ timeoutMs: 50 })
    expect(silent).toContain(b.hub.cluster.node) // another one may be slow
    await eventually(
      'the node to be forgotten',
      () => a.hub.cluster.stats().nodes === 2,
      () => a.hub.cluster.stats(),
    )
    const { missing, tookMs } = await a.hub.cluster.nodes({ timeoutMs: 60_000 })
    expect(missing).toEqual([])
    expect(tookMs).toBeLessThan(60_000)
  })

  it('calls end when the node that they wait for dies', async () => {
    const [a, b] = await three(new Bus())
    b.hub.cluster.handle('work', () => {
      b.backplane.cut()
      return 'never heard'
    })
    const { missing, tookMs } = await a.hub.cluster.call('work', '', { timeoutMs: 60_000 })
    expect(missing).toEqual([b.hub.cluster.node])
    expect(tookMs).toBeLessThan(60_000)
  })

  it('calls neither wait for nor name a node that has left', async () => {
    const [a, b] = await three(new Bus())
    await b.hub.close()
    await quiet()
    expect(await a.hub.cluster.nodes()).toMatchObject({ missing: [], results: [{}, {}] })
  })

  it('calls return their own results at once when they cannot be published', async () => {
    const bus = new Bus()
    const nodes = await three(bus)
    const [a, b, c] = nodes
    await enter(a, 'tea')
    bus.stop()
    const size = await a.hub.cluster.roomSize('tea', { timeoutMs: 60_000 })
    expect(size.count).toBe(1)
    expect(size.missing.sort()).toEqual([b.hub.cluster.node, c.hub.cluster.node].sort())
    expect(
      await a.hub.cluster.disconnect({ id: [b.connection.id] }, 1000, '', { timeoutMs: 60_000 }),
    ).toMatchObject({ count: 0, missing: [b.hub.cluster.node] })
    expect(await a.hub.cluster.join({ all: true }, 'rum', { timeoutMs: 60_000 })).toMatchObject({ count: 1 })
  })

  it('calls find nodes that are not known yet', async () => {
    const bus = new Bus()
    const a = await join(bus)
    const b = await join(bus)
    // b has just connected, and the others do not know it yet.
    expect((await b.hub.cluster.nodes()).results).toHaveLength(2)
    expect((await a.hub.cluster.nodes()).results).toHaveLength(2)
  })

  it('calls by id name an unknown node as missing without waiting for it', async () => {
    const nodes = await three(new Bus())
    const [a] = nodes
    await a.hub.cluster.nodes() // the time in which unknown nodes are waited for is over
    const answer = await a.hub.cluster.disconnect({ id: 'unknown-node.1' }, 1000, '', { timeoutMs: 60_000 })
    expect(answer).toMatchObject({ count: 0, missing: ['unknown-node'] })
    const garbage = await a.hub.cluster.disconnect({ id: ['', 'x', 'a b.c'] }, 1000, '', {
      timeoutMs: 60_000,
    })
    expect(garbage).toMatchObject({ count: 0, missing: [] })
  })

  it('calls beyond maxPendingCalls are refused, here and on the node that answers', async () => {
    const bus = new Bus()
    const a = await join(bus, { maxPendingCalls: 3, callTimeoutMs: 60_000 })
    const b = await join(bus, { maxPendingCalls: 2 })
    await acquainted([a, b])
    const done: (() => void)[] = []
    b.hub.cluster.handle('slow', () => new Promise<void>((resolve) => done.push(resolve)))
    const calls = [1, 2, 3].map(() => a.hub.cluster.call('slow'))
    await expect(a.hub.cluster.roomSize('tea')).rejects.toEqual(hubError('WSHUB_ERR_TOO_MANY_CALLS'))
    const third = await calls[2]
    expect(third?.results.find(({ node }) => node === b.hub.cluster.node)?.error).toContain('busy')
    expect((await a.hub.cluster.roomSize('tea')).missing).toEqual([])
    for (const finish of done) finish()
    for (const call of calls) expect((await call).missing).toEqual([])
    expect(a.hub.cluster.stats().pendingCalls).toBe(0)
  })

  it('calls do not trust the answers of other nodes', async () => {
    const bus = new Bus()
    const a = await join(bus, { heartbeatTimeoutMs: 60_000 }) // the stranger has one heartbeat
    const fake = stranger(bus)
    const own = `wshub.n.${a.hub.cluster.node}`
    fake.publish('wshub.c', { kind: 'heartbeat', isHello: true, awayMs: 0 })
    await quiet()
    expect(a.hub.cluster.stats().nodes).toBe(2)
    const asked = () => published(bus, 'wshub.c').filter(({ kind }) => kind === 'request')
    for (const response of [
      { type: 'count', count: 1 },
      { type: 'members', members: [{ id: 'x', metadata: '{' }] },
      { type: 'members', members: [{ id: 'x', metadata: '7' }] },
      { type: 'failed', reason: 'none of your business' },
    ] as const) {
      const answer = a.hub.cluster.connections()
      await quiet()
      const request = asked().at(-1)
      if (request?.kind !== 'request') throw new Error('nothing was asked')
      fake.publish(own, { kind: 'response', id: request.id, part: 0, isLast: true, response })
      expect(await answer).toMatchObject({ results: [{ id: a.connection.id }], missing: ['stranger'] })
    }
    const selection = { by: 'all', names: [] } as const
    fake.publish(own, {
      kind: 'request',
      id: 1,
      request: { op: 'disconnect', selection, code: 1006, reason: '' },
    })
    await a.faults.first(
      'the report',
      (error) => error instanceof HubError && error.code === 'WSHUB_ERR_INVALID_CLOSE',
    )
    expect(a.connection.state).toBe('open')
  })
})
