import { expect, it } from 'vitest'
import type { ClusterFixture } from './cluster-fixture.ts'

/** Tests of calls to the nodes. */
export function callCases(cluster: ClusterFixture): void {
  it('cluster calls count and list connections and nodes', async () => {
    const [a, b, c] = await cluster.three()
    await cluster.enter(a, 'size')
    await cluster.enter(b, 'size', 'sizes')
    const size = await c.hub.call('roomSize', ['size', 'sizes'])
    expect(size).toMatchObject({ count: 2, missing: [], tookMs: expect.any(Number) })
    expect(size.results).toEqual(
      expect.arrayContaining([
        { node: a.hub.node, count: 1 },
        { node: b.hub.node, count: 1 },
        { node: c.hub.node, count: 0 },
      ]),
    )
    const [ofA, ofB, ofC] = [
      { id: a.id, metadata: { name: '/one' } },
      { id: b.id, metadata: { name: '/two' } },
      { id: c.id, metadata: { name: '/far' } },
    ]
    const members = await c.hub.call('members', 'size')
    expect(members.missing).toEqual([])
    expect(members.results).toHaveLength(2)
    expect(members.results).toEqual(expect.arrayContaining([ofA, ofB]))
    const connections = await a.hub.call('connections')
    expect(connections.missing).toEqual([])
    expect(connections.results).toHaveLength(3)
    expect(connections.results).toEqual(expect.arrayContaining([ofA, ofB, ofC]))
    const nodes = await b.hub.call('nodes')
    expect(nodes.missing).toEqual([])
    expect(nodes.results.map(({ node, connections }) => [node, connections]).toSorted()).toEqual(
      cluster.hubs.map(({ node }) => [node, 1]).toSorted(),
    )
  })

  it('cluster calls put connections into rooms, remove them, and disconnect them', async () => {
    const members = await cluster.three()
    const [a, b, c] = members
    expect(await a.hub.call('join', { id: [b.id, c.id] }, ['tea', 'rum'])).toMatchObject({
      count: 2,
      missing: [],
    })
    await a.hub.call('broadcastToRoom', 'tea', 'b and c')
    expect(await a.hub.call('join', { room: 'tea' }, 'milk')).toMatchObject({ count: 2, missing: [] })
    expect(await c.hub.call('join', { all: true }, 'everyone')).toMatchObject({ count: 3, missing: [] })
    await a.hub.call('broadcastToRoom', ['milk', 'everyone'], 'all')
    expect(await c.hub.call('leave', { room: 'milk' }, ['tea', 'everyone'])).toMatchObject({
      count: 2,
      missing: [],
    })
    expect(await b.hub.call('roomSize', 'everyone')).toMatchObject({ count: 1, missing: [] })
    await a.hub.call('broadcastToRoom', ['tea', 'everyone'], 'a')
    await cluster.received(members, [
      ['all', 'a'],
      ['b and c', 'all'],
      ['b and c', 'all'],
    ])
    expect(await a.hub.call('disconnect', { id: c.id }, 4_001, 'you')).toMatchObject({
      count: 1,
      missing: [],
    })
    expect(await c.closed()).toBe('4001 you')
    expect(await c.hub.call('disconnect', { all: true }, 4_002, 'and you')).toMatchObject({
      count: 2,
      missing: [],
    })
    expect(await Promise.all([a.closed(), b.closed()])).toEqual(['4002 and you', '4002 and you'])
  })

  it('a call reaches all nodes, with text and bytes, and names the failed ones', async () => {
    const [one] = cluster.hubs
    for (const payload of ['grüße 🍵', Buffer.from([0, 255, 10])]) {
      const { results, missing } = await one.call('call', 'echo', payload)
      expect(missing).toEqual([])
      expect(results).toHaveLength(3)
      const expected = cluster.hubs.map(({ node }) => ({ node, value: payload, error: undefined }))
      expect(results).toEqual(expect.arrayContaining(expected))
    }
    const failed = await one.call('call', 'fail')
    expect(failed.missing).toEqual([])
    expect(failed.results.map(({ error }) => error)).toEqual(Array(3).fill('as it was told'))
  })
}
