import { describe, expect, it, onTestFinished } from 'vitest'
import { MemoryHistoryBus, memoryHistory } from 'wshub'
import { encodeRecord } from '../../src/history/record.ts'
import { eventually, turn } from '../support/hub-server.ts'
import { FaultyStore } from './faulty-store.ts'
import { BEHIND, Member, Node } from './node.ts'

const LIMITS = { maxMessages: 3, maxAgeMs: 3_600_000 }
const CONTENT = { key: undefined, exceptIds: [], exceptRooms: [] }

/** A node that follows a room of which at most three messages are kept. */
async function following() {
  const bus = new MemoryHistoryBus()
  const store = new FaultyStore(memoryHistory({ bus }))
  const node = new Node(store, { limits: LIMITS })
  onTestFinished(() => node.history.close(0))
  const member = new Member('member')
  node.join(member)
  const received = (texts: readonly string[]) =>
    eventually(
      `the texts ${texts}`,
      () => member.received.length >= texts.length,
      () => member.received,
    )
  await eventually(
    'the store to connect',
    () => store.state === 'connected',
    () => store.state,
  )
  await turn()
  /** Stores a message of another process. */
  const append = (data: string) => bus.append('room', encodeRecord({ ...CONTENT, data, union: [] }), LIMITS)
  return { bus, store, node, member, received, append }
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
})
