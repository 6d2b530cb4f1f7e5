import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { MemoryHistoryBus, memoryHistory } from 'wshub'
import { holdClock, passingUntil } from '../support/held-clock.ts'
import { turn } from '../support/hub-server.ts'
import { inTime } from '../support/in-time.ts'
import { FaultyStore } from './faulty-store.ts'
import { BEHIND, Member, Node } from './node.ts'
import { append, single, untilReceived } from './nodes.ts'

beforeEach(() => holdClock())

/** Enough memory for two messages, and for four. */
const TWO_MESSAGES_BYTES = 1_200
const FOUR_MESSAGES_BYTES = 2_400

/** A client that reads nothing after its first message until it is drained. */
class SlowMember extends Member {
  override deliver(...message: Parameters<Member['deliver']>): boolean {
    this.isStalled = this.received.length === 0
    return super.deliver(...message)
  }
}

/**
 * A node with a member that has received a, b, c and d, of which the store has lost all but a. It has e, f, g
 * and h in their place and after them, which the node does not know yet.
 */
async function unaware(maxCachedBytes: number) {
  const { bus, one } = await single({ maxCachedBytes })
  const since = append(bus, 'a')
  for (const data of ['b', 'c', 'd']) append(bus, data)
  await untilReceived(one.member, ['a', 'b', 'c', 'd'])
  one.store.failsComparing = true
  bus.cut()
  bus.loseLatest('room', 3)
  bus.restore()
  for (const data of ['e', 'f', 'g', 'h']) append(bus, data)
  await untilFailed(one)
  return { bus, ...one, since }
}

async function untilFailed({ node }: { readonly node: Node }): Promise<void> {
  await passingUntil(
    'a read to fail',
    () => node.errors.length > 0,
    () => node.errors,
  )
}

/** Ends the outage: the node may compare what it has with the store. */
function notice(bus: MemoryHistoryBus, store: FaultyStore): void {
  store.failsComparing = false
  bus.cut()
  bus.restore()
}

async function untilWaiting(...members: readonly Member[]): Promise<void> {
  await passingUntil(
    'the replays to wait for their clients',
    () => members.every(({ waiting }) => waiting === 1),
    () => members.map(({ waiting }) => waiting),
  )
}

function ended<Result>(resumed: Promise<Result>, { received }: Member): Promise<Result> {
  return inTime('the end of the replay', resumed, () => received)
}

it('a member is told when a message that waited for another one has taken the place of a lost one', async () => {
  const { bus, one } = await single()
  append(bus, 'a')
  await untilReceived(one.member, ['a'])
  one.store.feedToLose = 1
  append(bus, 'b')
  one.store.holdReplies()
  const { reads } = one.store
  append(bus, 'c') // waits for b, which is read
  await passingUntil(
    'a read',
    () => one.store.reads > reads,
    () => one.store.reads,
  )
  bus.loseLatest('room', 1)
  append(bus, 'in the place of c')
  append(bus, 'd')
  await turn() // both arrive
  one.store.releaseReplies()
  await untilReceived(one.member, ['a', 'b', 'c', BEHIND])
  append(bus, 'e')
  await untilReceived(one.member, ['a', 'b', 'c', BEHIND, 'e'])
  expect(one.member.received).toEqual(['a', 'b', 'c', BEHIND, 'e'])
})

