import { expect, it } from 'vitest'
import { Bus } from '../support/bus.ts'
import { acquainted, type ClusterNode, enter, heard, join } from '../support/cluster.ts'
import { eventually } from '../support/hub-server.ts'
import { agreed, presenceNode, presenceOf, toldIn, usersOf } from './support.ts'

const KIND_AT = 1
const UNKNOWN_KIND = 99

/** A node of a version that has no presence: what the others tell of it is of an unknown kind. */
async function olderNode(bus: Bus): Promise<ClusterNode> {
  const node = await join(bus)
  node.backplane.drop = (_channel, bytes) => {
    if (presenceOf(bytes) !== undefined) bytes.writeUInt8(UNKNOWN_KIND, KIND_AT)
    return false
  }
  return node
}

it('Beside a node of an older version, presence is true of the others, and not complete', async () => {
  const bus = new Bus()
  const old = await olderNode(bus)
  const [x, y] = [await presenceNode(bus), await presenceNode(bus)]
  await acquainted([old, x, y])
  await enter(old, 'a')
  await x.enter('ann', 'a')
  const bob = await y.enter('bob', 'a')
  expect(await x.hub.presenceSettled('a')).toBe(false)
  const seen = () => [x, y].map(({ hub }) => usersOf(hub, 'a'))
  const agree = (users: string) => eventually(users, () => seen().every((text) => text === users), seen)
  await agree('ann:1 bob:1')
  const { client } = await x.enter('cid', 'a')
  await agree('ann:1 bob:1 cid:1')
  y.hub.leaveRoom(bob.connection, 'a')
  await agree('ann:1 cid:1')
  expect([x, y].map(({ hub }) => hub.presence('a').isComplete)).toEqual([false, false])

  // The older node has lost nothing, and its messages arrive.
  old.hub.broadcastToRoom('a', 'of the older node')
  await client.received.first('the message', (text) => text === 'of the older node')
  x.hub.broadcastToRoom('a', 'to the older node')
  expect((await heard([x, old]))[1]).toEqual(['of the older node', 'to the older node'])
  expect(old.gaps.all).toEqual([])
  expect(old.hub.cluster.stats()).toMatchObject({ lost: 0, malformed: 0 })
  expect(old.hub.cluster.stats().unknown).toBeGreaterThan(0)

  await old.hub.close({ timeoutMs: 1_000 })
  await agreed([x, y], 'a', 'ann:1 cid:1')
})

it('A node of an older version is asked ever more rarely', async () => {
  const bus = new Bus()
  const old = await olderNode(bus)
  const x = await presenceNode(bus, {}, { callTimeoutMs: 40 })
  await acquainted([old, x])
  await x.enter('ann', 'a')
  expect(await x.hub.presenceSettled('a')).toBe(false)
  const told = (op: string) =>
    toldIn(bus.published.filter(({ by }) => by === x.backplane)).filter((message) => message.op === op).length
  const asked = told('ask')
  const digests = told('digest')
  await eventually(
    '60 beats',
    () => told('digest') >= digests + 60,
    () => told('digest'),
  )
  // After 1, 2, 4, 8, 16 and 32 beats.
  expect(told('ask') - asked).toBeLessThanOrEqual(6)
})
