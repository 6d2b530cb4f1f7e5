import assert from 'node:assert/strict'
import type { BackplaneState } from 'wshub'
import { type CaseContext, turn } from './case-context.ts'
import { stops } from './stops.ts'

/** The engine, cut off and reachable again. */
export interface Outage {
  cut(): Promise<void>
  restore(): Promise<void>
}

/** Cases by name, as those of the contract, with the means to cause an outage. */
export type OutageCases = Readonly<Record<string, (context: CaseContext, outage: Outage) => Promise<void>>>

/** The cases about an engine that cannot be reached for a while. */
export const OUTAGE_CASES: OutageCases = {
  async 'is reconnecting while the engine is unreachable, and restores every subscription'(context, outage) {
    const [publisher, subscriber] = await context.startTwo()
    const channels = Array.from({ length: 300 }, (_, index) => context.channel(String(index)))
    await subscriber.subscribe(...channels)
    for (let round = 0; round < 2; round++) {
      await outage.cut()
      await publisher.reaches('reconnecting')
      await subscriber.reaches('reconnecting')
      assert.equal(publisher.backplane.publish(channels[0] ?? '', Buffer.from('lost')), false)
      await outage.restore()
      await publisher.reaches('connected')
      await subscriber.reaches('connected')
      subscriber.received.length = 0
      for (const channel of channels) await publisher.publish(channel, channel)
      await subscriber.until('a message on each', () => subscriber.received.length >= channels.length)
      const heard = subscriber.received.map(({ bytes }) => bytes.toString())
      assert.deepEqual(heard.sort(), [...channels].sort())
    }
    for (const { states } of [publisher, subscriber]) {
      const again: BackplaneState[] = ['reconnecting', 'connected']
      assert.deepEqual(states, ['connected', ...again, ...again])
    }
  },

  async 'subscribes afterwards to channels requested during an outage, and to none that was unsubscribed'(
    context,
    outage,
  ) {
    const [publisher, subscriber] = await context.startTwo()
    const [asked, left, both] = [context.channel('asked'), context.channel('left'), context.channel('both')]
    await subscriber.subscribe(left)
    await outage.cut()
    await subscriber.reaches('reconnecting')
    let isConfirmed = false
    const confirmed = subscriber.backplane.subscribe(asked).then(() => {
      isConfirmed = true
    })
    const settled = subscriber.backplane.subscribe(both).catch(() => {})
    subscriber.backplane.unsubscribe(left)
    subscriber.backplane.unsubscribe(both)
    await turn()
    assert.equal(isConfirmed, false)
    await outage.restore()
    await subscriber.inTime('subscribe() to resolve', confirmed)
    await publisher.reaches('connected')
    await subscriber.inTime('subscribe() of an unsubscribed channel to settle', settled)
    await publisher.publish(asked, 'here')
    await subscriber.receives(asked, 'here')
    await stops(publisher, subscriber, left, asked)
    await stops(publisher, subscriber, both, asked)
  },

  async 'waits for an engine that is unreachable when it is started'(context, outage) {
    await outage.cut()
    const node = context.create()
    let isStarted = false
    const started = node.begin().then(() => {
      isStarted = true
    })
    const channel = context.channel()
    const confirmed = node.backplane.subscribe(channel)
    await turn()
    assert.equal(isStarted, false)
    assert.equal(node.backplane.state, 'connecting')
    await outage.restore()
    await node.inTime('start() to resolve', started)
    await node.inTime('subscribe() to resolve', confirmed)
    assert.deepEqual(node.states, ['connected'])
    await node.publish(channel, 'here')
    await node.receives(channel, 'here')
  },

  async 'can be closed while the engine is unreachable'(context, outage) {
    const connected = await context.start()
    await outage.cut()
    await connected.reaches('reconnecting')
    const node = context.create()
    const started = assert.rejects(node.begin())
    const settled = Promise.allSettled(
      [connected, node].map(({ backplane }) => backplane.subscribe(context.channel())),
    )
    for (const { inTime, backplane } of [connected, node]) {
      await inTime.call(node, 'close() to resolve', backplane.close())
      assert.equal(backplane.state, 'closed')
    }
    await node.inTime('start() to reject', started)
    await node.inTime('subscribe() to settle', settled)
  },
}
