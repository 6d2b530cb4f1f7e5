import { describe, expect, it } from 'vitest'
import { openEnvelope } from '../../src/cluster/wire/envelope.ts'
import { Bus } from '../support/bus.ts'
import { type ClusterNode, enter, three, untilState } from '../support/cluster.ts'
import { eventually } from '../support/hub-server.ts'

/** Longer than the time for which a node that comes back asks how far the others are. */
const LONG_AGO_MS = 800

/** Waits until something was so long ago that a node which was away for a moment does not ask for it. */
async function longAgo(): Promise<void> {
  const since = performance.now()
  const ageMs = () => performance.now() - since
  await eventually('time to pass', () => ageMs() > LONG_AGO_MS, ageMs)
}

async function untilCheckpoint(bus: Bus, { backplane }: ClusterNode): Promise<void> {
  const count = bus.published.length
  const isCheckpoint = () =>
    bus.published
      .slice(count)
      .some(
        ({ by, channel, bytes }) =>
          by === backplane && channel.endsWith('.r.tea') && openEnvelope(bytes).kind === 'checkpoint',
      )
  await eventually('a checkpoint', isCheckpoint, () => bus.published.length - count)
}

describe('two outages, one after the other', () => {
  it('a gap is reported when the receiver is away while the publisher comes back', async () => {
    const bus = new Bus()
    const [a, b] = await three(bus)
    await enter(b, 'tea')
    a.hub.broadcastToRoom('tea', '1')
    await b.client.received.first('the first', (text) => text === '1')
    a.backplane.cut()
    a.hub.broadcastToRoom('tea', '2')
    await longAgo()
    b.backplane.cut()
    a.backplane.restore()
    await untilCheckpoint(bus, a)
    b.backplane.restore()
    await b.gaps.first('the gap', ({ room }) => room === 'tea')
    expect(b.gaps.all).toEqual([{ node: a.hub.cluster.node, scope: 'room', room: 'tea', count: 1 }])
  })

  it('a gap is reported when the receiver is away again before it learns of it', async () => {
    const bus = new Bus()
    const [a, b] = await three(bus)
    await enter(b, 'tea')
    a.hub.broadcastToRoom('tea', '1')
    await b.client.received.first('the first', (text) => text === '1')
    b.backplane.cut()
    a.hub.broadcastToRoom('tea', '2')
    await longAgo()
    b.backplane.drop = (channel, bytes) =>
      channel.endsWith('.r.tea') && openEnvelope(bytes).stamp.node === a.hub.cluster.node
    b.backplane.restore()
    await untilState(b, 'connected')
    b.backplane.cut()
    await untilState(b, 'reconnecting')
    b.backplane.drop = () => false
    await untilCheckpoint(bus, a)
    b.backplane.restore()
    await b.gaps.first('the gap', ({ room }) => room === 'tea')
    expect(b.gaps.all).toEqual([{ node: a.hub.cluster.node, scope: 'room', room: 'tea', count: 1 }])
  })
})
