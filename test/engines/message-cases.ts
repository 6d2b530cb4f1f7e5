import { expect, it } from 'vitest'
import { ChannelNames } from '../../src/cluster/wire/channel-names.ts'
import { encodeEnvelope } from '../../src/cluster/wire/envelope.ts'
import type { ClusterFixture } from './cluster-fixture.ts'
import { Member } from './member.ts'

/** Tests of the delivery of messages. */
export function messageCases(cluster: ClusterFixture): void {
  it('a message reaches everyone, and everyone but one, on any node', async () => {
    const members = await cluster.three()
    const [a, b, c] = members
    expect(await a.hub.call('broadcast', 'of a')).toBe(1)
    expect(await b.hub.call('broadcastExcept', 'not a', a.id)).toBe(1)
    expect(await b.hub.call('broadcastExcept', 'not b', b.id)).toBe(0)
    expect(await b.hub.call('broadcastExcept', 'not c', c.id)).toBe(1)
    expect(await c.hub.call('broadcast', 'of c')).toBe(1)
    await cluster.received(members, [
      ['of a', 'not b', 'not c', 'of c'],
      ['of a', 'not a', 'not c', 'of c'],
      ['of a', 'not a', 'not b', 'of c'],
    ])
  })

  it('a message reaches a room, a room but one, and each member of several rooms once', async () => {
    const members = await cluster.three()
    const [a, b, c] = members
    await cluster.enter(a, 'tea')
    await cluster.enter(b, 'tea', 'rum')
    await cluster.enter(c, 'rum', 'milk')
    await a.hub.call('broadcastToRoom', 'tea', 'tea')
    await a.hub.call('broadcastToRoom', 'rum', 'rum')
    await a.hub.call('broadcastToRoomExcept', 'tea', 'tea but b', b.id)
    await b.hub.call('broadcastToRoomExcept', 'rum', 'rum but c', c.id)
    await a.hub.call('broadcastToRoom', ['tea', 'rum', 'milk', 'none'], 'all of them')
    await a.hub.call('broadcastToRoomExcept', ['rum', 'milk'], 'two but c', c.id)
    await c.hub.call('broadcastToRoom', 'none', 'nobody')
    const many = Array.from({ length: 40 }, (_, index) => `room ${index}`)
    await a.hub.call('broadcastToRoom', [...many, 'tea', 'milk'], 'very many')
    // The last message on each of these channels.
    for (const hub of [a.hub, b.hub]) {
      for (const room of ['tea', 'rum', 'milk']) {
        await hub.call('broadcastToRoom', room, `${room} of ${hub === a.hub ? 'a' : 'b'}`)
      }
    }
    const tea = ['tea of a', 'tea of b']
    const rum = ['rum of a', 'rum of b']
    await cluster.received(members, [
      ['tea', 'tea but b', 'all of them', 'very many', ...tea],
      ['tea', 'rum', 'rum but c', 'all of them', 'two but c', 'very many', ...tea, ...rum],
      ['rum', 'all of them', 'very many', ...rum, 'milk of a', 'milk of b'],
    ])
  })

  it('a message can exclude several connections and the members of rooms, on any node', async () => {
    const members = await cluster.three()
    const [a, b, c] = members
    await cluster.enter(a, 'except')
    await cluster.enter(b, 'except', 'out')
    await cluster.enter(c, 'except', 'gone')
    await a.hub.call('broadcastWith', 'only c', { except: [a.id, b.id] })
    await a.hub.call('broadcastWith', 'only a', { exceptRooms: ['out', 'gone'] })
    await b.hub.call('broadcastWith', 'here', { local: true })
    await b.hub.call('broadcastToRoomWith', 'except', 'not out', { exceptRooms: 'out' })
    await a.hub.call('broadcastToRoomWith', ['except', 'gone'], 'not a, not out', {
      except: a.id,
      exceptRooms: 'out',
    })
    for (const hub of [a.hub, b.hub]) {
      await hub.call('broadcastToRoom', 'except', hub === a.hub ? 'end of a' : 'end of b')
    }
    const ends = ['end of a', 'end of b']
    await cluster.received(members, [
      ['only a', 'not out', ...ends],
      ['here', ...ends],
      ['only c', 'not out', 'not a, not out', ...ends],
    ])
  })

  it('a message of any text or bytes reaches a room of any name', async () => {
    const members = await cluster.three()
    const [a, b, c] = members
    const names = [
      'é',
      'e\u0301',
      '茶 🍵',
      '\ud800',
      '\ud801',
      'a.b',
      'a_2eb',
      ' ',
      '*',
      '>',
      'x'.repeat(250),
    ]
    for (const [index, room] of names.entries()) await cluster.enter(index % 2 === 0 ? b : c, room)
    for (const [index] of names.entries()) await a.hub.call('broadcastToRoom', names[index] ?? '', `${index}`)
    const every = Uint8Array.from({ length: 256 }, (_, value) => value)
    const long = 'grüße 🍵'.repeat(10_000)
    for (const data of ['', long, new Uint8Array(), every]) await a.hub.call('broadcast', data)
    const payloads = ['', long, '0x', `0x${Buffer.from(every).toString('hex')}`]
    const of = (rest: number) => names.flatMap((_, index) => (index % 2 === rest ? `${index}` : []))
    await cluster.received(members, [payloads, [...of(0), ...payloads], [...of(1), ...payloads]])
  })

  it('a message reaches one connection, on any node', async () => {
    const members = await cluster.three()
    const [a, b, c] = members
    expect(await a.hub.call('sendTo', a.id, 'to a')).toBe(true)
    expect(await a.hub.call('sendTo', b.id, 'to b')).toBe(true)
    expect(await a.hub.call('sendTo', c.id, Buffer.from([0, 255]))).toBe(true)
    expect(await a.hub.call('sendTo', `${c.hub.node}.gone`, 'to nobody')).toBe(true)
    expect(await a.hub.call('sendTo', 'no id', 'to nobody')).toBe(false)
    await cluster.received(members, [['to a'], ['to b'], ['0x00ff']])
  })

  it('messages arrive in the order in which their node published them', async () => {
    const [a, b, c] = await cluster.three()
    for (const member of [a, b, c]) await cluster.enter(member, 'order')
    await Promise.all(
      [a, b].flatMap(({ hub }) => Array.from({ length: 5 }, () => hub.call('publish', 'order', 200))),
    )
    const all = Array.from({ length: 1_000 }, (_, index) => index)
    for (const to of [a, b, c]) {
      for (const { hub } of [a, b]) {
        await to.reached(hub, 'order', 999)
        expect(to.numbers(hub, 'order')).toEqual(all)
      }
    }
  })

  it('a message to a room does not reach a node that has no member there', async () => {
    const members = await cluster.three()
    const [a, b, c] = members
    await cluster.enter(b, 'costs')
    const before = await Promise.all(cluster.hubs.map((hub) => hub.call('seen')))
    await a.hub.call('publish', 'costs', 100)
    await b.reached(a.hub, 'costs', 99)
    await cluster.settled(members)
    const after = await Promise.all(cluster.hubs.map((hub) => hub.call('seen')))
    // The markers of the two other nodes.
    const cost = after.map(({ stats }, index) => stats.received - (before[index]?.stats.received ?? 0) - 2)
    expect(cost).toEqual([0, 100, 0])
    expect(c.numbers(a.hub, 'costs')).toEqual([])
  })

  it('a process without connections or a server can publish, even when it ends at once', async () => {
    const members = await cluster.three()
    const [a, b, c] = members
    await cluster.enter(b, 'jobs')
    await cluster.enter(c, 'jobs')
    await cluster.spare.open({ isServing: false })
    await cluster.spare.until('the others', ({ stats }) => stats.nodes === 4)
    expect(await cluster.spare.call('broadcast', 'all')).toBe(0)
    expect(await cluster.spare.call('broadcastExcept', 'but c', c.id)).toBe(0)
    expect(await cluster.spare.call('broadcast', 'all again')).toBe(0)
    expect(await cluster.spare.call('broadcastToRoom', 'jobs', new Uint8Array([1]))).toBe(0)
    expect(await cluster.spare.call('sendTo', a.id, 'one')).toBe(true)
    expect(await cluster.spare.call('roomSize', 'jobs')).toMatchObject({ count: 2, missing: [] })
    expect(await cluster.spare.call('leave', { id: c.id }, 'jobs')).toMatchObject({ count: 1, missing: [] })
    await cluster.spare.call('leaveWith', 'jobs', 'parting words')
    await cluster.received(members, [
      ['all', 'but c', 'all again', 'one'],
      ['all', 'but c', 'all again', '0x01', 'parting words'],
      ['all', 'all again', '0x01'],
    ])
    await cluster.acquainted() // it has said goodbye
  })

  it('a process that publishes before it is connected and closes at once loses nothing', async () => {
    const members = await cluster.three()
    const [, b] = members
    await cluster.enter(b, 'script')
    await cluster.spare.call('publishAtOnce', 'script', 'early')
    await b.hears('early')
    await cluster.received(members, [[], ['early'], []])
    await cluster.acquainted() // it has said goodbye
  })

  it('a message stays in its namespace', async () => {
    const members = await cluster.three()
    const [a] = members
    await cluster.spare.open({ namespace: 'another' })
    const stranger = await Member.of(cluster.spare, 'stranger')
    await cluster.enter(stranger, 'tea')
    await cluster.enter(a, 'tea')
    await a.hub.call('broadcast', 'of a')
    await a.hub.call('broadcastToRoom', 'tea', 'tea of a')
    await a.hub.call('sendTo', stranger.id, 'to a stranger')
    await cluster.spare.call('broadcastToRoom', 'tea', 'tea of a stranger')
    await cluster.spare.call('sendTo', a.id, 'of a stranger')
    await cluster.received(members, [['of a', 'tea of a'], ['of a'], ['of a']])
    await cluster.spare.call('sendTo', stranger.id, 'end')
    await stranger.hears('end')
    expect(stranger.texts).toEqual(['tea of a stranger', 'end'])
    expect(await cluster.spare.call('nodes')).toMatchObject({
      results: [{ node: cluster.spare.node }],
      missing: [],
    })
    expect((await a.hub.call('nodes')).results).toHaveLength(3)
    await cluster.spare.call('close')
  })

  it('an envelope of another version or unknown kind is counted, reported and dropped', async () => {
    const members = await cluster.three()
    const [, b] = members
    await cluster.enter(b, 'versions')
    const channel = new ChannelNames('wshub').room('versions')
    const message = (number: number, data: string, change: (bytes: Buffer) => void = () => {}) => {
      const plain = { rooms: undefined, union: 0, exceptIds: [], exceptRooms: [], options: undefined }
      const bytes = encodeEnvelope(
        { node: 'stranger', epoch: 1, sequence: number },
        { kind: 'message', data, ...plain },
      )
      change(bytes)
      return { channel, bytes }
    }
    const before = await b.hub.call('seen')
    await cluster.spare.call('inject', [
      message(1, 'known'),
      message(2, 'of a later version', (bytes) => bytes.writeUInt8(2, 0)),
      message(2, 'of a later kind', (bytes) => bytes.writeUInt8(99, 1)),
      { channel, bytes: Buffer.from('of somebody else') },
      message(3, 'known too'),
    ])
    await cluster.received(members, [[], ['known', 'known too'], []])
    const { stats, faults } = await b.hub.call('seen')
    expect(stats.unknown - before.stats.unknown).toBe(3) // what is of somebody else has a version of its own, too
    expect(stats.lost - before.stats.lost).toBe(0)
    expect(faults).toContain('WSHUB_ERR_ENVELOPE_VERSION')
  })

  it('messages arrive without a gap from the moment a join is confirmed', async () => {
    const [a, b, c] = await cluster.three()
    const rooms = Array.from({ length: 10 }, (_, index) => `race-${index}`)
    for (const room of rooms) {
      await a.hub.call('stream', room)
      const joined = await a.hub.call('joinAndPublish', { id: [b.id, c.id] }, room, 20)
      expect(joined).toMatchObject({ count: 2, missing: [] })
      await a.hub.call('endStream')
      const end = await a.hub.call('published', room)
      for (const member of [b, c]) {
        await member.reached(a.hub, room, end - 1)
        const numbers = member.numbers(a.hub, room)
        const [first = 0] = numbers
        expect(first, room).toBeLessThanOrEqual(joined.first)
        expect(numbers).toEqual(Array.from({ length: end - first }, (_, at) => first + at))
      }
    }
    for (const { hub } of [b, c]) {
      const { gaps } = await hub.call('seen')
      expect(gaps.filter(({ room = '' }) => rooms.includes(room))).toEqual([])
    }
  })
}
