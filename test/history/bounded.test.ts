import { describe, expect, it, onTestFinished } from 'vitest'
import { memoryHistory } from 'wshub'
import { positionOf } from '../../src/history/position.ts'
import { collectGarbage } from '../support/garbage.ts'
import { eventually, turn } from '../support/hub-server.ts'
import { BEHIND, Member, Node, PLAIN } from './node.ts'
import { serveHistory, text } from './support.ts'

const NONE = { key: undefined, exceptIds: [], exceptRooms: [] }

/** A member whose replay in the room `a` waits, since it does not read. */
async function stalled(): Promise<{ node: Node; member: Member }> {
  const node = new Node(memoryHistory())
  onTestFinished(() => node.history.close(0))
  const since = positionOf(await node.history.publish('a', { data: 'start', ...NONE }))
  const member = new Member('slow')
  node.join(member, 'a')
  member.isStalled = true
  await node.history.publish('a', { data: 'missed', ...NONE })
  void node.history.resume(member, 'a', { since })
  await eventually(
    'the replay to wait',
    () => member.waiting === 1,
    () => member.waiting,
  )
  return { node, member }
}

async function heapBytes(): Promise<number> {
  await turn()
  collectGarbage()
  return process.memoryUsage().heapUsed
}

describe('a client that does not read', () => {
  it('takes no memory for the rooms that it joins and leaves', async () => {
    const { node, member } = await stalled()
    const rooms = Array.from({ length: 1_000 }, (_, n) => `b${n}`).sort()
    node.history.broadcast(['a', ...rooms], { data: 'union', ...NONE }) // now `a` may share with any room
    const before = await heapBytes()
    for (let n = 0; n < 100_000; n++) {
      node.join(member, `${PLAIN} ${n}`)
      node.leave(member, `${PLAIN} ${n}`)
    }
    expect((await heapBytes()) - before).toBeLessThan(3_000_000) // 8 MB when the names were kept
  })

  it('is not told that it missed something in a room that it had left', async () => {
    const { node, member } = await stalled()
    node.join(member, 'b')
    node.history.broadcast(['a', 'b'], { data: 'union', ...NONE })
    await node.history.publish('b', { data: 'b', ...NONE })
    node.leave(member, 'b')
    node.join(member, 'b')
    node.leave(member, 'a')
    expect(member.received).toEqual(['missed', 'b'])
    expect(member.received).not.toContain(BEHIND)
  })

  it('takes no memory for the calls of resumeRoom that a later one has replaced', async () => {
    const { hub, connect } = await serveHistory({}, { slowConsumer: 'resync', maxBufferedBytes: 65_536 })
    const { client, connection } = await connect()
    const { position } = await hub.resumeRoom(connection, 'chat')
    client.socket.pause()
    await eventually(
      'the client to be congested',
      () => {
        if (connection.bufferedBytes < 40_000) connection.sendText(text('direct').padEnd(20_000))
        return connection.bufferedBytes >= 40_000
      },
      () => connection.bufferedBytes,
    )
    await hub.publish('chat', text('missed'))
    const resumeMany = async (count: number) => {
      for (let n = 0; n < count; n++) {
        void hub.resumeRoom(connection, 'chat', { since: position })
        for (let turns = 0; turns < 2; turns++) await turn() // it finds that it has to wait
      }
    }
    await resumeMany(1_000)
    const before = await heapBytes()
    await resumeMany(5_000)
    expect((await heapBytes()) - before).toBeLessThan(1_000_000) // 3 MB when the replays were kept
  })
})
