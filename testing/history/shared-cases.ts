import assert from 'node:assert/strict'
import { expectChain, inOrder, textsOf } from './bench.ts'
import type { Case } from './history-contract.ts'

/** The cases about several stores of one history. */
export const SHARED_CASES: Readonly<Record<string, Case>> = {
  async 'passes on what another store appends'(bench) {
    const [one, two] = [await bench.started(), await bench.started()]
    const room = bench.room()
    await one.subscribe(room)
    await two.append(room, 'hello')
    await one.heard(room, 'hello')
    assert.deepEqual(two.texts(room), [])
  },

  async 'reads what another store appended'(bench) {
    const [one, two] = [await bench.started(), await bench.started()]
    const room = bench.room()
    const mark = await one.append(room, 'one')
    await one.append(room, 'two')
    await two.expectTexts(room, { after: mark }, ['two'])
  },

  async 'has one order for all, whoever appends'(bench) {
    const stations = [await bench.started(), await bench.started(), await bench.started()]
    const room = bench.room()
    await Promise.all(stations.map((station) => station.subscribe(room)))
    const appends = stations.flatMap((station, node) =>
      Array.from({ length: 50 }, (_, index) => station.append(room, `${node}.${index}`)),
    )
    const marks = await Promise.all(appends)
    assert.equal(new Set(marks.map(({ offset }) => offset)).size, 150)
    for (const station of stations) {
      await station.until('all 150', () => station.of(room).length === 150)
      expectChain(inOrder(station.of(room)))
    }
    const [first, ...others] = stations.map((station) => textsOf(inOrder(station.of(room))))
    for (const other of others) assert.deepEqual(other, first)
    for (const node of [0, 1, 2]) {
      const own = first?.filter((text) => text.startsWith(`${node}.`))
      assert.deepEqual(
        own,
        Array.from({ length: 50 }, (_, index) => `${node}.${index}`),
      )
    }
  },

  async 'agrees about the epoch of a room without a message'(bench) {
    const [one, two] = [await bench.started(), await bench.started()]
    const room = bench.room()
    const [a, b] = await Promise.all([one.read(room, {}), two.read(room, {})])
    assert.deepEqual(a.head, b.head)
  },

  async 'loses nothing between a subscription and a read'(bench) {
    const [one, two] = [await bench.started(), await bench.started()]
    const room = bench.room()
    const start = await two.append(room, 'start')
    let isDone = false
    const appending = (async () => {
      for (let index = 0; !isDone; index++) await two.append(room, `${index}`)
    })()
    await one.subscribe(room)
    const { records } = await one.read(room, { after: start })
    isDone = true
    await appending
    const last = (await two.heads(room))[0]?.offset ?? 0
    await one.until('the last message', () => {
      return last === start.offset || [...records, ...one.of(room)].some(({ offset }) => offset === last)
    })
    const merged = new Map([...records, ...one.of(room)].map((stored) => [stored.offset, stored]))
    // A store may also pass on what was appended just before the subscription.
    const all = inOrder([...merged.values()].filter(({ offset }) => offset > start.offset))
    expectChain(all)
    assert.deepEqual(
      textsOf(all),
      Array.from(all, (_, index) => `${index}`),
    )
  },
}
