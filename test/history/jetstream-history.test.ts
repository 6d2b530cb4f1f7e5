import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import type { HistoryStore, Mark } from 'wshub'
import { jetstreamHistory } from 'wshub/nats'
import { historyContract } from 'wshub/testing/history'
import { deferred } from '../../src/base/deferred.ts'
import { until, WAIT_MS } from '../support/in-time.ts'
import { Cable, type Engine, startJetStream } from '../support/servers.ts'

const LIMITS = { maxMessages: 1_000, maxAgeMs: 3_600_000 }
const PAGE = { maxMessages: 10_000, maxBytes: 16_777_216 }

describe('jetstreamHistory', () => {
  let engine: Engine
  let cable: Cable | undefined

  beforeAll(async () => {
    engine = await startJetStream()
    cable = await Cable.to(engine.port)
  })

  afterEach(() => cable?.restore())

  afterAll(async () => {
    await cable?.close()
    await engine?.stop()
  })

  const create = () => jetstreamHistory({ servers: `127.0.0.1:${cable?.port ?? 1}`, timeoutMs: WAIT_MS })
  const contract = historyContract({
    create,
    cut: () => cable?.cut(),
    restore: () => cable?.restore(),
    timeoutMs: WAIT_MS,
  })
  for (const { name, run } of contract) it(name, run)
})

/** A history on a server of its own. */
async function setUp(
  options: object = {},
  errors: Error[] = [],
): Promise<{ engine: Engine; store: HistoryStore }> {
  const engine = await startJetStream()
  onTestFinished(() => engine.stop())
  const store = jetstreamHistory({ servers: `127.0.0.1:${engine.port}`, ...options })
  onTestFinished(() => store.close())
  await store.start({ onMessage() {}, onStateChange() {}, onError: (error) => errors.push(error) })
  return { engine, store }
}

/** A request to JetStream. */
async function ask(connection: NatsConnection, api: string, body?: object): Promise<unknown> {
  const payload = body && JSON.stringify(body)
  return (await connection.request(`$JS.API.${api}`, payload, { timeout: WAIT_MS })).json()
}

/** As the API documents it. */
async function infoOf(connection: NatsConnection): Promise<{ config: object; state: { messages: number } }> {
  return (await ask(connection, 'STREAM.INFO.wshub')) as Awaited<ReturnType<typeof infoOf>>
}

/** Lets all messages of the stream expire, which have not until then, however long the test takes. */
async function expire({ port }: { readonly port: number }): Promise<void> {
  const connection = await connect({ port })
  const { config } = await infoOf(connection)
  const times = { max_age: 1_000_000_000, duplicate_window: 1_000_000_000 } // in ns
  const updated = await ask(connection, 'STREAM.UPDATE.wshub', { ...config, ...times })
  expect(updated).not.toHaveProperty('error')
  await until('the messages to expire', async () => (await infoOf(connection)).state.messages === 0)
  await connection.close()
}

/** Returns a connection that asks a consumer for messages when those of the stream have expired. */
function withLatePulls(connection: NatsConnection, engine: Engine): NatsConnection {
  const publish: NatsConnection['publish'] = (subject, ...rest) => {
    if (!subject.startsWith('$JS.API.CONSUMER.MSG.NEXT.')) return connection.publish(subject, ...rest)
    void expire(engine).then(() => connection.publish(subject, ...rest))
  }
  return withMethods(connection, { publish })
}

/** A connection to a slow server, which ends each pull with a status after so many messages. */
function withShortPulls(connection: NatsConnection, most: number): NatsConnection {
  const publish: NatsConnection['publish'] = (subject, data, ...rest) => {
    if (!subject.startsWith('$JS.API.CONSUMER.MSG.NEXT.')) return connection.publish(subject, data, ...rest)
    const request: unknown = JSON.parse(`${data}`)
    const { batch, ...others } = request as { batch: number } // as the API documents it
    connection.publish(subject, JSON.stringify({ batch: Math.min(batch, most), ...others }), ...rest)
  }
  const subscribe: NatsConnection['subscribe'] = (subject, { callback, ...others } = {}) => {
    let count = 0
    const counting: typeof callback = (error, message) => {
      callback?.(error, message)
      if (++count === most) connection.publish(subject)
    }
    return connection.subscribe(subject, { ...others, callback: counting })
  }
  return withMethods(connection, { publish, subscribe })
}

