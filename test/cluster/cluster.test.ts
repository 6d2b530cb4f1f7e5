import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  type CallHandler,
  type Connection,
  type Gap,
  Hub,
  HubError,
  type HubErrorCode,
  type SendOptions,
} from 'wshub'
import { encodeEnvelope, openEnvelope, readBody } from '../../src/cluster/wire/envelope.ts'
import { Bus } from '../support/bus.ts'
import {
  acquainted,
  type ClusterNode,
  enter,
  FAST,
  heard,
  join,
  three,
  untilState,
} from '../support/cluster.ts'
import { Client, eventually, inTime, Journal, serve, turn } from '../support/hub-server.ts'

const hubError = (code: HubErrorCode) => expect.objectContaining({ name: 'HubError', code })

/** Waits a few turns of the event loop, until the bus has delivered everything. */
async function quiet(): Promise<void> {
  for (let i = 0; i < 4; i++) await turn()
}

/** Returns the envelopes that were published on a channel. */
function published(bus: Bus, channel: string) {
  return bus.published
    .filter((entry) => entry.channel === channel)
    .map(({ bytes }) => readBody(openEnvelope(bytes)))
}

/** Imitates another process of the cluster by bytes on the bus. */
function stranger(bus: Bus, node = 'stranger') {
  const counts = new Map<string, number>()
  return {
    publish(channel: string, body: Parameters<typeof encodeEnvelope>[1], change?: (bytes: Buffer) => void) {
      const number = (counts.get(channel) ?? 0) + 1
      counts.set(channel, number)
      const bytes = encodeEnvelope({ node, epoch: 1, sequence: number }, body)
      change?.(bytes)
      bus.inject(channel, bytes)
    },
    message(channel: string, data: string, change?: (bytes: Buffer) => void) {
      const plain = { rooms: undefined, union: 0, exceptIds: [], exceptRooms: [], options: undefined }
      this.publish(channel, { kind: 'message', data, ...plain }, change)
    },
  }
}

