import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { type ContractCases, turn } from './case-context.ts'
import { stops } from './stops.ts'

/** The cases about channels that are subscribed and unsubscribed. */
export const SUBSCRIPTION_CASES: ContractCases = {
  async 'delivers messages published right after a subscription is confirmed'(context) {
    const [publisher, subscriber] = await context.startTwo()
    for (let round = 0; round < 100; round++) {
      const channel = context.channel()
      await subscriber.subscribe(channel)
      await publisher.publish(channel, 'first')
      await subscriber.receives(channel, 'first')
    }
  },

  async 'keeps a thousand channels apart'(context) {
    const [publisher, subscriber] = await context.startTwo()
    const channels = Array.from({ length: 1_000 }, (_, index) => context.channel(String(index)))
    await subscriber.subscribe(...channels)
    for (const channel of channels) await publisher.publish(channel, channel)
    await subscriber.until('a message on each', () => subscriber.received.length === channels.length)
    for (const { channel, bytes } of subscriber.received) assert.equal(bytes.toString(), channel)
    assert.equal(new Set(subscriber.received.map(({ channel }) => channel)).size, channels.length)
  },

  async 'accepts every name a hub may give: up to 200 characters, dots anywhere'(context) {
    const [publisher, subscriber] = await context.startTwo()
    const unique = randomUUID()
    const ends = ['', '.', '..', '._', '-', '_', '.a', '.A', '.a.', '.a.b', '.a..b', '.ab', '0', '.z']
    const names = [
      ...ends.map((end) => unique + end),
      ...['.', '..', '-', '_'].map((start) => start + unique),
    ]
    names.push(unique.padEnd(200, 'ABCxyz019_-.'), unique.padEnd(199, 'ABCxyz019_-.'))
    for (const name of names) assert.match(name, /^[A-Za-z0-9_.-]{1,200}$/)
    await subscriber.subscribe(...names)
    for (const name of names) await publisher.publish(name, name)
    await subscriber.until('a message on each', () => subscriber.received.length === names.length)
    for (const { channel, bytes } of subscriber.received) assert.equal(channel, bytes.toString())
  },

  async 'subscribes once, however often it is called'(context) {
    const [publisher, subscriber] = await context.startTwo()
    const channel = context.channel()
    await subscriber.subscribe(channel, channel)
    await subscriber.subscribe(channel)
    await publisher.publish(channel, 'once')
    await publisher.publish(channel, 'marker')
    await subscriber.receives(channel, 'marker')
    assert.deepEqual(subscriber.texts(channel), ['once', 'marker'])
    subscriber.backplane.unsubscribe(channel)
    await stops(publisher, subscriber, channel, context.channel())
  },

  async 'stops the messages of a channel that is unsubscribed, and of no other'(context) {
    const [publisher, subscriber] = await context.startTwo()
    const [left, kept] = [context.channel(), context.channel()]
    await subscriber.subscribe(left, kept)
    await publisher.subscribe(left)
    subscriber.backplane.unsubscribe(left)
    await stops(publisher, subscriber, left, kept)
    await publisher.receives(left, 'last')
    subscriber.backplane.unsubscribe(context.channel('never subscribed'))
  },

  async 'follows the last call when a channel is subscribed and unsubscribed in quick succession'(context) {
    const [publisher, subscriber] = await context.startTwo()
    const { backplane } = subscriber
    const [on, off, kept] = [context.channel('on'), context.channel('off'), context.channel('kept')]
    await subscriber.subscribe(kept)
    const settled: Promise<unknown>[] = []
    for (let round = 0; round < 60; round++) {
      settled.push(backplane.subscribe(on), backplane.subscribe(off))
      if (round % 3 > 0) await turn()
      backplane.unsubscribe(on)
      if (round % 5 > 2) await turn()
      settled.push(backplane.subscribe(on))
      backplane.unsubscribe(off)
      if (round % 7 > 4) await turn()
    }
    await subscriber.inTime('every subscribe() to settle', Promise.allSettled(settled))
    await subscriber.subscribe(on)
    await publisher.publish(on, 'here')
    await subscriber.receives(on, 'here')
    await stops(publisher, subscriber, off, kept)
    await publisher.publish(on, 'marker')
    await subscriber.receives(on, 'marker')
    assert.deepEqual(subscriber.texts(on), ['here', 'marker'])
  },

  async 'loses nothing of a channel that is unsubscribed and subscribed again'(context) {
    const [publisher, subscriber] = await context.startTwo()
    const channel = context.channel()
    for (let round = 0; round < 50; round++) {
      await subscriber.subscribe(channel)
      subscriber.backplane.unsubscribe(channel)
      if (round % 2 === 0) await turn()
      await subscriber.subscribe(channel)
      await publisher.publish(channel, `round ${round}`)
      await subscriber.receives(channel, `round ${round}`)
      if (round % 3 === 0) subscriber.backplane.unsubscribe(channel)
    }
    assert.equal(subscriber.received.length, 50)
  },
}