function withMethods(connection: NatsConnection, methods: Partial<NatsConnection>): NatsConnection {
  return new Proxy(connection, {
    get(target, key) {
      const own: unknown = Reflect.get(methods, key)
      if (own !== undefined) return own
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

async function restart(engine: Engine, store: HistoryStore): Promise<void> {
  for (const [state, act] of [
    ['reconnecting', () => engine.kill()],
    ['connected', () => engine.start()],
  ] as const) {
    await act()
    await until(
      `the store to be ${state}`,
      () => store.state === state,
      () => store.state,
    )
  }
}

function append(store: HistoryStore, text: string, limits = LIMITS): Promise<Mark> {
  return store.append('room', Buffer.from(text), limits)
}

/** Returns the texts after a mark; `undefined` when the read is not complete. */
async function missedSince(store: HistoryStore, mark: Mark): Promise<string[] | undefined> {
  const { records, isComplete } = await store.read('room', { after: mark, ...PAGE }, LIMITS)
  return isComplete ? records.map(({ record }) => record.toString()) : undefined
}

describe('a JetStream server that is killed', () => {
  it('is closed when JetStream has stored what was appended', async () => {
    const { engine } = await setUp()
    const connection = await connect({ servers: `127.0.0.1:${engine.port}` })
    onTestFinished(() => connection.close())
    const answer = deferred()
    const request: NatsConnection['request'] = async (subject, ...rest) => {
      const reply = await connection.request(subject, ...rest)
      if (!subject.startsWith('$JS.')) await answer.promise
      return reply
    }
    const store = jetstreamHistory({ connection: withMethods(connection, { request }) })
    await store.start({ onMessage() {}, onStateChange() {}, onError() {} })
    const order: string[] = []
    const stored = store.append('room', Buffer.from('a'), LIMITS).then(() => order.push('stored'))
    const closed = store.close().then(() => order.push('closed'))
    for (let flushes = 0; flushes < 3; flushes++) await connection.flush() // enough to be closed
    answer.resolve()
    await Promise.all([stored, closed])
    expect(order).toEqual(['stored', 'closed'])
  })

  it('keeps everything in files', async () => {
    const { engine, store } = await setUp()
    const first = await append(store, 'first')
    const second = await append(store, 'second')
    await restart(engine, store)
    expect(await missedSince(store, first)).toEqual(['second'])
    expect((await append(store, 'third')).epoch).toBe(second.epoch)
    expect(await missedSince(store, second)).toEqual(['third'])
  })

  it('begins another epoch with a stream in memory', async () => {
    const { engine, store } = await setUp({ storage: 'memory' })
    const before = await append(store, 'before')
    await restart(engine, store)
    expect(await missedSince(store, before)).toBeUndefined()
    const next = await append(store, 'after')
    expect(next.epoch).not.toBe(before.epoch)
  })
})

describe('an outage of JetStream', () => {
  it('is reported, and ends at once what waits for an answer', async () => {
    const errors: Error[] = []
    const { engine, store } = await setUp({ timeoutMs: 60_000 }, errors)
    await append(store, 'before')
    engine.freeze() // nothing is answered until the server is killed
    const waiting = [append(store, 'waits'), missedSince(store, { epoch: 'a', offset: 1, tag: '' })]
    const outcomes = Promise.allSettled(waiting)
    expect(errors).toEqual([])
    await engine.kill()
    let settled: readonly PromiseSettledResult<unknown>[] | undefined
    void outcomes.then((results) => {
      settled = results
    })
    await until(
      'what waits to be refused',
      () => settled !== undefined,
      () => store.state,
    )
    expect(settled?.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(errors.map(({ message }) => message)).toContainEqual(
      expect.stringMatching(/^the connection to NATS/),
    )
    await engine.start()
    await until(
      'the store to come back',
      () => store.state === 'connected',
      () => store.state,
    )
    await append(store, 'after')
  })
})

describe('a message', () => {
  it('cannot be deleted alone, which nobody who reads could see; the messages of a room can', async () => {
    const { engine, store } = await setUp()
    const first = await append(store, 'a')
    const { offset } = await append(store, 'b')
    await append(store, 'c')
    const connection = await connect({ servers: `127.0.0.1:${engine.port}` })
    onTestFinished(() => connection.close())
    const call = (api: string, body: object) => ask(connection, api, body)
    expect(await call('STREAM.MSG.DELETE.wshub', { seq: offset })).toHaveProperty('error')
    expect(await missedSince(store, first)).toEqual(['b', 'c'])
    expect(await call('STREAM.PURGE.wshub', { filter: 'wshub.h.room' })).toHaveProperty('success', true)
    expect(await missedSince(store, first)).toBeUndefined()
  })
})

describe('a stream that was deleted', () => {
  const remove = async (engine: Engine) => {
    const connection = await connect({ servers: `127.0.0.1:${engine.port}` })
    await ask(connection, 'STREAM.DELETE.wshub')
    await connection.close()
  }

  it('is created again by an append, in another epoch', async () => {
    const { engine, store } = await setUp()
    for (const text of ['a', 'b']) await append(store, text)
    const before = await append(store, 'c')
    await remove(engine)
    const marks = await Promise.all(['d', 'e'].map((text) => append(store, text)))
    for (const { epoch } of marks) expect(epoch).not.toBe(before.epoch)
    expect(await missedSince(store, before)).toBeUndefined()
    const { records } = await store.read('room', { last: 10, ...PAGE }, LIMITS)
    expect(records.map(({ record }) => record.toString()).sort()).toEqual(['d', 'e'])
  })

  it('is created again by a read', async () => {
    const { engine, store } = await setUp()
    const before = await append(store, 'a')
    await remove(engine)
    expect(await missedSince(store, before)).toBeUndefined()
    const { head } = await store.read('room', PAGE, LIMITS)
    await append(store, 'b')
    expect(await missedSince(store, head)).toEqual(['b'])
  })
})

describe('a stream', () => {
  it('that trims a room shows it, and keeps the others', async () => {
    const { store } = await setUp({ maxMessagesPerRoom: 3 })
    const marks: Mark[] = []
    const other = await store.append('other', Buffer.from('other'), LIMITS)
    for (const text of ['a', 'b', 'c', 'd', 'e']) marks.push(await append(store, text))
    const [a, b, c] = marks
    if (a === undefined || b === undefined || c === undefined) throw new Error('no mark')
    expect(await missedSince(store, a)).toBeUndefined()
    expect(await missedSince(store, c)).toEqual(['d', 'e'])
    const { isComplete } = await store.read('other', { after: other, ...PAGE }, LIMITS)
    expect(isComplete).toBe(true)
  })

  it('takes the limits of the application when they change', async () => {
    const { engine, store } = await setUp({ maxMessagesPerRoom: 3 })
    for (const text of ['a', 'b', 'c', 'd']) await append(store, text)
    const wider = jetstreamHistory({ servers: `127.0.0.1:${engine.port}`, maxMessagesPerRoom: 10 })
    onTestFinished(() => wider.close())
    await wider.start({ onMessage() {}, onStateChange() {}, onError() {} })
    for (const text of ['e', 'f', 'g']) await append(wider, text)
    const { records } = await store.read('room', { last: 100, ...PAGE }, LIMITS)
    expect(records.map(({ record }) => record.toString())).toEqual(['b', 'c', 'd', 'e', 'f', 'g'])
  })

  it('is needed: a server without JetStream fails the start', async () => {
    const { startNats } = await import('../support/servers.ts')
    const engine = await startNats()
    onTestFinished(() => engine.stop())
    const store = jetstreamHistory({ servers: `127.0.0.1:${engine.port}`, timeoutMs: 500 })
    onTestFinished(() => store.close())
    await expect(store.start({ onMessage() {}, onStateChange() {}, onError() {} })).rejects.toThrow()
  })

  it('whose latest message of a room has expired still tells its followers that it was the latest', async () => {
    const { store } = await setUp({ maxAgeMs: 1_000 })
    await store.subscribe('room')
    const mark = await append(store, 'soon gone')
    await until(
      'the message to expire',
      async () => (await store.read('room', { last: 1, ...PAGE }, LIMITS)).records.length === 0,
      () => '',
    )
    const [head] = await store.heads(['room'])
    expect(head).toMatchObject({ epoch: mark.epoch, offset: mark.offset, tag: mark.tag })
  })

  it('whose messages have all expired does not tell a follower of a quiet room that it has missed any', async () => {
    const { engine, store } = await setUp()
    for (const room of ['empty', 'room']) await store.subscribe(room)
    const { head: empty } = await store.read('empty', PAGE, LIMITS)
    const last = await append(store, 'soon gone')
    for (let index = 0; index < 3; index++) await store.append('other', Buffer.from('x'), LIMITS)
    await store.heads(['empty', 'room']) // as a hub asks from time to time
    await expire(engine)
    for (const [room, after] of [
      ['empty', empty],
      ['room', last],
    ] as const) {
      const read = await store.read(room, { after, wasDelivered: true, ...PAGE }, LIMITS)
      expect(read).toMatchObject({ isComplete: true, records: [] })
    }
  })

  it('whose messages have expired unseen tells a follower that it may have missed some', async () => {
    const { engine, store } = await setUp({ maxAgeMs: 1_000 })
    const other = jetstreamHistory({ servers: `127.0.0.1:${engine.port}`, maxAgeMs: 1_000 })
    onTestFinished(() => other.close())
    await other.start({ onMessage() {}, onStateChange() {}, onError() {} })
    const { head: after } = await store.read('room', PAGE, LIMITS)
    await append(other, 'missed')
    await until('the message to expire', async () => {
      const { records } = await other.read('room', { last: 1, ...PAGE }, LIMITS)
      return records.length === 0
    })
    const read = await store.read('room', { after, wasDelivered: true, ...PAGE }, LIMITS)
    expect(read.isComplete).toBe(false)
  })

  it('whose messages expire while they are read does not keep the reader waiting', async () => {
    const engine = await startJetStream()
    onTestFinished(() => engine.stop())
    const connection = await connect({ port: engine.port })
    onTestFinished(() => connection.close())
    const store = jetstreamHistory({ connection: withLatePulls(connection, engine), timeoutMs: WAIT_MS })
    onTestFinished(() => store.close())
    await store.start({ onMessage() {}, onStateChange() {}, onError() {} })
    const mark = await append(store, 'soon gone')
    const { records, head } = await store.read('room', { last: 1, ...PAGE }, LIMITS)
    expect(records).toEqual([])
    expect(head).toMatchObject({ epoch: mark.epoch, offset: mark.offset })
  })

  it('with more messages than are asked for at once is read whole', async () => {
    const { store } = await setUp()
    const texts = Array.from({ length: 300 }, (_, index) => `${index}`)
    const [first] = await Promise.all(texts.map((text) => append(store, text)))
    if (first === undefined) throw new Error('no mark')
    expect(await missedSince(store, first)).toEqual(texts.slice(1))
    const { records } = await store.read('room', { last: 200, ...PAGE }, LIMITS)
    expect(records.map(({ record }) => record.toString())).toEqual(texts.slice(-200))
  })

  it('whose server ends pulls early replays no more than the latest that were asked for', async () => {
    const engine = await startJetStream()
    onTestFinished(() => engine.stop())
    const connection = await connect({ port: engine.port })
    onTestFinished(() => connection.close())
    const store = jetstreamHistory({ connection: withShortPulls(connection, 40) })
    onTestFinished(() => store.close())
    await store.start({ onMessage() {}, onStateChange() {}, onError() {} })
    const texts = Array.from({ length: 300 }, (_, index) => `${index}`)
    await Promise.all(texts.map((text) => append(store, text)))
    const { records } = await store.read('room', { last: 5, ...PAGE }, LIMITS)
    expect(records.map(({ record }) => record.toString())).toEqual(texts.slice(-5))
  })
})
