import { describe, expect, it } from 'vitest'
import { Bus } from '../support/bus.ts'
import { acquainted, untilState } from '../support/cluster.ts'
import { eventually } from '../support/hub-server.ts'
import { WAIT_MS } from '../support/in-time.ts'
import { quiet } from './quiet.ts'
import { agreed, type PresenceNode, presenceNode, presenceOf, toldIn, two } from './support.ts'

/** A question that is lost is not asked again by time in these tests. */
const SETTINGS = { heartbeatTimeoutMs: 20_000, callTimeoutMs: 2 * WAIT_MS }

/** Nodes that know each other, each with a user in the room `a`. */
async function crowd(bus: Bus, count: number): Promise<[nodes: PresenceNode[], users: string]> {
  const nodes: PresenceNode[] = []
  for (let i = 0; i < count; i++) nodes.push(await presenceNode(bus, {}, SETTINGS))
  await acquainted(nodes)
  for (const [i, node] of nodes.entries()) await node.enter(`user-${i}`, 'a')
  const users = usersText(nodes.map((_, i) => `user-${i}`))
  await agreed(nodes, 'a', users)
  return [nodes, users]
}

describe('Presence after an outage of the engine', () => {
  it('is complete once the last node is back, with one more question to each that comes later', async () => {
    const bus = new Bus()
    const [nodes, users] = await crowd(bus, 6)
    bus.stop()
    for (const { backplane } of nodes) backplane.cut()
    bus.start()
    const start = bus.published.length
    for (const node of nodes) {
      node.backplane.restore()
      await untilState(node, 'connected')
    }
    await agreed(nodes, 'a', users)
    const asks = toldIn(bus.published.slice(start)).filter(
      (message) => message.op === 'ask' && !message.isFull,
    )
    expect(asks.length).toBe(6 + (6 * 5) / 2)
  })

  it('asks no question again from before an outage of its own', async () => {
    const bus = new Bus()
    const [x, y] = await two(bus, {}, SETTINGS)
    let lost = 0
    x.backplane.drop = (_channel, bytes) => {
      const isAnswer = presenceOf(bytes)?.op === 'answer'
      if (isAnswer) lost++
      return isAnswer
    }
    const untilLost = (count: number) =>
      eventually(
        `${count} answers`,
        () => lost >= count,
        () => lost,
      )
    x.hub.presence('a')
    await untilLost(1)
    x.backplane.cut()
    x.backplane.restore()
    await untilLost(2)
    const start = bus.published.length
    x.backplane.drop = () => false
    y.backplane.cut()
    y.backplane.restore()
    await agreed([x], 'a', '')
    expect(toldIn(bus.published.slice(start)).filter(({ op }) => op === 'ask')).toHaveLength(1)
  })

  it('asks again a node that was cut off in the middle of its answer', async () => {
    const [x, y] = await two(new Bus(), {}, { ...SETTINGS, maxEnvelopeBytes: 1_024 })
    const users = Array.from({ length: 30 }, (_, i) => `${'x'.repeat(100)}${i}`)
    for (const user of users) y.hub.joinRoom(quiet(y.hub, user), 'a')
    let lost = 0
    x.backplane.drop = (_channel, bytes) => {
      const message = presenceOf(bytes)
      const isEnd = message?.op === 'answer' && message.isLast && message.part > 0
      if (isEnd) lost++
      return isEnd
    }
    x.hub.presence('a')
    await eventually(
      'the end of the answer',
      () => lost > 0,
      () => lost,
    )
    y.backplane.cut()
    x.backplane.drop = () => false
    y.backplane.restore()
    await agreed([x], 'a', usersText(users))
  })

  it.each(['the node that asks', 'the other node'])(
    'finds out what did not arrive, after an answer was lost with the connection of %s',
    async (whose) => {
      const [x, y] = await two(new Bus(), {}, SETTINGS)
      await x.enter('ann', 'a')
      await agreed([x, y], 'a', usersText(['ann']))
      let lost = 0
      x.backplane.drop = (_channel, bytes) => {
        const op = presenceOf(bytes)?.op
        if (op === 'answer') lost++
        return op === 'answer' || op === 'delta'
      }
      await y.enter('bob', 'a')
      await eventually(
        'a question that is not answered',
        () => lost > 0,
        () => lost,
      )
      const { backplane } = whose === 'the other node' ? y : x
      backplane.cut()
      x.backplane.drop = (_channel, bytes) => presenceOf(bytes)?.op === 'delta'
      backplane.restore()
      await agreed([x, y], 'a', usersText(['ann', 'bob']))
      await y.enter('cid', 'a')
      await agreed([x, y], 'a', usersText(['ann', 'bob', 'cid']))
    },
  )
})

function usersText(users: readonly string[]): string {
  return users
    .map((user) => `${user}:1`)
    .sort()
    .join(' ')
}
