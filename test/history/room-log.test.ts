import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { MemoryHistoryBus, memoryHistory } from 'wshub'
import { positionOf } from '../../src/history/position.ts'
import { holdClock, passing, passingUntil } from '../support/held-clock.ts'
import { turn } from '../support/hub-server.ts'
import { FaultyStore } from './faulty-store.ts'
import { BEHIND, Member, Node } from './node.ts'
import { append, CONTENT, cluster, pair, single, untilReceived } from './nodes.ts'

beforeEach(() => holdClock())

/** A message that other nodes may have delivered before the store lost it. */
const LOST = { code: 'WSHUB_ERR_NOT_STORED', mayBeStored: true }

/** A node that follows a room from after its third message on, and the position before the first one. */
async function returning(options: { maxCachedBytes?: number }) {
  const bus = new MemoryHistoryBus()
  const publish = (data: string) => append(bus, data)
  const since = publish('0')
  for (const data of ['1', '2', '3']) publish(data)
  const store = new FaultyStore(memoryHistory({ bus }))
  const node = new Node(store, options)
  onTestFinished(() => node.history.close(0))
  node.join(new Member('first'))
  await passingUntil(
    'the store to connect',
    () => store.state === 'connected',
    () => store.state,
  )
  await turn()
  return { node, store, since }
}

