import assert from 'node:assert/strict'
import type { Case } from './history-contract.ts'

/** The cases about a store while its engine cannot be reached, and afterwards. */
export const OUTAGE_CASES: Readonly<Record<string, Case>> = {
  async 'refuses what it cannot store while the engine is away'(bench) {
    const store = await bench.started()
    const room = bench.room()
    await store.append(room, 'before')
    await bench.cut()
    await store.inTime('append() to reject', assert.rejects(store.append(room, 'meanwhile')))
    await store.inTime('read() to reject', assert.rejects(store.read(room, { last: 1 })))
    await store.inTime('heads() to reject', assert.rejects(store.heads(room)))
  },

  async 'comes back by itself, with its subscriptions'(bench) {
    const [store, other] = [await bench.started(), await bench.started()]
    const room = bench.room()
    await store.subscribe(room)
    const before = await other.append(room, 'before')
    await bench.cut()
    await Promise.all([store.became('reconnecting'), other.became('reconnecting')])
    await bench.restore()
    await Promise.all([store.became('connected'), other.became('connected')])
    await other.append(room, 'after')
    await store.heard(room, 'after')
    const { records, isComplete } = await store.read(room, { after: before })
    if (isComplete) assert.deepEqual(records.at(-1)?.record.toString(), 'after')
  },

  async 'starts as soon as the engine is there'(bench) {
    await bench.cut()
    const store = bench.station()
    const started = store.start()
    const room = bench.room()
    const subscribed = store.subscribe(room)
    await bench.restore()
    await Promise.all([started, subscribed])
    await store.append(room, 'hello')
    await store.heard(room, 'hello')
  },

  async 'is closed while the engine is away'(bench) {
    const store = await bench.started()
    await bench.cut()
    await store.inTime('close() to resolve', store.store.close())
    assert.equal(store.store.state, 'closed')
  },
}
