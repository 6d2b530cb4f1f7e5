import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { type ContractCases, turn } from './case-context.ts'

/** The cases about messages: what arrives, where and in which order. */
export const MESSAGE_CASES: ContractCases = {
  async 'delivers a message to each subscriber once, the publisher included'(context) {
    const [one, two] = await context.startTwo()
    const three = await context.start()
    const channel = context.channel()
    for (const node of [one, two, three]) await node.subscribe(channel)
    await one.publish(channel, 'from one')
    await two.publish(channel, 'from two')
    for (const node of [one, two, three]) {
      await node.receives(channel, 'from one')
      await node.receives(channel, 'from two')
    }
    await three.publish(channel, 'marker')
    for (const node of [one, two, three]) {
      await node.receives(channel, 'marker')
      assert.deepEqual(node.texts(channel).sort(), ['from one', 'from two', 'marker'])
    }
  },

  async 'delivers no message of another channel'(context) {
    const [publisher, subscriber] = await context.startTwo()
    const [wanted, other] = [context.channel(), context.channel()]
    await publisher.subscribe(other)
    await subscriber.subscribe(wanted)
    await publisher.publish(other, 'for others')
    await publisher.receives(other, 'for others')
    await publisher.publish(wanted, 'marker')
    await subscriber.receives(wanted, 'marker')
    assert.deepEqual(
      subscriber.received.map(({ channel }) => channel),
      [wanted],
    )
  },

  async 'keeps the order of each publisher'(context) {
    const count = 2_000
    const publishers = await context.startTwo()
    const [subscriber] = await context.startTwo()
    const channel = context.channel()
    await subscriber.subscribe(channel)
    await Promise.all(
      publishers.map(async (publisher, name) => {
        for (let index = 0; index < count; index++) {
          await publisher.publish(channel, `${name} ${index}`)
          if (index % 100 === 0) await turn()
        }
      }),
    )
    for (const name of publishers.keys()) await subscriber.receives(channel, `${name} ${count - 1}`)
    for (const name of publishers.keys()) {
      const texts = subscriber.texts(channel).filter((text) => text.startsWith(`${name} `))
      assert.deepEqual(
        texts,
        Array.from({ length: count }, (_, index) => `${name} ${index}`),
      )
    }
  },

  async 'carries bytes of every kind: none, each value, a million'(context) {
    const [publisher, subscriber] = await context.startTwo()
    const channel = context.channel()
    await subscriber.subscribe(channel)
    const every = Uint8Array.from({ length: 256 }, (_, value) => value)
    const within = new Uint8Array(randomBytes(64).buffer, 8, 16)
    const sent = [
      new Uint8Array(),
      every,
      within,
      Buffer.from('\r\n$-1\r\nPONG\r\n\0'),
      randomBytes(1_000_000),
    ]
    for (const bytes of sent) await publisher.publish(channel, bytes)
    await subscriber.until('all messages', () => subscriber.received.length === sent.length)
    for (const [index, bytes] of sent.entries()) {
      const received = subscriber.received[index]?.bytes
      assert.ok(Buffer.isBuffer(received))
      assert.ok(received.equals(bytes), `message ${index} of ${bytes.length} bytes arrived as it was sent`)
    }
  },

  async 'gives each receiver bytes of its own'(context) {
    const [publisher, subscriber] = await context.startTwo()
    const channel = context.channel()
    for (const node of [publisher, subscriber]) await node.subscribe(channel)
    const sent = Array.from({ length: 50 }, (_, index) => randomBytes(index * 40))
    for (const bytes of sent) {
      await publisher.publish(channel, bytes)
      await turn()
    }
    for (const node of [publisher, subscriber]) {
      await node.until('all messages', () => node.received.length === sent.length)
    }
    for (const { bytes } of publisher.received) bytes.fill(0)
    for (const [index, bytes] of sent.entries()) assert.ok(subscriber.received[index]?.bytes.equals(bytes))
  },

  async 'goes on when its listener throws'(context) {
    const [throwing, other] = [context.create(), await context.start()]
    await throwing.inTime(
      'start() to resolve',
      throwing.begin(() => {
        throw new Error('of the listener')
      }),
    )
    const channel = context.channel()
    for (const node of [throwing, other]) await node.subscribe(channel)
    for (const text of ['one', 'two', 'three']) await other.publish(channel, text)
    for (const node of [throwing, other]) {
      await node.receives(channel, 'three')
      assert.deepEqual(node.texts(channel), ['one', 'two', 'three'])
    }
    await throwing.until('a report of each', () => throwing.errors.length === 3)
    for (const { message } of throwing.errors) assert.equal(message, 'of the listener')
    assert.deepEqual(throwing.states, ['connected'])
  },
}
