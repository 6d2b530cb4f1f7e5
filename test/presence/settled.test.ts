import { describe, expect, it } from 'vitest'
import { Bus, type Published } from '../support/bus.ts'
import { acquainted } from '../support/cluster.ts'
import { eventually } from '../support/hub-server.ts'
import { presenceNode, presenceOf, toldIn, two, usersOf } from './support.ts'

/** One more member than an answer to a node that asks all others names. */
const TOO_MANY_FOR_A_BRIEF_ANSWER = 65

describe('#presenceSettled', () => {
  it('resolves when a node leaves whose members were announced and never arrived', async () => {
    const bus = new Bus()
    const [x, y] = await two(bus, { leaveGraceMs: 0 }, { callTimeoutMs: 20_000 })
    for (let i = 0; i < TOO_MANY_FOR_A_BRIEF_ANSWER; i++) await x.enter(`user-${i}`, 'a')
    let lost = 0
    y.backplane.drop = (_channel, bytes) => {
      const message = presenceOf(bytes)
      const isNamed = message?.op === 'answer' && message.rooms.some(({ isBrief }) => !isBrief)
      if (isNamed) lost++
      return isNamed
    }
    const settled = y.hub.presenceSettled('a')
    await eventually(
      'the members, which are lost',
      () => lost > 0,
      () => lost,
    )
    expect(y.hub.presence('a').isComplete).toBe(false)
    await x.hub.close({ timeoutMs: 1_000 })
    expect(await settled).toBe(true)
    expect(y.hub.presence('a')).toEqual({ members: [], count: 0, isComplete: true })
  })

  it('resolves when the changes that were announced arrive, before they are asked for', async () => {
    const bus = new Bus()
    const [x, y] = await two(bus, {}, { heartbeatTimeoutMs: 20_000, callTimeoutMs: 20_000 })
    await y.hub.presenceSettled('another') // later than the time for unknown nodes to become known
    const isOfNode = (channel: string) => channel.includes('.n.')
    y.backplane.delay = (channel) => isOfNode(channel) || channel.endsWith('.r.a')
    const start = bus.published.length
    const settled = y.hub.presenceSettled('a')
    const ops = () =>
      toldIn(bus.published.slice(start).filter(({ by }) => by === x.backplane)).map(({ op }) => op)
    await eventually('the answer that nobody is there', () => ops().includes('answer'), ops)
    y.backplane.stall()
    await x.enter('ann', 'a')
    await eventually('the digest', () => ops().includes('digest'), ops)
    // All in one turn: the digest, then the answer, then the changes that the digest has announced.
    y.backplane.release()
    y.backplane.resume()
    expect(await settled).toBe(true)
    expect(usersOf(y.hub, 'a')).toBe('ann:1')
  })

  it('asks a node that joins while the others are answering, too', async () => {
    const bus = new Bus()
    const cluster = { heartbeatTimeoutMs: 20_000, callTimeoutMs: 20_000 }
    const [x, y] = await two(bus, {}, cluster)
    await y.hub.presenceSettled('another') // later than the time for unknown nodes to become known
    await x.enter('ann', 'a')
    y.backplane.delay = (_channel, bytes) => presenceOf(bytes)?.op === 'answer'
    const start = bus.published.length
    const settled = y.hub.presenceSettled('a')
    const ops = () => toldIn(bus.published.slice(start)).map(({ op }) => op)
    await eventually('the question', () => ops().includes('ask'), ops)
    const z = await presenceNode(bus, {}, cluster)
    await acquainted([x, y, z])
    await z.enter('zoe', 'a')
    // It may have been asked before she came.
    const isOfZ = ({ by }: Published) => by === z.backplane
    const ofZ = () => toldIn(bus.published.filter(isOfZ)).map(({ op }) => op)
    await eventually('zoe, and an answer', () => ofZ().includes('delta') && ofZ().includes('answer'), ofZ)
    y.backplane.release()
    expect(await settled).toBe(true)
    expect(usersOf(y.hub, 'a')).toBe('ann:1 zoe:1')
  })
})
