import type {
  Appended,
  HistoryLimits,
  HistoryListener,
  HistoryStore,
  Mark,
  ReadRequest,
  ReadResult,
  StoredRecord,
} from 'wshub'
import { type Deferred, deferred } from '../../src/base/deferred.ts'

/** A store between a hub and another store: it loses, holds and fails what a test says. */
export class FaultyStore implements HistoryStore {
  readonly #inner: HistoryStore
  #listener: HistoryListener | undefined
  /** How many messages of the feed are lost next. */
  feedToLose = 0
  /** Whether it cannot tell the latest messages of rooms. */
  hidesHeads = false
  /** The error that `close` rejects with and reports. */
  closeError: Error | undefined
  /** How many reads fail next. */
  readsToFail = 0
  /** Whether the reads fail by which a hub compares what it has delivered. */
  failsComparing = false
  /** Messages of the feed that wait, where they are held. */
  #heldFeed: (() => void)[] | undefined
  /** Replies that wait, where they are held. */
  #heldReplies: Deferred<void>[] | undefined
  reads = 0
  /** Time, in ms, for which a read keeps the process busy. */
  readTakesMs = 0
  /** Whether only the feed tells which message is before one that was appended. */
  hidesPrevious = false

  constructor(inner: HistoryStore) {
    this.#inner = inner
  }

  get state() {
    return this.#inner.state
  }

  get isShared() {
    return this.#inner.isShared
  }

  /** Holds the messages of the feed until {@link releaseFeed}. */
  holdFeed(): void {
    this.#heldFeed ??= []
  }

  releaseFeed(): void {
    const held = this.#heldFeed ?? []
    this.#heldFeed = undefined
    for (const release of held) release()
  }

  /** Holds the replies of reads and appends until {@link releaseReplies}. */
  holdReplies(): void {
    this.#heldReplies ??= []
  }

  /** How many replies wait. */
  get heldReplies(): number {
    return this.#heldReplies?.length ?? 0
  }

  releaseReplies(): void {
    const held = this.#heldReplies ?? []
    this.#heldReplies = undefined
    for (const { resolve } of held) resolve()
  }

  start(listener: HistoryListener): Promise<void> {
    this.#listener = listener
    return this.#inner.start({
      onMessage: (room, stored) => this.#receive(room, stored),
      onStateChange: (state) => {
        if (state === 'reconnecting') this.#dropHeld()
        listener.onStateChange(state)
      },
      onError: (error) => listener.onError(error),
    })
  }

  async append(room: string, record: Uint8Array, limits: HistoryLimits): Promise<Appended> {
    const { previous, ...mark } = await this.#reply(this.#inner.append(room, record, limits))
    return this.hidesPrevious ? mark : { ...mark, previous }
  }

  read(room: string, request: ReadRequest, limits: HistoryLimits): Promise<ReadResult> {
    this.reads++
    for (const endsAt = performance.now() + this.readTakesMs; performance.now() < endsAt; );
    const fails = this.readsToFail > 0 || (this.failsComparing && request.wasDelivered === true)
    if (!fails) return this.#reply(this.#inner.read(room, request, limits))
    this.readsToFail = Math.max(0, this.readsToFail - 1)
    return this.#reply(Promise.reject(new Error('the read fails')))
  }

  heads(rooms: readonly string[]): Promise<readonly (Mark | undefined)[]> {
    return this.hidesHeads ? Promise.reject(new Error('no heads')) : this.#inner.heads(rooms)
  }

  subscribe(room: string): Promise<void> {
    return this.#inner.subscribe(room)
  }

  unsubscribe(room: string): void {
    this.#inner.unsubscribe(room)
  }

  async close(): Promise<void> {
    await this.#inner.close()
    if (this.closeError === undefined) return
    this.#listener?.onError(new Error('something was lost'))
    throw this.closeError
  }

  /** As a client does that has lost its connection: what was under way does not arrive any more. */
  #dropHeld(): void {
    this.#heldFeed &&= []
    const replies = this.#heldReplies ?? []
    this.#heldReplies &&= []
    for (const { reject } of replies) reject(new Error('The connection was lost'))
  }

  #receive(room: string, stored: StoredRecord): void {
    if (this.feedToLose > 0) {
      this.feedToLose--
      return
    }
    const pass = () => this.#listener?.onMessage(room, stored)
    if (this.#heldFeed === undefined) pass()
    else this.#heldFeed.push(pass)
  }

  async #reply<Result>(result: Promise<Result>): Promise<Result> {
    result.catch(() => {}) // handled below, perhaps later
    if (this.#heldReplies !== undefined) {
      const held = deferred()
      this.#heldReplies.push(held)
      await held.promise
    }
    return result
  }
}