describe('broadcasts over a backplane', () => {
  it('broadcasts reach everyone, everyone but one, a room, and a room but one, on any node', async () => {
    const nodes = await three(new Bus())
    const [a, b, c] = nodes
    await enter(a, 'tea')
    await enter(b, 'tea', 'rum')
    expect(a.hub.broadcast('1')).toBe(1)
    expect(a.hub.broadcastExcept('2', b.connection.id)).toBe(1)
    expect(a.hub.broadcastExcept('3', a.connection.id)).toBe(0)
    expect(a.hub.broadcastToRoom('tea', '4')).toBe(1)
    expect(a.hub.broadcastToRoom('rum', '5')).toBe(0)
    expect(a.hub.broadcastToRoomExcept('tea', '6', b.connection.id)).toBe(1)
    expect(a.hub.broadcastToRoomExcept('tea', '7', a.connection.id)).toBe(0)
    expect(a.hub.broadcastToRoom('none', '8')).toBe(0)
    expect(await heard(nodes)).toEqual([
      ['1', '2', '4', '6'],
      ['1', '3', '4', '5', '7'],
      ['1', '2', '3'],
    ])
    expect(c.hub.cluster.stats()).toMatchObject({ lost: 0, repeated: 0, malformed: 0, unknown: 0 })
  })

  it('broadcasts reach each member of several rooms once', async () => {
    const nodes = await three(new Bus())
    const [a, b, c] = nodes
    await enter(a, 'tea', 'rum')
    await enter(b, 'tea', 'rum', 'milk')
    await enter(c, 'milk')
    expect(a.hub.broadcastToRoom(['tea', 'rum', 'tea', 'milk', 'none'], '1')).toBe(1)
    expect(a.hub.broadcastToRoom([], '2')).toBe(0)
    expect(a.hub.broadcastToRoomExcept(['tea', 'milk'], '3', c.connection.id)).toBe(1)
    const many = Array.from({ length: 40 }, (_, i) => `room ${i}`)
    expect(a.hub.broadcastToRoom([...many, 'tea', 'milk'], '4')).toBe(1)
    expect(await heard(nodes)).toEqual([
      ['1', '3', '4'],
      ['1', '3', '4'],
      ['1', '4'],
    ])
  })

  it('a broadcast to very many rooms is published once', async () => {
    const bus = new Bus()
    const a = await join(bus)
    const before = bus.published.length
    a.hub.broadcastToRoom(
      Array.from({ length: 1_000 }, (_, i) => `room ${i}`),
      'x',
    )
    const messages = bus.published.slice(before).filter(({ channel }) => channel !== 'wshub.c')
    expect(messages.map(({ channel }) => channel)).toEqual(['wshub.a'])
  })

  it('broadcasts keep text and bytes apart, and every byte intact', async () => {
    const nodes = await three(new Bus())
    const [a] = nodes
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
    a.hub.broadcast('')
    a.hub.broadcast(Buffer.alloc(0))
    a.hub.broadcast('grüße 茶 🍵')
    a.hub.broadcast(bytes)
    a.hub.broadcast(new Uint8Array([1, 2]).buffer)
    a.hub.broadcast('x'.repeat(100_000))
    const all = ['', '0x', 'grüße 茶 🍵', `0x${bytes.toString('hex')}`, '0x0102', 'x'.repeat(100_000)]
    expect(await heard(nodes)).toEqual([all, all, all])
  })

  it('broadcasts copy their bytes, so that the caller may change them', async () => {
    const nodes = await three(new Bus())
    const bytes = Buffer.from([1, 2, 3])
    nodes[0].hub.broadcast(bytes)
    bytes.fill(9)
    expect(await heard(nodes)).toEqual([['0x010203'], ['0x010203'], ['0x010203']])
  })

  it('broadcasts arrive in the order of the calls', async () => {
    const nodes = await three(new Bus())
    for (const node of nodes) await enter(node, 'tea', 'rum')
    const expected = Array.from({ length: 500 }, (_, i) => String(i))
    expected.forEach((text, i) => {
      if (i % 4 === 0) nodes[0].hub.broadcast(text)
      else if (i % 4 === 1) nodes[0].hub.broadcastToRoom('tea', text)
      else if (i % 4 === 2) nodes[0].hub.broadcastToRoom(['rum', 'tea'], text)
      else for (const { connection } of nodes) nodes[0].hub.sendTo(connection.id, text)
    })
    expect(await heard(nodes)).toEqual([expected, expected, expected])
  })

  it('broadcasts carry the options of the message to other nodes', async () => {
    const bus = new Bus()
    const [a, b] = await three(bus)
    a.hub.broadcastToRoom('tea', '1', { key: 'price', volatile: true })
    a.hub.broadcastToRoom('tea', '2', { volatile: true })
    a.hub.broadcastToRoom('tea', '3', { key: 'price' })
    a.hub.sendTo(b.connection.id, '4', { key: 'price' })
    expect(published(bus, 'wshub.r.tea')).toMatchObject([
      { options: { key: 'price', volatile: true } },
      { options: { volatile: true } },
      { options: { key: 'price', volatile: false } },
    ])
    expect(published(bus, `wshub.n.${b.hub.cluster.node}`).at(-1)).toMatchObject({
      kind: 'direct',
      options: { key: 'price' },
    })
    expect(() => a.hub.sendTo(b.connection.id, '5', { key: '' })).toThrow(
      hubError('WSHUB_ERR_INVALID_OPTION'),
    )
  })

  it('broadcasts are dropped or replaced by their options at a slow client of another node', async () => {
    const bus = new Bus()
    const a = await join(bus)
    const b = await join(bus, {}, { maxBufferedBytes: 500_000, slowConsumer: 'conflate' })
    await acquainted([a, b])
    b.client.socket.pause()
    const filler = '.'.repeat(50_000)
    let sent = 0
    const until = async (dropped: 'conflate' | 'volatile', options: SendOptions) => {
      while (b.hub.dropped[dropped].messages < 20) {
        if (sent > 5_000)
          throw new Error(`5,000 messages were taken, dropped ${JSON.stringify(b.hub.dropped)}`)
        a.hub.broadcast(`${sent++} ${filler}`, options)
        await turn()
      }
    }
    await until('conflate', { key: 'price' })
    await until('volatile', { volatile: true })
    expect(b.connection.bufferedBytes).toBeLessThanOrEqual(500_000)
    b.client.socket.resume()
    a.hub.broadcast('end')
    const received = await b.client.upTo('end')
    const { conflate, volatile } = b.hub.dropped
    expect(received.length).toBe(sent - conflate.messages - volatile.messages)
    expect(b.connection.state).toBe('open')
    expect(a.hub.dropped).toMatchObject({ conflate: { messages: 0 }, volatile: { messages: 0 } })
  })

  it('a broadcast is one envelope, which does not name an excluded connection of its own node', async () => {
    const bus = new Bus()
    const [a, b] = await three(bus)
    await enter(a, 'tea')
    const before = bus.published.length
    a.hub.broadcastToRoomExcept('tea', '1', a.connection.id)
    a.hub.broadcastToRoomExcept('tea', '2', b.connection.id)
    const messages = bus.published.slice(before).filter(({ channel }) => channel === 'wshub.r.tea')
    expect(messages).toHaveLength(2)
    expect(published(bus, 'wshub.r.tea')).toMatchObject([
      { data: '1', exceptIds: [] },
      { data: '2', exceptIds: [b.connection.id] },
    ])
    // The id of the publisher takes twelve bytes.
    expect(messages[0]?.bytes.length).toBeLessThan(22)
  })

  it('broadcasts to a room do not reach a node that has no member in it', async () => {
    const bus = new Bus()
    const [a, b, c] = await three(bus)
    await enter(b, 'tea')
    const came: unknown[] = []
    c.backplane.drop = (_channel, bytes) => {
      const body = readBody(openEnvelope(bytes))
      if ('data' in body) came.push(body.data) // and no heartbeat, nor a probe of the channel for everyone
      return false
    }
    for (let i = 0; i < 100; i++) a.hub.broadcastToRoom('tea', String(i))
    await b.client.received.first('the last', (text) => text === '99')
    expect(await heard([a, c])).toEqual([[], []])
    expect(came).toEqual(['end'])
    expect([...c.backplane.channels].some((channel) => channel.includes('tea'))).toBe(false)
  })

  it('broadcasts match a simple model, whoever joins, leaves and publishes', async () => {
    const step = fc.oneof(
      fc.record({
        does: fc.constantFrom('join', 'leave'),
        member: fc.nat(5),
        room: fc.constantFrom('1', '2', '3'),
      }),
      fc.record({
        does: fc.constant('send' as const),
        from: fc.nat(2),
        rooms: fc.option(fc.subarray(['1', '2', '3', 'none'])),
        except: fc.option(fc.nat(5)),
      }),
    )
    const bus = new Bus()
    const nodes = await three(bus, { roomGraceMs: 1 })
    const members: { client: Client; connection: Connection; node: ClusterNode }[] = []
    for (const node of nodes) {
      members.push({ ...(await node.connect()), node }, { ...(await node.connect()), node })
    }
    let run = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        run++
        const rooms = new Map(members.map((member) => [member, new Set<string>()]))
        const expected = members.map((): string[] => [])
        const begin = members.map(({ client }) => client.received.all.length)
        for (const [index, todo] of steps.entries()) {
          if (todo.does === 'send') {
            const { hub } = nodes[todo.from] ?? nodes[0]
            const text = `${run}:${index}`
            const exceptId = todo.except === null ? 'nobody.0' : (members[todo.except]?.connection.id ?? '')
            if (todo.rooms === null) hub.broadcastExcept(text, exceptId)
            else hub.broadcastToRoomExcept(todo.rooms, text, exceptId)
            members.forEach((member, i) => {
              const isMeant = todo.rooms === null || todo.rooms.some((room) => rooms.get(member)?.has(room))
              if (isMeant && member.connection.id !== exceptId) expected[i]?.push(text)
            })
          } else {
            const member = members[todo.member]
            if (member === undefined) continue
            if (todo.does === 'join') {
              rooms.get(member)?.add(todo.room)
              await member.node.hub.cluster.join({ id: member.connection.id }, todo.room)
            } else {
              rooms.get(member)?.delete(todo.room)
              member.node.hub.leaveRoom(member.connection, todo.room)
            }
          }
          await quiet()
        }
        nodes[0].hub.broadcast(`end ${run}`)
        const all = await Promise.all(members.map(({ client }) => client.upTo(`end ${run}`)))
        expect(all.map((received, i) => received.slice(begin[i]))).toEqual(expected)
        for (const { connection, node } of members) node.hub.leaveRoom(connection, ['1', '2', '3'])
        await quiet()
      }),
      { numRuns: 40 },
    )
    expect(nodes.map(({ gaps }) => gaps.all)).toEqual([[], [], []])
  })
})

