import { describe, expect, it, onTestFinished } from 'vitest'
import type { HistoryStore, Mark } from 'wshub'
import { redisHistory } from 'wshub/redis'
import { until } from '../support/in-time.ts'
import { type Engine, redis, startRedis } from '../support/servers.ts'

const LIMITS = { maxMessages: 1_000, maxAgeMs: 3_600_000 }
const PAGE = { maxMessages: 10_000, maxBytes: 16_777_216 }

/** A history on a Redis of its own. */
async function setUp({
  args = [],
  ...options
}: {
  args?: readonly string[]
  maxBytesPerRoom?: number
  timeoutMs?: number
} = {}): Promise<{ engine: Engine; store: HistoryStore }> {
  const engine = await startRedis(...args)
  onTestFinished(() => engine.stop())
  const store = redisHistory({ url: `redis://127.0.0.1:${engine.port}`, ...options })
  onTestFinished(() => store.close())
  await store.start({ onMessage() {}, onStateChange() {}, onError() {} })
  return { engine, store }
}

async function restart(engine: Engine, store: HistoryStore): Promise<void> {
  await engine.kill()
  await until(
    'the store to notice',
    () => store.state === 'reconnecting',
    () => store.state,
  )
  await engine.start()
  await until(
    'the store to come back',
    () => store.state === 'connected',
    () => store.state,
  )
}

function append(store: HistoryStore, text: string): Promise<Mark> {
  return store.append('room', Buffer.from(text), LIMITS)
}

/** Returns the texts after a mark; `undefined` when the read is not complete. */
async function missedSince(store: HistoryStore, mark: Mark): Promise<string[] | undefined> {
  const { records, isComplete } = await store.read('room', { after: mark, ...PAGE }, LIMITS)
  return isComplete ? records.map(({ record }) => record.toString()) : undefined
}

async function latest(store: HistoryStore, limits = LIMITS): Promise<string[]> {
  const { records } = await store.read('room', { last: 10_000, ...PAGE }, limits)
  return records.map(({ record }) => record.toString())
}

