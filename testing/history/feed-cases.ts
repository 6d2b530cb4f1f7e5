import assert from 'node:assert/strict'
import { expectChain, inOrder, LIMITS } from './bench.ts'
import type { Case } from './history-contract.ts'

/** The cases about messages that a store passes on, and about its start and end. */
export const FEED_CASES: Readonly<Record<string, Case>> = {
  async 'passes on to a subscriber what it appends itself'(bench) {
    const store = await bench.started()
    const room = bench.room()
    await store.subscribe(room)
    const mark = await store.append(room, 'one')
    await store.heard(room, 'one')
    const [stored] = store.of(room)
    assert.deepEqual(
      { epoch: stored?.epoch, offset: stored?.offset, tag: stored?.tag },
      { epoch: mark.epoch, offset: mark.offset, tag: mark.tag },
    )
  },

  async 'passes on every message, each with its place'(bench) {
    const store = await bench.started()
    const room = bench.room()
    await store.subscribe(room)
    const texts = Array.from({ length: 200 }, (_, index) => `${index}`)
    await Promise.all(texts.map((text) => store.append(room, text)))
    await store.heard(room, '199')
    await store.until('all of them', () => store.of(room).length === texts.length)
    const received = inOrder(store.of(room))
    expectChain(received)
    const { records } = await store.read(room, { last: texts.length })
    assert.deepEqual(received.slice(1), records.slice(1)) // a read does not know what was before
  },

  async 'passes on nothing of other rooms'(bench) {
    const store = await bench.started()
    const [room, other] = [bench.room(), bench.room()]
    await store.subscribe(room)
    await store.append(other, 'elsewhere')
    await store.append(room, 'marker')
    await store.heard(room, 'marker')
    assert.deepEqual(store.texts(other), [])
  },

  async 'passes on nothing more when the subscription has ended'(bench) {
    const store = await bench.started()
    const [room, marker] = [bench.room(), bench.room()]
    await store.subscribe(room)
    await store.subscribe(marker)
    store.store.unsubscribe(room)
    await store.subscribe(bench.room()) // behind the end of the subscription
    await store.append(room, 'late')
    await store.append(marker, 'marker')
    await store.heard(marker, 'marker')
    assert.deepEqual(store.texts(room), [])
  },

  async 'subscribes again after the end of a subscription'(bench) {
    const store = await bench.started()
    const room = bench.room()
    await store.subscribe(room)
    store.store.unsubscribe(room)
    await store.subscribe(room)
    await store.append(room, 'again')
    await store.heard(room, 'again')
    assert.equal(store.of(room).length, 1)
  },

  async 'is connecting, connected and closed'(bench) {
    const store = bench.station()
    assert.equal(store.store.state, 'connecting')
    await store.start()
    assert.equal(store.store.state, 'connected')
    await store.store.close()
    assert.equal(store.store.state, 'closed')
  },

  async 'is closed more than once without harm'(bench) {
    const store = await bench.started()
    await Promise.all([store.store.close(), store.store.close()])
    await store.store.close()
  },

  async 'is closed before it was started'(bench) {
    const store = bench.station()
    await store.store.close()
    assert.equal(store.store.state, 'closed')
  },

  async 'refuses everything once it is closed'(bench) {
    const store = await bench.started()
    const room = bench.room()
    await store.store.close()
    await assert.rejects(store.append(room, 'late'))
    await assert.rejects(store.read(room, { last: 1 }))
    await assert.rejects(store.heads(room))
    await assert.rejects(store.subscribe(room))
    store.store.unsubscribe(room)
  },

  async 'stores what was appended before it is closed'(bench) {
    const store = await bench.started()
    const room = bench.room()
    const appended = store.store.append(room, Buffer.from('last words'), LIMITS)
    await store.store.close()
    await store.inTime('append() to resolve', appended)
    if (!store.store.isShared) return
    const other = await bench.started()
    await other.expectTexts(room, { last: 1 }, ['last words'])
  },
}