describe('RoomLog', () => {
  it('delivers the messages of all nodes in one order', async () => {
    const { nodes } = await cluster(3)
    for (let n = 0; n < 20; n++)
      for (const [index, { node }] of nodes.entries()) node.publish(`${index}.${n}`)
    for (const { member } of nodes) await untilReceived(member, Array(60).fill(''))
    const [first, second, third] = nodes.map(({ member }) => member.received)
    expect(second).toEqual(first)
    expect(third).toEqual(first)
    expect(new Set(first).size).toBe(60)
  })

  it('reads a message that the feed has lost when the next one arrives', async () => {
    const { one, two } = await pair()
    two.store.feedToLose = 1
    for (const text of ['a', 'b', 'c']) one.node.publish(text)
    await untilReceived(two.member, ['a', 'b', 'c'])
    expect(two.member.received).toEqual(['a', 'b', 'c'])
    expect(two.node.history.stats).toMatchObject({ repaired: 3, lost: 0 })
  })

  it('reads the latest message, which the feed has lost, when it asks for the heads', async () => {
    const { one, two } = await pair()
    two.store.feedToLose = 1
    one.node.publish('a')
    await untilReceived(two.member, ['a'])
    expect(two.member.received).toEqual(['a'])
  })

  it('reads what was published while the store was away', async () => {
    const { bus, one, two } = await pair()
    one.node.publish('a')
    await untilReceived(two.member, ['a'])
    two.store.holdFeed()
    one.node.publish('b')
    await turn()
    bus.cut() // what is held is lost
    bus.restore()
    two.store.releaseFeed()
    await untilReceived(two.member, ['a', 'b'])
    expect(two.member.received).toEqual(['a', 'b'])
  })

  it('reads for many who come back in turns of a few ms, also from a store that answers at once', async () => {
    const { node, store, since } = await returning({ maxCachedBytes: 0 })
    store.readTakesMs = 1
    const perTurn: number[] = []
    let before = store.reads
    const countTurns = () => {
      perTurn.push(store.reads - before)
      before = store.reads
      timer = setImmediate(countTurns)
    }
    let timer = setImmediate(countTurns)
    const members = Array.from({ length: 300 }, (_, index) => new Member(`returning ${index}`))
    for (const member of members) node.join(member)
    const results = await Promise.all(members.map((member) => node.history.resume(member, 'room', { since })))
    clearImmediate(timer)
    expect(new Set(results.map(({ complete, replayed }) => `${complete} ${replayed}`))).toEqual(
      new Set(['true 3']),
    )
    expect(store.reads).toBeGreaterThan(300)
    expect(Math.max(...perTurn)).toBeLessThanOrEqual(5)
  })

  it('reads once for those who come back to a node that has just started', async () => {
    const { node, store, since } = await returning({})
    const results = []
    for (let index = 0; index < 50; index++) {
      const member = new Member(`returning ${index}`)
      node.join(member)
      results.push(await node.history.resume(member, 'room', { since }))
      expect(member.received).toEqual(['1', '2', '3'])
    }
    expect(results.every(({ complete, replayed }) => complete && replayed === 3)).toBe(true)
    expect(store.reads).toBeLessThan(5)
  })

  it.each([
    ['are too old', { maxAgeMs: 50 }, 1],
    ['are too many', { maxMessages: 2 }, 3],
  ])('does not replay messages that %s, though it has them in memory', async (_why, limits, count) => {
    const {
      nodes: [one],
    } = await cluster(1, { limits })
    if (one === undefined) throw new Error('there is one')
    const { node } = one
    const content = { data: '0', key: undefined, exceptIds: [], exceptRooms: [] }
    const since = positionOf(await node.history.publish('room', content))
    for (let n = 1; n <= count; n++) await node.history.publish('room', { ...content, data: `${n}` })
    const startedAt = performance.now()
    const passedMs = () => performance.now() - startedAt
    if ('maxAgeMs' in limits) await passingUntil('the message to be old', () => passedMs() > 60, passedMs)
    const member = new Member('late')
    node.join(member)

    const result = await node.history.resume(member, 'room', { since })

    expect(result).toMatchObject({ complete: false, replayed: 0 })
    expect(member.received).toEqual([BEHIND])
  })

  it('goes on reading when reads fail', async () => {
    const { one, two } = await pair()
    two.store.feedToLose = 1
    two.store.readsToFail = 2
    for (const text of ['a', 'b']) one.node.publish(text)
    await untilReceived(two.member, ['a', 'b'])
    expect(two.member.received).toEqual(['a', 'b'])
    expect(two.node.errors).toEqual([expect.objectContaining({ code: 'WSHUB_ERR_HISTORY_AWAY' })])
  })

  it('tells its members of messages that the store does not keep any more', async () => {
    const { one, two } = await pair({ limits: { maxMessages: 2 } })
    two.store.feedToLose = 3
    for (const text of ['a', 'b', 'c', 'd']) one.node.publish(text)
    await untilReceived(two.member, [BEHIND])
    one.node.publish('e')
    await untilReceived(two.member, [BEHIND, 'd', 'e'])
    expect(two.member.received).toEqual([BEHIND, 'd', 'e'])
    expect(one.member.received).toEqual(['a', 'b', 'c', 'd', 'e'])
    expect(two.node.history.stats.lost).toBe(1)
  })

  it('tells its members when the room was evicted', async () => {
    const { bus, one, two } = await pair()
    one.node.publish('a')
    await untilReceived(two.member, ['a'])
    bus.evict('room')
    one.node.publish('b')
    await untilReceived(two.member, ['a', BEHIND])
    one.node.publish('c')
    await untilReceived(two.member, ['a', BEHIND, 'b', 'c'])
    expect(two.member.received).toEqual(['a', BEHIND, 'b', 'c'])
  })

  it('has delivered a message when its publish resolves, also the first one after the room was evicted', async () => {
    const { bus, one } = await single()
    one.node.publish('a')
    await untilReceived(one.member, ['a'])
    bus.evict('room')
    await one.node.history.publish('room', { ...CONTENT, data: 'b' })
    expect(one.member.received).toEqual(['a', BEHIND, 'b'])
  })

  it('reads a message of its own node that the feed has lost, after others that it has not', async () => {
    const { one } = await single()
    one.store.hidesPrevious = true
    one.store.hidesHeads = true
    one.node.publish('a')
    await untilReceived(one.member, ['a'])
    one.store.feedToLose = 1
    one.node.publish('b')
    await untilReceived(one.member, ['a', 'b'])
    expect(one.member.received).toEqual(['a', 'b'])
  })

  it('rejects a publish whose message the store has lost before anybody received it', async () => {
    const { bus, one } = await single()
    one.store.hidesPrevious = true
    one.store.holdFeed()
    const published = one.node.history.publish('room', { ...CONTENT, data: 'a' })
    const rejected = expect(published).rejects.toMatchObject(LOST)
    await turn()
    bus.cut()
    bus.loseLatest('room', 1)
    bus.restore()
    await rejected
    expect(one.member.received).toEqual([])
  })

  it.each([undefined, 0])(
    'rejects a publish whose message the store has lost, and whose number another one has (cache: %s)',
    async (maxCachedBytes) => {
      const { bus, one } = await single({ maxCachedBytes })
      one.node.publish('a')
      await untilReceived(one.member, ['a'])
      one.store.feedToLose = 1
      append(bus, 'b')
      one.store.readsToFail = 1
      const published = one.node.history.publish('room', { ...CONTENT, data: 'c' })
      const rejected = expect(published).rejects.toMatchObject(LOST)
      await turn() // c is stored, and waits for b
      bus.cut()
      bus.loseLatest('room', 1)
      one.store.readsToFail = 1
      bus.restore()
      append(bus, 'd')
      append(bus, 'e')
      await untilReceived(one.member, ['a', 'b', 'd', 'e'])
      await rejected
    },
  )

  it('reports a broadcast whose message the store has lost before anybody received it', async () => {
    const { bus, one } = await single()
    one.store.hidesPrevious = true
    one.store.holdFeed()
    one.node.publish('a')
    await turn()
    bus.cut()
    bus.loseLatest('room', 1)
    bus.restore()
    const isReported = () => one.node.errors.some((error) => error.message.includes('has lost it since'))
    await passingUntil('the report', isReported, () => one.node.errors)
    expect(one.node.errors).toContainEqual(expect.objectContaining({ code: 'WSHUB_ERR_NOT_STORED' }))
    expect(one.member.received).toEqual([])
  })

  it('resolves a publish when the store has come back with its message, and with others before it', async () => {
    const { bus, one } = await single()
    one.store.hidesPrevious = true
    one.store.feedToLose = 2
    append(bus, 'a')
    const published = one.node.history.publish('room', { ...CONTENT, data: 'b' })
    await turn() // b is stored, and waits for a
    bus.cut()
    bus.restore()
    await published
    expect(one.member.received).toEqual(['a', 'b'])
  })

  it('waits with a publish while the store may have lost what has the same number', async () => {
    const bus = new MemoryHistoryBus()
    const store = new FaultyStore(memoryHistory({ bus }))
    store.hidesPrevious = true
    const node = new Node(store, { maxCachedBytes: 0 })
    onTestFinished(() => node.history.close(0))
    const member = new Member('member')
    node.join(member)
    for (const text of ['a', 'b', 'c']) node.publish(text)
    await untilReceived(member, ['a', 'b', 'c'])
    bus.cut()
    bus.loseLatest('room', 2)
    store.readsToFail = 1
    bus.restore()
    // It has the number that b had.
    await passing(node.history.publish('room', { ...CONTENT, data: 'd' }))
    expect(member.received).toEqual(['a', 'b', 'c', BEHIND])
  })

  it('tells its members when the store came back without its latest writes, whatever was stored since', async () => {
    const { bus, one, two } = await pair()
    for (const text of ['a', 'b']) one.node.publish(text)
    await untilReceived(two.member, ['a', 'b'])
    bus.cut()
    bus.loseLatest('room', 1)
    two.store.holdReplies()
    bus.restore()
    two.store.feedToLose = 1
    for (const text of ['c', 'd']) one.node.publish(text) // c has the number that b had
    for (let turns = 0; turns < 5; turns++) await turn()
    expect(two.member.received).toEqual(['a', 'b'])
    two.store.releaseReplies()
    await untilReceived(two.member, ['a', 'b', BEHIND])
    one.node.publish('e')
    await passingUntil(
      'e',
      () => two.member.received.includes('e'),
      () => two.member.received,
    )
    expect(two.member.received).toEqual(['a', 'b', BEHIND, 'c', 'd', 'e'])
  })

  it('has a client told that stands before what the store has lost, on every node', async () => {
    const { bus, one, two } = await pair()
    one.node.publish('a')
    await untilReceived(two.member, ['a'])
    const { position: since } = await one.node.history.read('room', {})
    for (const text of ['b', 'c']) one.node.publish(text)
    await untilReceived(one.member, ['a', 'b', 'c'])
    await untilReceived(two.member, ['a', 'b', 'c'])
    bus.cut()
    bus.loseLatest('room', 1)
    bus.restore()
    for (const { member } of [one, two]) await untilReceived(member, ['a', 'b', 'c', BEHIND])
    one.node.publish('d')
    for (const { node, member } of [one, two]) {
      await untilReceived(member, ['a', 'b', 'c', BEHIND, 'd'])
      expect(member.received).toEqual(['a', 'b', 'c', BEHIND, 'd'])
      expect(await node.history.read('room', { since })).toMatchObject({ complete: false })
    }
  })

  it('asks the store about a position whose message it has not seen itself', async () => {
    const bus = new MemoryHistoryBus()
    const publish = (data: string) => append(bus, data)
    publish('a')
    const since = publish('b')
    bus.loseLatest('room', 1)
    const store = new FaultyStore(memoryHistory({ bus }))
    const node = new Node(store)
    onTestFinished(() => node.history.close(0))
    store.readsToFail = 1
    node.join(new Member('first'))
    await passingUntil(
      'a read to fail',
      () => node.errors.length > 0,
      () => store.state,
    )
    store.feedToLose = 1
    for (const data of ['c', 'd']) publish(data) // c has the number that b had
    const member = new Member('returning')
    node.join(member)
    const resumed = node.history.resume(member, 'room', { since })
    expect(await passing(resumed)).toMatchObject({ complete: false })
  })

  it('does not send again what a replay has sent that turns out to be incomplete', async () => {
    const { bus, one, two } = await pair({ limits: { maxMessages: 3 } })
    one.node.publish('a')
    await untilReceived(two.member, ['a'])
    bus.evict('room')
    two.store.readsToFail = 1 // the first one is of the log: it holds what follows
    for (const text of ['b', 'c', 'd']) one.node.publish(text)
    await passingUntil(
      'a read to fail',
      () => two.node.errors.length > 0,
      () => two.member.received,
    )
    const late = new Member('late')
    late.isStalled = true
    two.node.join(late)
    const resumed = two.node.history.resume(late, 'room', { last: 2 })
    await passingUntil(
      'the replay to wait',
      () => late.waiting > 0,
      () => late.received,
    )
    for (const text of ['e', 'f', 'g', 'h', 'i']) one.node.publish(text)
    await untilReceived(one.member, ['a', BEHIND, 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'])
    late.drain()
    expect(await passing(resumed)).toMatchObject({ complete: false, replayed: 2 })
    one.node.publish('j')
    await untilReceived(late, ['c', 'd', BEHIND, 'j'])
    expect(late.received).toEqual(['c', 'd', BEHIND, 'j'])
  })

  it('replays again what was dropped for a member at the moment of its delivery', async () => {
    const { node, since } = await returning({ maxCachedBytes: 0 })
    class Overflowing extends Member {
      override deliver(...args: Parameters<Member['deliver']>): boolean {
        super.deliver(...args)
        const [, , origin] = args
        if (origin === undefined || this.received.length !== 2) return true
        this.received.push('dropped')
        node.history.resync(this, [origin])
        return true
      }
    }
    const member = new Overflowing('overflowing')
    node.join(member)
    const resumed = node.history.resume(member, 'room', { since })
    await passingUntil(
      'the replay to wait until the client reads on',
      () => member.waiting > 0,
      () => member.received,
    )
    expect(member.received).toEqual(['1', '2', 'dropped'])
    member.drain()
    expect(await resumed).toMatchObject({ complete: true })
    expect(member.received).toEqual(['1', '2', 'dropped', '2', '3'])
  })

  it('goes on with the other members when the replay to one throws', async () => {
    const { node, since } = await returning({})
    class Broken extends Member {
      override deliver(): boolean {
        throw new Error('broken')
      }
    }
    const broken = new Broken('broken')
    const member = new Member('returning')
    for (const each of [broken, member]) node.join(each)
    const results = [broken, member].map((each) => node.history.resume(each, 'room', { since }))
    expect(await Promise.all(results)).toMatchObject([{ complete: false }, { complete: true, replayed: 3 }])
    expect(node.errors).toEqual([new Error('broken')])
    expect(member.received).toEqual(['1', '2', '3'])
  })

  it('misses nothing that its own node publishes right after a member has joined', async () => {
    const { two } = await pair()
    const late = new Member('late')
    two.node.join(late, 'other')
    two.node.publish('a', 'other')
    two.node.publish('b', 'other')
    await untilReceived(late, ['a', 'b'])
    expect(late.received).toEqual(['a', 'b'])
  })
})