describe('a publish', () => {
  it('is one command', async () => {
    const { engine, store } = await setUp()
    await append(store, 'warm up')
    await redis(engine.port, 'CONFIG', 'RESETSTAT')
    for (let index = 0; index < 20; index++) await append(store, `${index}`)
    const stats = await redis(engine.port, 'INFO', 'commandstats')
    expect(stats).toContain('cmdstat_evalsha:calls=20,')
    expect(stats).not.toContain('cmdstat_eval:')
  })

  it('shares its command with those of the same room and turn', async () => {
    const { engine, store } = await setUp()
    const received: string[] = []
    const other = redisHistory({ url: `redis://127.0.0.1:${engine.port}` })
    onTestFinished(() => other.close())
    await other.start({
      onMessage: (_room, { offset, previous, record }) => received.push(`${previous} ${offset} ${record}`),
      onStateChange() {},
      onError() {},
    })
    await other.subscribe('room')
    await append(store, 'warm up')
    await redis(engine.port, 'CONFIG', 'RESETSTAT')
    const texts = ['one', '', 'two, with a comma', 'three 💬']
    const elsewhere = store.append('elsewhere', Buffer.from('other'), LIMITS)
    const marks = await Promise.all(texts.map((text) => append(store, text)))
    await elsewhere
    const stats = await redis(engine.port, 'INFO', 'commandstats')
    expect(stats).toContain('cmdstat_evalsha:calls=2,')
    expect(stats).toContain('cmdstat_publish:calls=2,')
    expect(marks.map(({ offset }) => offset)).toEqual([2, 3, 4, 5])
    const expected = ['warm up', ...texts].map((text, index) => `${index} ${index + 1} ${text}`)
    await until(
      'all to arrive',
      () => received.length === expected.length,
      () => received.join(),
    )
    expect(received).toEqual(expected)
    expect(await latest(store)).toEqual(['warm up', ...texts])
    for (const [index, mark] of marks.entries()) {
      expect(await missedSince(store, mark)).toEqual(texts.slice(index + 1))
    }
  })

  it('is before a read, or a close, that was called after it', async () => {
    const { engine, store } = await setUp()
    const appended = append(store, 'one')
    expect(await latest(store)).toEqual(['one'])
    await appended
    void append(store, 'two')
    const [mark] = await store.heads(['room'])
    expect(mark?.offset).toBe(2)
    const last = append(store, 'three')
    await store.close()
    expect((await last).offset).toBe(3)
    expect(await redis(engine.port, 'XLEN', '{wshub:h:room}:messages')).toBe('3')
  })

  it('has as many messages, and as many bytes, as do not block Redis', async () => {
    const { engine, store } = await setUp()
    await append(store, 'warm up')
    await redis(engine.port, 'CONFIG', 'RESETSTAT')
    const many = Array.from({ length: 130 }, (_, index) => `${index}`)
    const large = Array.from({ length: 3 }, (_, index) => `${index}`.padEnd(40_000, '.'))
    await Promise.all([...many, ...large].map((text) => append(store, text)))
    expect(await redis(engine.port, 'INFO', 'commandstats')).toContain('cmdstat_evalsha:calls=5,')
    expect(await latest(store)).toEqual(['warm up', ...many, ...large])
  })

  it('keeps its place when the script cache is flushed meanwhile', async () => {
    const { engine, store } = await setUp()
    const texts = Array.from({ length: 300 }, (_, index) => `${index}`)
    const appends: Promise<Mark>[] = []
    for (const text of texts) {
      appends.push(append(store, text))
      if (appends.length % 100 === 0) await redis(engine.port, 'SCRIPT', 'FLUSH')
    }
    await Promise.all(appends)
    expect(await latest(store)).toEqual(texts)
  })

  it('is not sent twice because Redis has restarted without the scripts', async () => {
    const { engine, store } = await setUp({ args: ['--appendonly', 'yes'] })
    await append(store, 'before')
    // As an application does all the time, also while the connection is being prepared.
    const trying = setInterval(() => void append(store, 'too early').catch(() => {}), 1)
    onTestFinished(() => clearInterval(trying))
    await restart(engine, store)
    clearInterval(trying)
    await append(store, 'after')
    expect((await latest(store)).filter((text) => text !== 'too early')).toEqual(['before', 'after'])
    // A message that is sent again comes after a later one, if another node has brought the scripts back.
    expect(await redis(engine.port, 'INFO', 'errorstats')).not.toContain('NOSCRIPT')
  })

  it('is refused by a Redis that is full, and stores again when there is room', async () => {
    const { engine, store } = await setUp()
    const before = await append(store, 'before')
    await redis(engine.port, 'CONFIG', 'SET', 'maxmemory', '1')
    const refused = { code: 'WSHUB_ERR_NOT_STORED', message: expect.stringMatching(/^OOM /) }
    await expect(append(store, 'too much')).rejects.toMatchObject(refused)
    await redis(engine.port, 'CONFIG', 'SET', 'maxmemory', '0')
    await append(store, 'again')
    expect(await missedSince(store, before)).toEqual(['again'])
  })
})

describe('a message that is not stored', () => {
  const CERTAIN = { code: 'WSHUB_ERR_NOT_STORED' }

  it('is one that is larger than a room may be', async () => {
    const { store } = await setUp({ maxBytesPerRoom: 100 })
    await append(store, 'x'.repeat(100))
    await expect(append(store, 'x'.repeat(101))).rejects.toMatchObject(CERTAIN)
  })

  it('is certainly not stored when Redis is away or the store is closed', async () => {
    const { engine, store } = await setUp()
    await engine.kill()
    await until(
      'the store to notice',
      () => store.state === 'reconnecting',
      () => store.state,
    )
    await expect(append(store, 'away')).rejects.toMatchObject(CERTAIN)
    await store.close()
    await expect(append(store, 'closed')).rejects.toMatchObject(CERTAIN)
  })

  it('may be stored when Redis does not answer', async () => {
    const { engine, store } = await setUp({ timeoutMs: 300 })
    await append(store, 'before')
    await redis(engine.port, 'CLIENT', 'PAUSE', '60000', 'WRITE')
    const silent = await append(store, 'late').catch((error: unknown) => error)
    expect(silent).toBeInstanceOf(Error)
    expect(silent).not.toMatchObject(CERTAIN)
    await redis(engine.port, 'CLIENT', 'UNPAUSE')
    await until('it to be stored', async () => (await latest(store).catch(() => [''])).includes('late'))
  })

  // Redis 7 answers NOPERM before the script, and ERR in its middle, when the message is stored already.
  it.each([['evalsha'], ['publish']])('may be stored when the right to %s is missing', async (command) => {
    const { engine, store } = await setUp()
    await append(store, 'before')
    await redis(engine.port, 'ACL', 'SETUSER', 'default', `-${command}`)
    const refused = await append(store, 'refused').catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(Error)
    expect(refused).not.toMatchObject(CERTAIN)
  })
})

