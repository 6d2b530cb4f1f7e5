import { beforeEach, describe, expect, it } from 'vitest'
import { holdClock, passingUntil } from '../support/held-clock.ts'
import { turn } from '../support/hub-server.ts'
import { BEHIND, Member, type Node } from './node.ts'
import { append as appendTo, CONTENT, single, untilReceived } from './nodes.ts'

beforeEach(() => holdClock())

const LIMITS = { maxMessages: 3, maxAgeMs: 3_600_000 }

/** A node that follows a room of which at most three messages are kept. */
async function following() {
  const { bus, one } = await single({ limits: LIMITS })
  const { member } = one
  const received = (texts: readonly string[]) => untilReceived(member, texts)
  return { ...one, bus, received, append: (data: string) => appendTo(bus, data, LIMITS) }
}

/** A client that came back with a position of which not all that follows is kept; has asked for it. */
async function returned(node: Node, since: string | undefined): Promise<Member> {
  const client = new Member('client')
  node.join(client)
  expect(await node.history.resume(client, 'room', { since })).toMatchObject({ complete: false })
  return client
}

describe('A message of a room with a history', () => {
  it('comes once, although a read brought it while the store may have lost messages', async () => {
    const { bus, store, node, member, received, append } = await following()
    store.holdFeed()
    append('lost')
    bus.loseLatest('room', 1)
    append('a') // it has the number of the one that was lost
    node.publish('b')
    await received(['a', 'b'])
    append('c')
    node.publish('d')
    store.holdReplies() // of the read of c
    await turn()
    const { reads } = store
    for (const text of ['e', 'f', 'g', 'h']) append(text)
    store.releaseFeed()
    await turn()
    expect(store.reads).toBe(reads)
    store.releaseReplies()
    await received(['a', 'b', BEHIND, 'c', 'd', 'e', 'f', 'g', 'h'])
    expect(member.received).toEqual(['a', 'b', BEHIND, 'c', 'd', 'e', 'f', 'g', 'h'])
  })

  it('comes once to a client of a node that was ahead, although not all after it is kept', async () => {
    const { store, node, append } = await following()
    store.holdFeed()
    const [, , since] = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map(append)
    const client = await returned(node, since)
    store.releaseFeed()
    await node.history.publish('room', { ...CONTENT, data: 'h' })
    expect(client.received).toEqual([BEHIND, 'h'])
  })

  it('comes once to a client that has it of an epoch that the node does not know yet', async () => {
    const { bus, store, node, received, append } = await following()
    append('z')
    await received(['z'])
    store.holdFeed()
    bus.evict('room')
    const [, , since] = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map(append)
    const client = await returned(node, since)
    store.releaseFeed()
    await node.history.publish('room', { ...CONTENT, data: 'h' })
    expect(client.received).toEqual([BEHIND, 'h'])
  })

  it('comes once to a client of a node that was ahead, which asks for the latest messages instead', async () => {
    const { store, node, received, append } = await following()
    append('a')
    append('b')
    await received(['a', 'b'])
    store.holdFeed()
    const [since] = ['c', 'd', 'e', 'f', 'g'].map(append)
    const client = new Member('client')
    node.join(client)
    const resumed = node.history.resume(client, 'room', { since, last: 2 })
    await passingUntil(
      'the latest messages',
      () => client.received.length >= 3,
      () => client.received,
    )
    store.releaseFeed()
    expect(await resumed).toMatchObject({ complete: false })
    await node.history.publish('room', { ...CONTENT, data: 'h' })
    expect(client.received).toEqual([BEHIND, 'f', 'g', 'h'])
  })

  it('comes once to a client whose position could not be trusted before it was looked up', async () => {
    const { bus, store, node, received, append } = await following()
    const [, since] = ['a', 'b', 'c'].map(append)
    await received(['a', 'b', 'c'])
    bus.cut()
    store.holdReplies() // of the read by which the node finds out that nothing was lost
    bus.restore()
    await turn()
    store.feedToLose = 4
    for (const text of ['d', 'e', 'f', 'g']) append(text)
    const client = new Member('client')
    node.join(client)
    const { reads } = store
    const resumed = node.history.resume(client, 'room', { since, last: 2 })
    await passingUntil(
      'the read after the position',
      () => store.reads > reads,
      () => store.reads,
    )
    store.releaseReplies()
    expect(await resumed).toMatchObject({ complete: true })
    expect(client.received).toEqual(['c'])
  })
})
