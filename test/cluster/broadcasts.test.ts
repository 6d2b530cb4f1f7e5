import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Connection, HubErrorCode, SendOptions } from 'wshub'
import { openEnvelope, readBody } from '../../src/cluster/wire/envelope.ts'
import { Bus } from '../support/bus.ts'
import { acquainted, type ClusterNode, enter, heard, join, three } from '../support/cluster.ts'
import { type Client, eventually, turn } from '../support/hub-server.ts'
import { published, quiet } from './envelopes.ts'

const hubError = (code: HubErrorCode) => expect.objectContaining({ name: 'HubError', code })

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
