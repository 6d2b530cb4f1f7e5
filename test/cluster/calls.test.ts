import { describe, expect, it } from 'vitest'
import { type CallHandler, Hub, type HubErrorCode } from 'wshub'
import { openEnvelope, readBody } from '../../src/cluster/wire/envelope.ts'
import { Bus } from '../support/bus.ts'
import { acquainted, type ClusterNode, enter, heard, join, three } from '../support/cluster.ts'

const hubError = (code: HubErrorCode) => expect.objectContaining({ name: 'HubError', code })

describe('calls to a cluster', () => {
  const sorted = <T extends { node: string }>(results: readonly T[]) =>
    [...results].sort((one, other) => (one.node < other.node ? -1 : 1))
  const ids = (nodes: readonly ClusterNode[]) => nodes.map(({ hub }) => hub.cluster.node)

  it('calls count and list members, connections and nodes', async () => {
    const nodes = await three(new Bus())
    const [a, b, c] = nodes
    const second = await b.connect()
    await enter(a, 'tea')
    await enter(b, 'tea')
    b.hub.joinRoom(second.connection, ['tea', 'rum'])

    const size = await a.hub.cluster.roomSize('tea')
    expect(size).toMatchObject({ count: 3, missing: [] })
    expect(size.tookMs).toBeGreaterThanOrEqual(0)
    expect(sorted(size.results)).toEqual(
      sorted([
        { node: a.hub.cluster.node, count: 1 },
        { node: b.hub.cluster.node, count: 2 },
        { node: c.hub.cluster.node, count: 0 },
      ]),
    )
    expect((await c.hub.cluster.roomSize(['tea', 'rum'])).count).toBe(3)
    expect((await c.hub.cluster.roomSize([])).count).toBe(0)

    const members = await c.hub.cluster.members('tea')
    const expected = [a.connection.id, b.connection.id, second.connection.id].sort()
    expect(members.results.map(({ id }) => id).sort()).toEqual(expected)
    expect((await c.hub.cluster.members('rum')).results).toEqual([{ id: second.connection.id, metadata: {} }])
    expect((await a.hub.cluster.connections()).results).toHaveLength(4)

    const found = await c.hub.cluster.nodes()
    expect(found.results.map(({ node }) => node).sort()).toEqual(ids(nodes).sort())
    expect(found.results.find(({ node }) => node === b.hub.cluster.node)).toEqual({
      node: b.hub.cluster.node,
      connections: 2,
      rooms: 2,
      uptimeMs: expect.any(Number),
    })
  })

  it('calls list public metadata as JSON carries it, the same from each node', async () => {
    const nodes = await three(new Bus(), { publicMetadata: ['name', 'since', 'none'] })
    const [a, b] = nodes
    for (const { connection } of [a, b]) {
      connection.setMetadata('name', `é ${connection.id}`)
      connection.setMetadata('since', new Date(0))
      connection.setMetadata('secret', 'x')
    }
    await enter(a, 'tea')
    await enter(b, 'tea')
    const { results } = await a.hub.cluster.members('tea')
    expect(results).toHaveLength(2)
    for (const { id, metadata } of results) {
      expect(metadata).toEqual({ name: `é ${id}`, since: '1970-01-01T00:00:00.000Z' })
    }
  })

  it('calls list a connection whose metadata cannot be serialized, and report why', async () => {
    const a = await join(new Bus(), { publicMetadata: ['self'] })
    a.connection.setMetadata('self', 1n)
    const { results } = await a.hub.cluster.connections()
    expect(results).toEqual([{ id: a.connection.id, metadata: {} }])
    expect(a.faults.all[0]).toBeInstanceOf(TypeError)
    a.connection.setMetadata('self', { toJSON: () => Promise.reject(new Error('not handled')) })
    const { results: again } = await a.hub.cluster.connections()
    expect(again).toEqual([{ id: a.connection.id, metadata: {} }])
    expect(a.faults.all[1]).toMatchObject({ code: 'WSHUB_ERR_INVALID_OPTION' })
  })

  it('calls list more than fits into one envelope', async () => {
    const nodes = await three(new Bus(), { publicMetadata: ['text'], maxEnvelopeBytes: 1_024 })
    const [a, b] = nodes
    const connections = [b.connection]
    for (let i = 0; i < 20; i++) connections.push((await b.connect()).connection)
    for (const connection of connections) connection.setMetadata('text', 'x'.repeat(200))
    b.connection.setMetadata('text', 'x'.repeat(5_000))
    const { results, missing } = await a.hub.cluster.connections()
    expect(missing).toEqual([])
    expect(results).toHaveLength(23)
    const big = results.find(({ id }) => id === b.connection.id)
    expect(big).toEqual({ id: b.connection.id, metadata: {} })
    expect(results.filter(({ metadata }) => metadata.text === 'x'.repeat(200))).toHaveLength(20)
  })

  it('calls name a node of whose answer a part was lost as missing', async () => {
    const nodes = await three(new Bus(), { publicMetadata: ['text'], maxEnvelopeBytes: 1_024 })
    const [a, b] = nodes
    for (let i = 0; i < 10; i++) {
      const { connection } = await b.connect()
      connection.setMetadata('text', 'x'.repeat(200))
    }
    let parts = 0
    a.backplane.drop = (channel, bytes) => {
      const body = readBody(openEnvelope(bytes))
      return channel.startsWith('wshub.n.') && body.kind === 'response' && body.part > 0 && parts++ === 0
    }
    const { results, missing } = await a.hub.cluster.connections()
    expect(parts).toBeGreaterThan(1)
    expect(missing).toEqual([b.hub.cluster.node])
    expect(results).toHaveLength(2)
  })

  it('join and leave select connections by id or by room, or all of them', async () => {
    const nodes = await three(new Bus())
    const [a, b, c] = nodes
    const { cluster } = a.hub
    expect(await cluster.join({ id: b.connection.id }, 'tea')).toMatchObject({
      count: 1,
      results: [{ node: b.hub.cluster.node, count: 1 }],
      missing: [],
    })
    expect(
      await cluster.join({ id: [a.connection.id, c.connection.id, c.connection.id] }, 'rum'),
    ).toMatchObject({
      count: 2,
    })
    expect(b.connection.inRoom('tea')).toBe(true)
    expect((await cluster.join({ room: ['tea', 'rum'] }, ['milk', 'ale'])).count).toBe(3)
    expect((await cluster.roomSize('ale')).count).toBe(3)
    expect((await cluster.leave({ room: 'rum' }, ['rum', 'ale'])).count).toBe(2)
    expect((await cluster.leave({ id: b.connection.id }, 'none')).count).toBe(0)
    expect((await cluster.leave({ all: true }, 'milk')).count).toBe(3)
    expect(nodes.map(({ connection }) => [...connection.rooms])).toEqual([[], ['tea', 'ale'], []])
    expect((await cluster.join({ all: true }, 'all')).count).toBe(3)
    expect((await cluster.join({ room: [] }, 'all')).count).toBe(0)
    expect((await cluster.join({ id: [] }, 'all')).count).toBe(0)
  })

  it('join reports the connections that a limit of their node keeps out, and counts the others', async () => {
    const bus = new Bus()
    const a = await join(bus)
    const limits = { maxRoomNameBytes: 8, maxRoomsPerConnection: 2 }
    const b = await join(bus, {}, { limits })
    await acquainted([a, b])
    const { connection } = await b.connect()
    b.hub.joinRoom(b.connection, 'tea')
    const { cluster } = a.hub
    expect(await cluster.join({ all: true }, ['rum', 'ale'])).toMatchObject({ count: 2, missing: [] })
    expect([b.connection.rooms.size, connection.rooms.size]).toEqual([1, 2])
    expect(await cluster.join({ id: b.connection.id }, 'very long')).toMatchObject({
      results: [{ node: b.hub.cluster.node, count: 0 }],
      missing: [],
    })
    expect(b.connection.inRoom('very long')).toBe(false)
    expect(b.faults.all).toMatchObject([
      {
        code: 'WSHUB_ERR_TOO_MANY_ROOMS',
        message: expect.stringMatching(/^1 of 2 connections did not join: /),
      },
      {
        code: 'WSHUB_ERR_INVALID_ROOM',
        message: expect.stringMatching(/^1 of 1 connections did not join: /),
      },
    ])
    expect(b.hub.cluster.stats().malformed).toBe(0)
  })

  it('join resolves when messages published from then on arrive', async () => {
    const nodes = await three(new Bus())
    const [a, b, c] = nodes
    for (let i = 0; i < 20; i++) {
      await a.hub.cluster.join({ id: [b.connection.id, c.connection.id] }, `room ${i}`)
      a.hub.broadcastToRoom(`room ${i}`, String(i))
    }
    const all = Array.from({ length: 20 }, (_, i) => String(i))
    expect(await heard(nodes)).toEqual([[], all, all])
  })

  it('disconnect closes connections after everything that was sent to them', async () => {
    const nodes = await three(new Bus())
    const [a, b, c] = nodes
    await enter(b, 'tea')
    await enter(c, 'tea')
    a.hub.broadcastToRoom('tea', 'bye')
    expect(await a.hub.cluster.disconnect({ room: 'tea' }, 4001, 'update')).toMatchObject({
      count: 2,
      missing: [],
    })
    for (const { client } of [b, c]) {
      expect(await client.closed()).toBe('4001 update')
      expect(client.received.all).toEqual(['bye'])
    }
    expect((await a.hub.cluster.disconnect({ id: b.connection.id })).count).toBe(0)
    expect((await b.hub.cluster.disconnect({ all: true })).count).toBe(1)
    expect(await a.client.closed()).toBe('1000')
  })

  it('call reaches the handlers of all nodes, with text and bytes', async () => {
    const nodes = await three(new Bus())
    const [a, b, c] = nodes
    const answers: [ClusterNode, CallHandler][] = [
      [a, (payload, node) => `${typeof payload} ${payload} from ${node}`],
      [b, async (payload) => Buffer.concat([Buffer.from(payload), Buffer.from([0])])],
      [c, () => undefined],
    ]
    for (const [{ hub }, handler] of answers) hub.cluster.handle('echo', handler)
    const { results, missing } = await b.hub.cluster.call('echo', 'é')
    expect(missing).toEqual([])
    expect(sorted(results)).toEqual(
      sorted([
        { node: a.hub.cluster.node, value: `string é from ${b.hub.cluster.node}`, error: undefined },
        { node: b.hub.cluster.node, value: Buffer.from('é\0'), error: undefined },
        { node: c.hub.cluster.node, value: undefined, error: undefined },
      ]),
    )
    const bytes = await b.hub.cluster.call('echo', new Uint8Array([1, 2]))
    expect(bytes.results).toContainEqual({
      node: b.hub.cluster.node,
      value: Buffer.from([1, 2, 0]),
      error: undefined,
    })
    expect((await c.hub.cluster.call('echo')).results[0]?.error).toBe(undefined)
  })

  it('call returns the reason of a failure: the handler threw, returned an invalid value, or does not exist', async () => {
    const nodes = await three(new Bus())
    const [a, b, c] = nodes
    a.hub.cluster.handle('work', () => ({}) as never)
    b.hub.cluster.handle('work', () => {
      throw new Error('broken')
    })
    const { results, missing } = await a.hub.cluster.call('work')
    const errorOf = ({ hub }: ClusterNode) => results.find(({ node }) => node === hub.cluster.node)?.error
    expect(missing).toEqual([])
    expect(nodes.map(errorOf)).toEqual([
      expect.stringContaining('a payload is'),
      'broken',
      'no handler named "work"',
    ])
    expect(b.faults.all).toEqual([new Error('broken')])
    expect(a.faults.all).toEqual([hubError('WSHUB_ERR_INVALID_PAYLOAD')])
    expect(c.faults.all).toEqual([])
  })

  it('handle is refused when the hub is closed', async () => {
    const hub = new Hub()
    await hub.close()
    expect(() => hub.cluster.handle('work', () => {})).toThrow(hubError('WSHUB_ERR_HUB_CLOSED'))
  })

  it('handle returns a function that removes the handler, and refuses a second one of the same name', async () => {
    const a = await join(new Bus())
    const remove = a.hub.cluster.handle('work', () => 'one')
    expect(() => a.hub.cluster.handle('work', () => 'two')).toThrow(hubError('WSHUB_ERR_INVALID_HANDLER'))
    remove()
    a.hub.cluster.handle('work', () => 'two')
    remove()
    expect((await a.hub.cluster.call('work')).results).toMatchObject([{ value: 'two' }])
    for (const args of [
      ['', () => {}],
      [7, () => {}],
      ['x', 'y'],
    ]) {
      expect(() => a.hub.cluster.handle(...(args as [never, never]))).toThrow(
        hubError('WSHUB_ERR_INVALID_HANDLER'),
      )
    }
  })

  it.each([
    ['an empty room', (hub: Hub) => hub.cluster.roomSize(''), 'WSHUB_ERR_INVALID_ROOM'],
    ['a number for a room', (hub: Hub) => hub.cluster.members(7 as never), 'WSHUB_ERR_INVALID_ROOM'],
    ['an empty room to join', (hub: Hub) => hub.cluster.join({ all: true }, ['']), 'WSHUB_ERR_INVALID_ROOM'],
    ['an empty room to leave', (hub: Hub) => hub.cluster.leave({ all: true }, ''), 'WSHUB_ERR_INVALID_ROOM'],
    [
      'an empty room to select',
      (hub: Hub) => hub.cluster.leave({ room: '' }, 'tea'),
      'WSHUB_ERR_INVALID_ROOM',
    ],
    [
      'a string for a selector',
      (hub: Hub) => hub.cluster.leave('all' as never, 'tea'),
      'WSHUB_ERR_INVALID_SELECTOR',
    ],
    [
      'null for a selector',
      (hub: Hub) => hub.cluster.leave(null as never, 'tea'),
      'WSHUB_ERR_INVALID_SELECTOR',
    ],
    ['an empty selector', (hub: Hub) => hub.cluster.leave({} as never, 'tea'), 'WSHUB_ERR_INVALID_SELECTOR'],
    [
      'a selector that is { all: false }',
      (hub: Hub) => hub.cluster.leave({ all: false } as never, 'tea'),
      'WSHUB_ERR_INVALID_SELECTOR',
    ],
    [
      'a number for an id',
      (hub: Hub) => hub.cluster.leave({ id: [7] } as never, 'tea'),
      'WSHUB_ERR_INVALID_SELECTOR',
    ],
    [
      'a selector with two keys',
      (hub: Hub) => hub.cluster.disconnect({ id: 'a', room: 'b' } as never),
      'WSHUB_ERR_INVALID_SELECTOR',
    ],
    [
      'a reserved close code',
      (hub: Hub) => hub.cluster.disconnect({ all: true }, 1006),
      'WSHUB_ERR_INVALID_CLOSE',
    ],
    ['an empty name', (hub: Hub) => hub.cluster.call(''), 'WSHUB_ERR_INVALID_HANDLER'],
    [
      'an object for a payload',
      (hub: Hub) => hub.cluster.call('x', {} as never),
      'WSHUB_ERR_INVALID_PAYLOAD',
    ],
    ['a timeoutMs of 0', (hub: Hub) => hub.cluster.nodes({ timeoutMs: 0 }), 'WSHUB_ERR_INVALID_OPTION'],
    [
      'a timeoutMs of 1.5',
      (hub: Hub) => hub.cluster.call('x', '', { timeoutMs: 1.5 }),
      'WSHUB_ERR_INVALID_OPTION',
    ],
  ] as const)('calls with %s are rejected', async (_what, call, code) => {
    const hub = new Hub()
    await expect(call(hub)).rejects.toEqual(hubError(code))
  })
})
