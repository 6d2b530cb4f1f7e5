import { deferred } from '../base/deferred.ts'
import { HubError } from '../base/errors.ts'
import { Queue } from '../base/queue.ts'
import { asError, textOf } from '../base/thrown.ts'
import { settlesWithin } from '../base/time-limit.ts'
import type {
  Appended,
  HistoryLimits,
  HistoryListener,
  HistoryStore,
  Mark,
  ReadRequest,
  ReadResult,
} from './history-store.ts'
import type { Replay, ReplayLoop } from './replay-loop.ts'

/** Most reads in progress; further ones wait. */
const MAX_READS = 200
/** Approximate bytes of memory that an append takes in addition to its record. */
const APPEND_OVERHEAD_BYTES = 256
/** How long, in ms after the hub was made, messages and reads wait for the store to be connected. */
const START_MS = 5_000
/** Most messages and bytes of a page that is read. */
const PAGE_MESSAGES = 1_000
const PAGE_BYTES = 262_144

/** A store with limits on the messages that wait for it, and on the reads in progress. */
export class GuardedStore {
  readonly #store: HistoryStore
  readonly #maxPendingBytes: number
  readonly #loop: ReplayLoop
  #pendingBytes = 0
  #reads = 0
  readonly #waitingReads = new Queue<Replay>()
  #isClosed = false
  /** Why the store can never work; `undefined` as long as it may. */
  #failure: Error | undefined
  readonly #started = deferred()
  /** Resolves when the store is connected for the first time, or the time for that is over. */
  #starting: Promise<unknown> | undefined

  constructor(store: HistoryStore, maxPendingBytes: number, loop: ReplayLoop) {
    this.#store = store
    this.#loop = loop
    this.#maxPendingBytes = maxPendingBytes
    const starting = settlesWithin(START_MS, this.#started.promise)
    this.#starting = starting
    // One microtask later, so that the calls that wait continue first, in their order.
    void starting.then(() => {}).then(() => (this.#starting = undefined))
  }

  /** Starts the store. Rejects when it can never work. */
  async start(listener: HistoryListener): Promise<void> {
    try {
      await this.#store.start(listener)
    } catch (error) {
      this.#failure = asError(error, 'the store of the history')
      throw error
    } finally {
      this.#started.resolve()
    }
  }

  /** @throws {HubError} WSHUB_ERR_NOT_STORED, as a rejection */
  async append(room: string, record: Buffer, limits: HistoryLimits): Promise<Appended> {
    const bytes = record.length + APPEND_OVERHEAD_BYTES
    if (this.#isClosed) throw notStored('the hub is closed')
    if (this.#pendingBytes + bytes > this.#maxPendingBytes) {
      throw notStored('more than history.maxPendingBytes wait for the store')
    }
    this.#pendingBytes += bytes
    try {
      if (this.#starting !== undefined) await this.#starting
      if (this.#isClosed) throw new HubError('WSHUB_ERR_NOT_STORED', 'the hub is closed')
      if (this.#failure !== undefined) throw new HubError('WSHUB_ERR_NOT_STORED', this.#failure.message)
      return await this.#store.append(room, record, limits)
    } catch (cause) {
      const mayBeStored = textOf(cause, 'code') !== 'WSHUB_ERR_NOT_STORED'
      throw notStored(textOf(cause, 'message') ?? 'the store failed', { cause, mayBeStored })
    } finally {
      this.#pendingBytes -= bytes
    }
  }

  /** Reads a page. @throws {HubError} WSHUB_ERR_HISTORY_AWAY, as a rejection */
  async read(
    room: string,
    { maxMessages = PAGE_MESSAGES, ...rest }: Partial<ReadRequest>,
    limits: HistoryLimits,
  ): Promise<ReadResult> {
    const most = Math.min(maxMessages, PAGE_MESSAGES)
    const request = { ...rest, maxMessages: most, maxBytes: PAGE_BYTES }
    if (this.#reads < MAX_READS) {
      this.#reads++
      return this.#read(room, request, limits)
    }
    return new Promise((resolve) => {
      this.#waitingReads.push({ run: () => resolve(this.#read(room, request, limits)) })
    })
  }

  async #read(room: string, request: ReadRequest, limits: HistoryLimits): Promise<ReadResult> {
    try {
      if (this.#starting !== undefined) await this.#starting
      if (this.#isClosed) throw new Error('the hub is closed')
      if (this.#failure !== undefined) throw this.#failure
      return await this.#store.read(room, request, limits)
    } catch (cause) {
      const why = textOf(cause, 'message') ?? 'the store failed'
      throw new HubError('WSHUB_ERR_HISTORY_AWAY', `the history cannot be read: ${why}`, { cause })
    } finally {
      const next = this.#waitingReads.shift()
      if (next === undefined) this.#reads--
      else this.#loop.schedule(next) // in a later turn: a store in memory would finish it in this one
    }
  }

  async heads(rooms: readonly string[]): Promise<readonly (Mark | undefined)[]> {
    return this.#store.heads(rooms)
  }

  async subscribe(room: string): Promise<void> {
    await this.#store.subscribe(room)
  }

  unsubscribe(room: string): void {
    this.#store.unsubscribe(room)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#started.resolve()
    await this.#store.close()
  }
}

/** Returns the error of a message that the store does not have. */
export function notStored(why: string, options?: { cause?: unknown; mayBeStored: boolean }): HubError {
  return new HubError('WSHUB_ERR_NOT_STORED', `a message was not stored: ${why}`, options)
}