describe('Hub#sendTo', () => {
  it('sendTo finds a connection on any node', async () => {
    const nodes = await three(new Bus())
    const [a, b, c] = nodes
    expect(a.hub.sendTo(a.connection.id, 'here')).toBe(true)
    expect(a.hub.sendTo(b.connection.id, 'there')).toBe(true)
    expect(a.hub.sendTo(c.connection.id, Buffer.from([7]))).toBe(true)
    expect(await heard(nodes)).toEqual([['here'], ['there'], ['0x07']])
  })

  it('sendTo returns false when the message certainly does not arrive', async () => {
    const bus = new Bus()
    const [a, b] = await three(bus)
    for (const id of ['', 'nobody', '.', 'a b.0', `${a.hub.cluster.node}.zz`]) {
      expect([id, a.hub.sendTo(id, 'x')]).toEqual([id, false])
    }
    bus.stop()
    expect(a.hub.sendTo(b.connection.id, 'x')).toBe(false)
    expect(a.hub.sendTo(a.connection.id, 'x')).toBe(true)
    expect(() => a.hub.sendTo(b.connection.id, {} as never)).toThrow(hubError('WSHUB_ERR_INVALID_PAYLOAD'))
  })

  it('sendTo to a closed connection loses the message and nothing else', async () => {
    const nodes = await three(new Bus())
    const [a, b] = nodes
    const other = await b.connect()
    await other.client.close()
    await eventually(
      'the connection to be gone',
      () => b.hub.size === 1,
      () => b.hub.size,
    )
    expect(a.hub.sendTo(other.connection.id, 'x')).toBe(true)
    expect(await heard(nodes)).toEqual([[], [], []])
    expect(b.faults.all).toEqual([])
  })
})

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

  it('calls name a node that is too slow as missing, in time, and never fail', async () => {
    const nodes = await three(new Bus(), { heartbeatTimeoutMs: 60_000 })
    const [a, b, c] = nodes
    for (const node of nodes) await enter(node, 'tea')
    b.backplane.stall()
    const size = await a.hub.cluster.roomSize('tea', { timeoutMs: 500 })
    expect(size).toMatchObject({ count: 2, missing: [b.hub.cluster.node] })
    expect(size.tookMs).toBeGreaterThanOrEqual(499)
    c.hub.cluster.handle('slow', () => new Promise(() => {}))
    const slow = await a.hub.cluster.call('slow', '', { timeoutMs: 500 })
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
    expect(await a.hub.cluster.nodes({ timeoutMs: 50 })).toMatchObject({
      missing: [b.hub.cluster.node],
      results: [{}, {}],
    })
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

  it('calls do not trust the answers of other nodes', async () => {
    const bus = new Bus()
    const a = await join(bus)
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

describe('other versions', () => {
  it('envelopes of other versions are counted, reported and dropped, and not taken for a loss', async () => {
    const bus = new Bus()
    const a = await join(bus)
    await enter(a, 'tea')
    const fake = stranger(bus)
    fake.message('wshub.r.tea', '1')
    fake.message('wshub.r.tea', 'new kind', (bytes) => bytes.writeUInt8(99, 1))
    fake.message('wshub.r.tea', '2')
    fake.message('wshub.r.tea', 'new version', (bytes) => bytes.writeUInt8(2, 0))
    await a.client.received.first('the second', (text) => text === '2')
    await quiet()
    expect(a.client.received.all).toEqual(['1', '2'])
    expect(a.gaps.all).toEqual([])
    expect(a.hub.cluster.stats()).toMatchObject({ unknown: 2, malformed: 0, received: 2, lost: 0 })
    const reports = await a.faults.until('both reports', (all) => all.length === 2)
    expect(reports.map(({ message }) => message)).toEqual([
      'a message of the cluster has an unknown kind',
      '1 more: a message of the cluster has version 2',
    ])
    expect(reports).toEqual([hubError('WSHUB_ERR_ENVELOPE_VERSION'), hubError('WSHUB_ERR_ENVELOPE_VERSION')])
  })

  it('invalid envelopes do no harm', async () => {
    const bus = new Bus()
    const a = await join(bus)
    await enter(a, 'tea')
    const channels = ['wshub.r.tea', 'wshub.c', 'wshub.a', `wshub.n.${a.hub.cluster.node}`]
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      // Begins like an envelope.
      fc
        .tuple(fc.nat(8), fc.uint8Array({ maxLength: 60 }))
        .map(([kind, tail]) => Buffer.concat([Buffer.from([1, kind, 2, 0x78, 1, 1]), tail])),
    )
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...channels), bytes, async (channel, sent) => {
        bus.inject(channel, sent)
        await turn()
      }),
      { numRuns: 2_000 },
    )
    a.hub.broadcast('end')
    await a.client.received.first('the end', (text) => text === 'end')
    expect(a.connection.state).toBe('open')
    expect(a.hub.cluster.state).toBe('connected')
    const { malformed, unknown } = a.hub.cluster.stats()
    expect(malformed).toBeGreaterThan(50)
    expect(malformed + unknown).toBeGreaterThan(1_000)
    expect(a.faults.all.every((error) => error instanceof HubError)).toBe(true)
    expect(a.faults.all.length).toBeLessThan(1_000)
  })

  it('envelopes on a channel where they do not belong are ignored', async () => {
    const bus = new Bus()
    const a = await join(bus)
    const fake = stranger(bus)
    const own = `wshub.n.${a.hub.cluster.node}`
    fake.message(own, 'a message on the channel of a node')
    fake.message('wshub.c', 'a message on the control channel')
    fake.message('wshub.r.tea', 'a message on a channel that nobody listens to')
    await quiet()
    a.hub.broadcast('end')
    expect(await a.client.upTo('end')).toEqual([])
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
