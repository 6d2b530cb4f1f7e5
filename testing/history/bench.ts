import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type {
  BackplaneState,
  HistoryLimits,
  HistoryStore,
  Mark,
  ReadRequest,
  ReadResult,
  StoredRecord,
} from 'wshub'
import type { HistorySetup } from './history-contract.ts'

/** Limits that no case reaches by accident. */
export const LIMITS: HistoryLimits = { maxMessages: 1_000, maxAgeMs: 3_600_000 }
const PAGE = { maxMessages: 10_000, maxBytes: 16_777_216 }

/** A message that a store passed on. */
interface Received {
  readonly room: string
  readonly stored: StoredRecord
}

/** A store and everything that it reported. */
export class Station {
  readonly store: HistoryStore
  readonly received: Received[] = []
  readonly states: BackplaneState[] = []
  readonly errors: Error[] = []
  readonly timeoutMs: number

  constructor(store: HistoryStore, timeoutMs: number) {
    this.store = store
    this.timeoutMs = timeoutMs
  }

  start(): Promise<void> {
    const started = this.store.start({
      onMessage: (room, stored) => {
        this.received.push({ room, stored })
      },
      onStateChange: (state) => {
        this.states.push(state)
      },
      onError: (error) => {
        this.errors.push(error)
      },
    })
    return this.inTime('start() to resolve', started)
  }

  subscribe(room: string): Promise<void> {
    return this.inTime('subscribe() to resolve', this.store.subscribe(room))
  }

  async append(room: string, data: string | Uint8Array, limits: Partial<HistoryLimits> = {}): Promise<Mark> {
    const record = typeof data === 'string' ? Buffer.from(data) : data
    const appended = this.store.append(room, record, { ...LIMITS, ...limits })
    const { epoch, offset, tag } = await this.inTime('append() to resolve', appended)
    return { epoch, offset, tag }
  }

  read(
    room: string,
    request: Partial<ReadRequest>,
    limits: Partial<HistoryLimits> = {},
  ): Promise<ReadResult> {
    const read = this.store.read(room, { ...PAGE, ...request }, { ...LIMITS, ...limits })
    return this.inTime('read() to resolve', read)
  }

  heads(...rooms: readonly string[]): Promise<readonly (Mark | undefined)[]> {
    return this.inTime('heads() to resolve', this.store.heads(rooms))
  }

  /** Checks which texts a complete read returns, and that they follow one another. */
  async expectTexts(
    room: string,
    request: Partial<ReadRequest>,
    texts: readonly string[],
    limits: Partial<HistoryLimits> = {},
  ): Promise<ReadResult> {
    const result = await this.read(room, request, limits)
    assert.deepEqual(textsOf(result.records), texts)
    assert.equal(result.isComplete, true)
    expectChain(result.records)
    const [first] = result.records
    if (request.after !== undefined && first !== undefined) {
      assert.equal(first.previous, request.after.offset, 'the first record follows the mark')
    }
    return result
  }

  /** Checks that a read after a mark is not complete, and returns nothing. */
  async expectIncomplete(
    room: string,
    after: Mark,
    limits: Partial<HistoryLimits> = {},
  ): Promise<ReadResult> {
    const result = await this.read(room, { after }, limits)
    assert.deepEqual({ isComplete: result.isComplete, texts: textsOf(result.records) }, INCOMPLETE)
    return result
  }

  /** The texts that were received in a room. */
  texts(room: string): string[] {
    return textsOf(this.of(room))
  }

  of(room: string): StoredRecord[] {
    return this.received.filter((one) => one.room === room).map(({ stored }) => stored)
  }

  heard(room: string, text: string): Promise<void> {
    return this.until(`"${text}" in ${room}`, () => this.texts(room).includes(text))
  }

  became(state: BackplaneState): Promise<void> {
    return this.until(`the state "${state}"`, () => this.store.state === state)
  }

  /** Resolves when the condition holds, which is asked again and again. */
  async until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    const end = performance.now() + this.timeoutMs
    while (!(await holds())) {
      if (performance.now() > end) throw this.#tooLate(what)
      await sleep(1)
    }
  }

  async inTime<T>(what: string, promise: Promise<T>): Promise<T> {
    const stop = new AbortController()
    const late = sleep(this.timeoutMs, undefined, { signal: stop.signal }).then(
      () => Promise.reject(this.#tooLate(what)),
      () => new Promise<never>(() => {}), // in time
    )
    try {
      return await Promise.race([promise, late])
    } finally {
      stop.abort()
    }
  }

  #tooLate(what: string): Error {
    const last = this.received.slice(-5).map(({ room, stored }) => {
      return `${room} ${stored.offset}: ${stored.record.toString('latin1', 0, 40)}`
    })
    const seen = {
      state: this.store.state,
      states: this.states,
      errors: this.errors.map(String),
      count: this.received.length,
      last,
    }
    return new Error(`Waited ${this.timeoutMs} ms for ${what}, saw: ${JSON.stringify(seen, null, 2)}`)
  }
}

const INCOMPLETE = { isComplete: false, texts: [] }

/** The stores of one case. */
export class Bench {
  readonly #setup: HistorySetup
  readonly #stations: Station[] = []

  constructor(setup: HistorySetup) {
    this.#setup = setup
  }

  /** A room that no other case uses. */
  room(name = 'room'): string {
    return `${name} ${randomUUID()}`
  }

  station(): Station {
    const station = new Station(this.#setup.create(), this.#setup.timeoutMs ?? 5_000)
    this.#stations.push(station)
    return station
  }

  async started(): Promise<Station> {
    const station = this.station()
    await station.start()
    return station
  }

  async cut(): Promise<void> {
    await this.#setup.cut?.()
  }

  async restore(): Promise<void> {
    await this.#setup.restore?.()
  }

  async close(): Promise<void> {
    await Promise.all(this.#stations.map(({ store }) => store.close()))
  }
}

/** Returns records as texts. */
export function textsOf(records: readonly StoredRecord[]): string[] {
  return records.map(({ record }) => record.toString())
}

/** Returns records by their places. */
export function inOrder(records: readonly StoredRecord[]): StoredRecord[] {
  return [...records].sort((a, b) => a.offset - b.offset)
}

/** Checks that each record follows the one before it. */
export function expectChain(records: readonly StoredRecord[]): void {
  records.forEach((record, index) => {
    const before = records[index - 1]
    if (before === undefined) return
    assert.equal(record.epoch, before.epoch)
    assert.equal(record.previous, before.offset, 'no message is missing between two records')
    assert.ok(record.offset > before.offset)
  })
}