describe('a Redis that is killed', () => {
  it('keeps everything with an append-only file', async () => {
    const { engine, store } = await setUp({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
    const first = await append(store, 'first')
    const second = await append(store, 'second')
    await restart(engine, store)
    expect(await missedSince(store, first)).toEqual(['second'])
    const third = await append(store, 'third')
    expect(third.epoch).toBe(second.epoch)
    expect(await missedSince(store, second)).toEqual(['third'])
  })

  it('begins another epoch without persistence', async () => {
    const { engine, store } = await setUp()
    const before = await append(store, 'before')
    await restart(engine, store)
    expect(await missedSince(store, before)).toBeUndefined()
    const next = await append(store, 'after')
    expect(next.epoch).not.toBe(before.epoch)
    expect(await missedSince(store, before)).toBeUndefined()
  })

  it('is recognized when it comes back from an older snapshot', async () => {
    const { engine, store } = await setUp()
    await append(store, 'one')
    const kept = await append(store, 'two')
    await redis(engine.port, 'SAVE')
    const lost = [await append(store, 'lost three'), await append(store, 'lost four')]
    await restart(engine, store)
    for (const mark of lost) expect(await missedSince(store, mark)).toBeUndefined()
    for (const text of ['three', 'four', 'five']) await append(store, text)
    for (const mark of lost) expect(await missedSince(store, mark)).toBeUndefined()
    expect(await missedSince(store, kept)).toEqual(['three', 'four', 'five'])
  })
})

describe('a loss that a node has seen', () => {
  it('begins another epoch, so that who stands before it is told, too', async () => {
    const { engine, store } = await setUp()
    const one = await append(store, 'one')
    await append(store, 'two')
    await redis(engine.port, 'SAVE')
    await append(store, 'lost three')
    const delivered = await append(store, 'lost four')
    await restart(engine, store)
    const after = await append(store, 'three')
    expect(await missedSince(store, one)).toEqual(['two', 'three'])
    for (const _ of ['seen', 'seen again']) {
      const seen = await store.read('room', { after: delivered, wasDelivered: true, ...PAGE }, LIMITS)
      expect(seen).toMatchObject({ isComplete: false, head: { offset: after.offset, tag: after.tag } })
      expect(seen.head.epoch).not.toBe(one.epoch)
    }
    for (const mark of [one, delivered, after]) expect(await missedSince(store, mark)).toBeUndefined()
    expect(await latest(store)).toEqual(['one', 'two', 'three'])
    const next = await append(store, 'next')
    expect(await missedSince(store, { ...after, epoch: next.epoch })).toEqual(['next'])
  })

  it('is found by the tag when other messages have the numbers of the lost ones', async () => {
    const { engine, store } = await setUp()
    const one = await append(store, 'one')
    await redis(engine.port, 'SAVE')
    const delivered = await append(store, 'lost two')
    await restart(engine, store)
    for (const text of ['two', 'three']) await append(store, text)
    await store.read('room', { after: delivered, wasDelivered: true, ...PAGE }, LIMITS)
    expect(await missedSince(store, one)).toBeUndefined()
  })

  it('is not what a client makes up, nor a message that is not kept any more', async () => {
    const { store } = await setUp()
    const limits = { ...LIMITS, maxMessages: 2 }
    const first = await store.append('room', Buffer.from('first'), limits)
    const marks: Mark[] = []
    for (const text of ['a', 'b', 'c']) marks.push(await store.append('room', Buffer.from(text), limits))
    const future = { ...first, offset: 1_000 }
    expect(await missedSince(store, future)).toBeUndefined()
    await store.read('room', { after: first, wasDelivered: true, ...PAGE }, limits)
    const [a] = marks
    if (a === undefined) throw new Error('there is one')
    expect(await missedSince(store, a)).toEqual(['b', 'c'])
  })
})

describe('a message that was deleted in Redis', () => {
  it('makes a read over it incomplete, wherever it stood', async () => {
    const { engine, store } = await setUp()
    const marks: Mark[] = []
    for (const text of ['a', 'b', 'c', 'd']) marks.push(await append(store, text))
    const [a, b, c] = marks
    if (a === undefined || b === undefined || c === undefined) throw new Error('no mark')
    await redis(engine.port, 'XDEL', '{wshub:h:room}:messages', '3-0')
    for (const mark of [a, b]) expect(await missedSince(store, mark)).toBeUndefined()
    await redis(engine.port, 'XDEL', '{wshub:h:room}:messages', '4-0')
    for (const mark of [a, b, c]) expect(await missedSince(store, mark)).toBeUndefined()
    expect(await latest(store)).toEqual(['a', 'b'])
    await append(store, 'e')
    expect(await missedSince(store, b)).toBeUndefined()
  })
})

describe('what Redis keeps', () => {
  it('is bounded in bytes', async () => {
    const { engine, store } = await setUp({ maxBytesPerRoom: 10_000 })
    const first = await append(store, 'first')
    for (let index = 0; index < 500; index++) await append(store, `${index}`.padEnd(100, '.'))
    const kept = await latest(store)
    expect(kept.length).toBeGreaterThanOrEqual(100)
    expect(kept.length).toBeLessThan(110)
    expect(kept.at(-1)).toMatch(/^499\./)
    expect(await missedSince(store, first)).toBeUndefined()
    expect(Number(await redis(engine.port, 'XLEN', '{wshub:h:room}:messages'))).toBeLessThan(110)
  })

  it('is bounded in number, although the stream trims whole nodes', async () => {
    const { engine, store } = await setUp()
    for (let index = 0; index < 500; index++) {
      await store.append('room', Buffer.from(`${index}`), { ...LIMITS, maxMessages: 10 })
    }
    expect(await latest(store, { ...LIMITS, maxMessages: 10 })).toHaveLength(10)
    expect(Number(await redis(engine.port, 'XLEN', '{wshub:h:room}:messages'))).toBeLessThan(250)
  })

  it('expires: the messages first, and what tells that they are missing a day later', async () => {
    const { engine, store } = await setUp()
    await store.append('room', Buffer.from('one'), { ...LIMITS, maxAgeMs: 60_000 })
    const ttl = async (key: string) => Number(await redis(engine.port, 'PTTL', `{wshub:h:room}:${key}`))
    const messagesMs = await ttl('messages')
    expect(messagesMs).toBeGreaterThan(50_000)
    expect(messagesMs).toBeLessThanOrEqual(67_500)
    expect(await ttl('head')).toBeGreaterThan(86_000_000)
  })

  it('shows it when only the messages, or only the head, was evicted', async () => {
    const { engine, store } = await setUp()
    const first = await append(store, 'first')
    await append(store, 'second')
    await redis(engine.port, 'DEL', '{wshub:h:room}:messages')
    expect(await missedSince(store, first)).toBeUndefined()
    const third = await append(store, 'third')
    expect(await missedSince(store, first)).toBeUndefined()
    await redis(engine.port, 'DEL', '{wshub:h:room}:head')
    expect(await missedSince(store, third)).toBeUndefined()
    await append(store, 'fourth')
    expect(await latest(store)).toEqual(['fourth'])
    expect(await missedSince(store, third)).toBeUndefined()
  })
})
