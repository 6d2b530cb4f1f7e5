import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { expectChain, textsOf } from './bench.ts'
import type { Case } from './history-contract.ts'

/** The cases about `append`, `read` and `heads`. */
export const LOG_CASES: Readonly<Record<string, Case>> = {
  async 'gives each message of a room the next place'(bench) {
    const store = await bench.started()
    const room = bench.room()
    const marks = [await store.append(room, 'one'), await store.append(room, 'two')]
    const { records, head } = await store.expectTexts(room, { last: 10 }, ['one', 'two'])
    assert.deepEqual(
      records.map(({ epoch, offset, tag }) => ({ epoch, offset, tag })),
      marks,
    )
    assert.deepEqual(head, marks[1])
  },

  async 'gives marks whose parts fit into a position'(bench) {
    const store = await bench.started()
    const { epoch, offset, tag } = await store.append(bench.room(), 'one')
    assert.match(epoch, /^[A-Za-z0-9_-]{1,32}$/)
    assert.match(tag, /^[A-Za-z0-9_-]{0,16}$/)
    assert.ok(Number.isSafeInteger(offset) && offset >= 0)
  },

  async 'keeps bytes as they are'(bench) {
    const store = await bench.started()
    const room = bench.room()
    const samples = [Buffer.alloc(0), Buffer.from([0, 10, 13, 32, 255]), randomBytes(65_536)]
    for (const sample of samples) await store.append(room, sample)
    const { records } = await store.read(room, { last: 10 })
    assert.deepEqual(
      records.map(({ record }) => record.toString('hex')),
      samples.map((sample) => sample.toString('hex')),
    )
  },

  async 'does not keep the buffer that it was given'(bench) {
    const store = await bench.started()
    const room = bench.room()
    const bytes = Buffer.from('before')
    await store.append(room, bytes)
    bytes.fill('x')
    await store.expectTexts(room, { last: 1 }, ['before'])
  },

  async 'reads what came after a message'(bench) {
    const store = await bench.started()
    const room = bench.room()
    const first = await store.append(room, 'one')
    await store.append(room, 'two')
    const third = await store.append(room, 'three')
    await store.expectTexts(room, { after: first }, ['two', 'three'])
    await store.expectTexts(room, { after: third }, [])
  },

  async 'reads after a mark without its tag'(bench) {
    const store = await bench.started()
    const room = bench.room()
    const first = await store.append(room, 'one')
    await store.append(room, 'two')
    await store.expectTexts(room, { after: { ...first, tag: '' } }, ['two'])
  },

  async 'reads the latest messages, oldest first'(bench) {
    const store = await bench.started()
    const room = bench.room()
    for (const text of ['one', 'two', 'three']) await store.append(room, text)
    await store.expectTexts(room, { last: 2 }, ['two', 'three'])
    await store.expectTexts(room, { last: 50 }, ['one', 'two', 'three'])
  },

  async 'reads the head alone when neither is asked for'(bench) {
    const store = await bench.started()
    const room = bench.room()
    const mark = await store.append(room, 'one')
    const { head, records, isComplete } = await store.read(room, {})
    assert.deepEqual({ head, records, isComplete }, { head: mark, records: [], isComplete: true })
  },

  async 'reads in pages that follow one another'(bench) {
    const store = await bench.started()
    const room = bench.room()
    const first = await store.append(room, 'start')
    const texts = Array.from({ length: 25 }, (_, index) => `message ${index}`)
    for (const text of texts) await store.append(room, text)
    let after = first
    const found: string[] = []
    for (let page = 0; page < 25; page++) {
      const { records, isComplete } = await store.read(room, { after, maxMessages: 10 })
      assert.equal(isComplete, true)
      assert.ok(records.length <= 10)
      const last = records.at(-1)
      if (last === undefined) break
      assert.equal(records[0]?.previous, after.offset)
      expectChain(records)
      found.push(...textsOf(records))
      after = last
    }
    assert.deepEqual(found, texts)
  },

  async 'begins a page of the latest messages with the oldest of them'(bench) {
    const store = await bench.started()
    const room = bench.room()
    for (const text of ['one', 'two', 'three', 'four']) await store.append(room, text)
    await store.expectTexts(room, { last: 3, maxMessages: 2 }, ['two', 'three'])
  },

  async 'returns at least one message, however large, and no page over its bytes'(bench) {
    const store = await bench.started()
    const room = bench.room()
    const first = await store.append(room, 'start')
    for (let index = 0; index < 4; index++) await store.append(room, Buffer.alloc(10_000, 48 + index))
    const small = await store.read(room, { after: first, maxBytes: 100 })
    assert.equal(small.records.length, 1)
    const medium = await store.read(room, { after: first, maxBytes: 25_000 })
    assert.equal(medium.records.length, 2)
  },

  async 'has a place to come back to in a room without a message'(bench) {
    const store = await bench.started()
    const room = bench.room()
    const { head, isComplete, records } = await store.read(room, {})
    assert.deepEqual({ isComplete, records }, { isComplete: true, records: [] })
    await store.append(room, 'first')
    const after = await store.read(room, { after: head })
    assert.deepEqual(textsOf(after.records), ['first'])
    assert.equal(after.isComplete, true)
    assert.ok((after.records[0]?.previous ?? Number.POSITIVE_INFINITY) <= head.offset)
  },

  async 'keeps rooms apart, whatever their names'(bench) {
    const store = await bench.started()
    const end = bench.room('')
    const names = ['a', 'A', 'a b', 'a\nb', '{a}', 'a}b{c', 'ä', '\ud800', '*', '>', 'a.b', '__proto__', ':s']
    const rooms = names.map((name) => `${name}${end}`)
    for (const room of rooms) await store.append(room, room.slice(0, 2))
    for (const room of rooms) {
      const { records } = await store.read(room, { last: 10 })
      assert.equal(records.length, 1, JSON.stringify(room))
    }
  },

  async 'keeps at most so many messages'(bench) {
    const store = await bench.started()
    const room = bench.room()
    const limits = { maxMessages: 3 }
    const marks = []
    for (const text of ['a', 'b', 'c', 'd', 'e']) marks.push(await store.append(room, text, limits))
    await store.expectTexts(room, { last: 10 }, ['c', 'd', 'e'], limits)
    const [a, b] = marks
    assert.ok(a !== undefined && b !== undefined)
    await store.expectTexts(room, { after: b }, ['c', 'd', 'e'], limits)
    await store.expectIncomplete(room, a, limits)
  },

  async 'does not return messages that are too old'(bench) {
    const store = await bench.started()
    const room = bench.room()
    const limits = { maxAgeMs: 300 }
    const first = await store.append(room, 'old', limits)
    const second = await store.append(room, 'also old', limits)
    await sleep(400) // the time is what is tested
    await store.expectTexts(room, { last: 10 }, [], limits)
    await store.expectIncomplete(room, first, limits)
    // Nothing has come after the last one, so nothing is missing.
    await store.expectTexts(room, { after: second }, [], limits)
    // The new one may be old as well when it is read: then another one is appended.
    await store.until('a message that is not too old', async () => {
      await store.append(room, 'new', limits)
      const { records, isComplete } = await store.read(room, { last: 10 }, limits)
      assert.equal(isComplete, true)
      assert.ok(textsOf(records).every((text) => text === 'new'))
      expectChain(records)
      return records.length > 0
    })
  },

  async 'is not complete after a mark of another epoch, or of a room with another epoch'(bench) {
    const store = await bench.started()
    const [room, other] = [bench.room(), bench.room()]
    const foreign = await store.append(other, 'elsewhere')
    const mark = await store.append(room, 'one')
    await store.expectIncomplete(room, { ...mark, epoch: 'another' })
    if (foreign.epoch !== mark.epoch) await store.expectIncomplete(room, foreign)
    else await store.expectTexts(room, { after: { ...foreign, tag: '' } }, ['one'])
  },

  async 'is not complete after a mark of the future'(bench) {
    const store = await bench.started()
    const room = bench.room()
    const mark = await store.append(room, 'one')
    await store.expectIncomplete(room, { ...mark, offset: mark.offset + 1 })
    await store.expectIncomplete(room, { ...mark, offset: Number.MAX_SAFE_INTEGER })
  },

  async 'is not complete after a message that another one has replaced'(bench) {
    const store = await bench.started()
    const room = bench.room()
    const first = await store.append(room, 'one')
    const second = await store.append(room, 'two')
    if (first.tag === '') return // the store loses no writes within an epoch
    await store.expectIncomplete(room, { ...first, tag: 'x1x2' })
    await store.expectIncomplete(room, { ...second, tag: 'x1x2' })
  },

  async 'tells the heads of many rooms at once'(bench) {
    const store = await bench.started()
    const rooms = Array.from({ length: 40 }, () => bench.room())
    const marks = await Promise.all(rooms.map((room) => store.append(room, 'one')))
    assert.deepEqual(await store.heads(...rooms), marks)
    const [head] = await store.heads(bench.room())
    assert.equal(head, undefined)
    assert.deepEqual(await store.heads(), [])
  },
}