describe('a replay from a store that has lost its latest writes', () => {
  it('does not go on with what its node has kept after what has taken the place of a lost message', async () => {
    const { bus, node, store, member, since } = await unaware(TWO_MESSAGES_BYTES)
    const late = new Member('late')
    node.join(late)
    const resumed = node.history.resume(late, 'room', { since })
    await untilReceived(late, ['e', 'f', 'g', 'h'])
    expect(late.received).toEqual(['e', 'f', 'g', 'h'])
    notice(bus, store)
    expect(await ended(resumed, late)).toMatchObject({ complete: false, replayed: 4 })
    expect(member.received).toEqual(['a', 'b', 'c', 'd', BEHIND])
  })

  it('does not go on with what its node has kept after what it has read in the place of a lost message', async () => {
    const bus = new MemoryHistoryBus()
    const since = append(bus, 'a')
    append(bus, 'b')
    const store = new FaultyStore(memoryHistory({ bus }))
    const node = new Node(store)
    onTestFinished(() => node.history.close(0))
    const member = new Member('early')
    node.join(member)
    await inTime('the place of the node', node.history.resume(member, 'room', {})) // it keeps what follows b
    for (const data of ['c', 'd']) append(bus, data)
    await untilReceived(member, ['c', 'd'])
    store.hidesHeads = true
    store.holdFeed()
    bus.loseLatest('room', 3)
    for (const data of ['e', 'f', 'g', 'h']) append(bus, data)
    const late = new Member('late')
    node.join(late)
    const resumed = node.history.resume(late, 'room', { since })
    expect(await ended(resumed, late)).toMatchObject({ complete: false, replayed: 4 })
    expect(late.received).toEqual(['e', 'f', 'g', 'h', BEHIND])
  })

  it('does not go on with what it has read after what its node had kept', async () => {
    const { bus, node, store, since } = await unaware(FOUR_MESSAGES_BYTES)
    const late = new SlowMember('late')
    node.join(late)
    const resumed = node.history.resume(late, 'room', { since })
    await untilReceived(late, ['b']) // c waits
    const other = new Member('other')
    node.join(other, 'other')
    node.publish('.'.repeat(FOUR_MESSAGES_BYTES), 'other') // takes the memory of d
    await untilReceived(other, ['.'])
    late.drain()
    await untilReceived(late, ['b', 'c'])
    notice(bus, store)
    expect(await ended(resumed, late)).toMatchObject({ complete: false, replayed: 2 })
    expect(late.received.filter((data) => data !== BEHIND)).toEqual(['b', 'c'])
  })

  it('ends when the store has lost its place, which its node did not know', async () => {
    const { bus, one } = await single()
    one.node.publish('a')
    await untilReceived(one.member, ['a'])
    one.store.feedToLose = 1
    one.store.failsComparing = true
    const since = append(bus, 'b')
    const late = new Member('late')
    one.node.join(late)
    const resumed = one.node.history.resume(late, 'room', { since })
    await untilFailed(one)
    bus.cut()
    bus.loseLatest('room', 1)
    one.store.failsComparing = false
    bus.restore()
    expect(await ended(resumed, late)).toMatchObject({ complete: false, replayed: 0 })
    expect(late.received).toEqual([BEHIND]) // by then, so that the application may send the position
    append(bus, 'c')
    await untilReceived(late, [BEHIND, 'c'])
    expect(late.received).toEqual([BEHIND, 'c'])
  })

  it('tells its member before it receives live messages, also those that come in the same turn', async () => {
    const { bus, one } = await single({ maxCachedBytes: 0, limits: { maxMessages: 2 } })
    const limits = { maxMessages: 2, maxAgeMs: 3_600_000 }
    const since = append(bus, 'a', limits)
    for (const data of ['b', 'c']) append(bus, data, limits)
    await untilReceived(one.member, ['a', 'b', 'c'])
    const late = new Member('late')
    late.isStalled = true
    one.node.join(late)
    const resumed = one.node.history.resume(late, 'room', { since })
    await untilWaiting(late)
    for (const data of ['d', 'e', 'f']) append(bus, data, limits)
    await untilReceived(one.member, ['a', 'b', 'c', 'd', 'e', 'f'])
    one.store.holdReplies()
    late.drain()
    await untilReceived(late, ['b', 'c'])
    one.store.feedToLose = 1
    for (const data of ['g', 'h']) append(bus, data, limits)
    await passingUntil(
      'the node to read for the replay and for what the feed has lost',
      () => one.store.heldReplies === 2,
      () => one.store.heldReplies,
    )
    one.store.releaseReplies()
    expect(await ended(resumed, late)).toMatchObject({ complete: false, replayed: 2 })
    append(bus, 'i', limits)
    await untilReceived(one.member, [...'abcdefghi'])
    expect(late.received.slice(0, 3)).toEqual(['b', 'c', BEHIND])
    expect(late.received.at(-1)).toBe('i')
  })

  it('rejects before its member is told when the store cannot be read, so that it can be closed', async () => {
    const { bus, one } = await single({ maxCachedBytes: 0 })
    const since = append(bus, 'a')
    append(bus, 'b')
    await untilReceived(one.member, ['a', 'b'])
    one.store.readsToFail = 1
    const late = new Member('late')
    one.node.join(late)
    const resumed = one.node.history.resume(late, 'room', { since })
    await expect(ended(resumed, late)).rejects.toMatchObject({ code: 'WSHUB_ERR_HISTORY_AWAY' })
    expect(late.received).toEqual([])
    append(bus, 'c')
    await untilReceived(late, [BEHIND, 'c'])
    expect(late.received).toEqual([BEHIND, 'c'])
  })

  it('begins again with the latest messages, as asked for, when all that it was to send is lost', async () => {
    const { bus, one } = await single()
    const since = append(bus, 'a')
    append(bus, 'b')
    await untilReceived(one.member, ['a', 'b'])
    const [newcomer, back] = [new Member('newcomer'), new Member('back')]
    const resumed = [newcomer, back].map((late) => {
      late.isStalled = true
      one.node.join(late)
      return one.node.history.resume(late, 'room', late === back ? { since, last: 2 } : { last: 2 })
    })
    await untilWaiting(newcomer, back)
    bus.evict('room')
    for (const data of ['c', 'd', 'e']) append(bus, data)
    await untilReceived(one.member, ['a', 'b', BEHIND])
    newcomer.drain()
    back.drain()
    expect(await inTime('the end of the replays', Promise.all(resumed), () => back.received)).toMatchObject([
      { complete: true, replayed: 2 },
      { complete: false, replayed: 2 },
    ])
    expect([newcomer.received, back.received]).toEqual([
      ['d', 'e'],
      [BEHIND, 'd', 'e'],
    ])
  })
})
