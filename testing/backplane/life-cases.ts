import assert from 'node:assert/strict'
import { type ContractCases, turn } from './case-context.ts'

/** The cases about the states of a backplane, from its start to its end. */
export const LIFE_CASES: ContractCases = {
  async 'is connecting, then connected, then closed'(context) {
    const node = context.create()
    assert.equal(node.backplane.state, 'connecting')
    await node.start()
    assert.equal(node.backplane.state, 'connected')
    await node.inTime('close() to resolve', node.backplane.close())
    assert.equal(node.backplane.state, 'closed')
    assert.deepEqual(node.states, ['connected', 'closed'])
    await node.inTime('a second close() to resolve', node.backplane.close())
  },

  async 'is started once'(context) {
    const node = await context.start()
    await assert.rejects(node.inTime('a second start() to reject', node.begin()))
    assert.equal(node.backplane.state, 'connected')
    assert.deepEqual(node.states, ['connected'])
  },

  async 'is not started after it is closed'(context) {
    const node = context.create()
    await node.inTime('close() to resolve', node.backplane.close())
    await assert.rejects(node.inTime('start() to reject', node.begin()))
    assert.equal(node.backplane.state, 'closed')
    assert.deepEqual(node.states, [])
  },

  async 'accepts nothing before it is started or after it is closed'(context) {
    const listener = await context.start()
    const channel = context.channel()
    await listener.subscribe(channel)
    const node = context.create()
    assert.equal(node.backplane.publish(channel, Buffer.from('before')), false)
    await node.start()
    await node.publish(channel, 'marker')
    await listener.receives(channel, 'marker')
    await node.backplane.close()
    assert.equal(node.backplane.publish(channel, Buffer.from('after')), false)
    await listener.publish(channel, 'end')
    await listener.receives(channel, 'end')
    assert.deepEqual(listener.texts(channel), ['marker', 'end'])
  },

  async 'subscribes to channels requested before it is started'(context) {
    const node = context.create()
    const channel = context.channel()
    const confirmed = node.backplane.subscribe(channel)
    await node.start()
    await node.inTime('subscribe() to resolve', confirmed)
    await node.publish(channel, 'here')
    await node.receives(channel, 'here')
  },

  async 'rejects a subscription made after it is closed'(context) {
    const node = await context.start()
    await node.backplane.close()
    await assert.rejects(node.inTime('subscribe() to settle', node.backplane.subscribe(context.channel())))
  },

  async 'rejects the start and the subscriptions that are pending when it is closed'(context) {
    const node = context.create()
    const started = node.begin()
    const confirmed = node.backplane.subscribe(context.channel())
    const settled = Promise.allSettled([started, confirmed])
    await node.inTime('close() to resolve', node.backplane.close())
    for (const { status } of await node.inTime('both to settle', settled)) assert.equal(status, 'rejected')
  },

  async 'sends messages published before it is closed'(context) {
    const [publisher, subscriber] = await context.startTwo()
    const channel = context.channel()
    await subscriber.subscribe(channel)
    for (let index = 0; index < 100; index++) publisher.backplane.publish(channel, Buffer.from(`${index}`))
    await publisher.backplane.close()
    await subscriber.receives(channel, '99')
    assert.equal(subscriber.received.length, 100)
  },

  async 'delivers nothing after it is closed'(context) {
    const [publisher, subscriber] = await context.startTwo()
    const channel = context.channel()
    for (const node of [publisher, subscriber]) await node.subscribe(channel)
    const closed = subscriber.backplane.close()
    await publisher.publish(channel, 'too late')
    await publisher.receives(channel, 'too late')
    await closed
    await turn()
    assert.deepEqual(subscriber.texts(channel), [])
  },

  async 'releases connections and timers when it is closed'(context) {
    const before = process.getActiveResourcesInfo().length
    const nodes = await context.startTwo()
    for (const node of nodes) await node.subscribe(context.channel())
    await Promise.all(nodes.map(({ backplane }) => backplane.close()))
    const [node] = nodes
    const left = () => process.getActiveResourcesInfo()
    await node.until(`${before} active resources`, () => left().length <= before)
  },
}
