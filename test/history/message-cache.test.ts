import { describe, expect, it, onTestFinished } from 'vitest'
import { MemoryHistoryBus, memoryHistory } from 'wshub'
import { OutgoingMessage } from '../../src/delivery/outgoing-message.ts'
import { HistoryMessage } from '../../src/history/history-message.ts'
import { MessageCache } from '../../src/history/message-cache.ts'
import { positionOf } from '../../src/history/position.ts'
import { RecentMessages } from '../../src/history/recent-messages.ts'
import { eventually, turn } from '../support/hub-server.ts'
import { FaultyStore } from './faulty-store.ts'
import { Member, Node } from './node.ts'

const START = { epoch: 'e', offset: 0, tag: '' }
const NONE = { key: undefined, union: [], exceptIds: [], exceptRooms: [] }

function message(offset: number): HistoryMessage {
  const place = { epoch: 'e', offset, tag: '' }
  const after = { ...place, offset: offset - 1 }
  return new HistoryMessage(
    { room: 'room', sharesWith: () => false },
    place,
    after,
    { data: 'x', ...NONE },
    new OutgoingMessage('x', false),
  )
}

const SIZE = message(1).bytes

/** A room with a place in a cache, and the offsets of what it has. */
function roomOf(cache: MessageCache, { maxMessages = 100, floor = 0 } = {}) {
  const recent = new RecentMessages({ ...START, offset: floor }, { maxMessages, maxAgeMs: 60_000 }, cache)
  const offsets = () =>
    Array.from({ length: 30 }, (_, offset) => offset).filter((offset) => recent.at(offset))
  return { recent, offsets }
}

describe('MessageCache', () => {
  it('removes the oldest messages of all rooms when there are too many bytes', () => {
    const cache = new MessageCache(3 * SIZE)
    const [one, two] = [roomOf(cache), roomOf(cache)]
    one.recent.push(message(1))
    two.recent.push(message(1))
    one.recent.push(message(2))
    two.recent.push(message(2))
    expect([one.offsets(), two.offsets(), cache.bytes]).toEqual([[2], [1, 2], 3 * SIZE])
  })

  it('does not count what a room has removed because it was too much', () => {
    const cache = new MessageCache(100 * SIZE)
    const [quiet, busy] = [roomOf(cache), roomOf(cache, { maxMessages: 5 })]
    quiet.recent.push(message(1))
    for (let offset = 1; offset <= 1_000; offset++) busy.recent.push(message(offset))
    expect([quiet.offsets(), cache.bytes]).toEqual([[1], 6 * SIZE])
  })

  it('does not count what was removed when messages were lost', () => {
    const cache = new MessageCache(100 * SIZE)
    const { recent } = roomOf(cache)
    for (let offset = 1; offset <= 20; offset++) recent.push(message(offset))
    recent.clear({ ...START, offset: 30 })
    expect(cache.bytes).toBe(0)
  })

  it('counts what was read again, and keeps no more of it than there is room for', () => {
    const cache = new MessageCache(6 * SIZE)
    const { recent, offsets } = roomOf(cache, { floor: 10 })
    for (let offset = 11; offset <= 14; offset++) recent.push(message(offset))
    recent.prepend({ ...START, offset: 8 }, [message(9), message(10)])
    expect([offsets(), cache.bytes]).toEqual([[9, 10, 11, 12, 13, 14], 6 * SIZE])
    recent.prepend({ ...START, offset: 6 }, [message(7), message(8)])
    expect([offsets().length * SIZE, offsets().at(-1)]).toEqual([cache.bytes, 14])
    expect(cache.bytes).toBeLessThanOrEqual(6 * SIZE)
  })
})

describe('a node with several rooms', () => {
  /** A node with room for ten messages in memory, and a room with three. */
  async function nodeWithQuietRoom(limits = {}) {
    const store = new FaultyStore(memoryHistory({ bus: new MemoryHistoryBus() }))
    const node = new Node(store, { limits, maxCachedBytes: 10 * SIZE })
    onTestFinished(() => node.history.close(0))
    node.join(new Member('first'), 'quiet')
    await eventually(
      'the store to connect',
      () => store.state === 'connected',
      () => store.state,
    )
    await turn()
    const since = positionOf(await publish(node, 'quiet'))
    for (let n = 0; n < 2; n++) await publish(node, 'quiet')
    const readsOfResume = async () => {
      const member = new Member('second')
      node.join(member, 'quiet')
      const before = store.reads
      const { complete, replayed } = await node.history.resume(member, 'quiet', { since })
      expect({ complete, replayed }).toEqual({ complete: true, replayed: 2 })
      return store.reads - before
    }
    return { node, readsOfResume }
  }

  const publish = (node: Node, room: string) =>
    node.history.publish(room, { data: 'x', key: undefined, exceptIds: [], exceptRooms: [] })

  it('keeps the messages of a quiet room while a busy one keeps few', async () => {
    const { node, readsOfResume } = await nodeWithQuietRoom({ maxMessages: 5 })
    node.join(new Member('third'), 'busy')
    for (let n = 0; n < 50; n++) await publish(node, 'busy')
    expect(await readsOfResume()).toBe(0)
  })

  it('keeps no messages of a room that it does not follow any more', async () => {
    const { node, readsOfResume } = await nodeWithQuietRoom()
    const member = new Member('third')
    node.join(member, 'left')
    for (let n = 0; n < 5; n++) await publish(node, 'left')
    node.leave(member, 'left')
    await eventually(
      'the room to be left',
      () => node.history.stats.rooms === 1,
      () => node.history.stats,
    )
    node.join(member, 'other')
    for (let n = 0; n < 5; n++) await publish(node, 'other')
    expect(await readsOfResume()).toBe(0)
  })
})
