import { type Deferred, deferred } from '../base/deferred.ts'
import { CatchUp, type CatchUpEnd, type CatchUpLog } from './catch-up.ts'
import type { GuardedStore } from './guarded-store.ts'
import { HeldRecords } from './held-records.ts'
import type { HistoryHost, HistoryMember } from './history-member.ts'
import type { HistoryMessage, MessageLog } from './history-message.ts'
import type { HistoryStats } from './history-stats.ts'
import type { Appended, HistoryLimits, Mark, ReadResult, StoredRecord } from './history-store.ts'
import type { MessageCache } from './message-cache.ts'
import { RecentMessages } from './recent-messages.ts'
import type { ReplayLoop } from './replay-loop.ts'

/** Delay, in ms, before a read that failed is repeated: doubled each time. */
const MIN_RETRY_MS = 100
const MAX_RETRY_MS = 5_000
/** Time, in ms, in which the feed usually shows what comes before a message that this node has appended. */
const FEED_MS = 1_000

/** The objects that the logs of all rooms of a hub share. */
export interface LogParts {
  readonly host: HistoryHost
  readonly store: GuardedStore
  readonly cache: MessageCache
  readonly loop: ReplayLoop
  readonly stats: HistoryStats
  /** Returns a message to deliver; `undefined`, after a report, for a record that cannot be read. */
  messageOf(log: MessageLog, stored: StoredRecord): HistoryMessage | undefined
  /** The store failed. */
  failed(error: unknown): void
}

/** Waits until the log has delivered a message. */
interface Waiter {
  readonly mark: Mark
  readonly reached: Deferred<void>
}

/**
 * The messages of a room with a history, on a node that has a member of it: delivers them in the order of the
 * store, each once, and reads from the store what did not arrive.
 */
export class RoomLog implements CatchUpLog, MessageLog {
  readonly room: string
  /** When in each round it is compared with the store. */
  readonly turn: number
  readonly #limits: HistoryLimits
  readonly #parts: LogParts
  /** `undefined` until the store has told the latest message. */
  #delivered: Mark | undefined
  #positioned = deferred()
  readonly #held = new HeldRecords()
  readonly #recent = new RecentMessages({ epoch: '', offset: 0, tag: '' })
  /** The members that the log does not deliver to. */
  readonly #catchUps = new Map<HistoryMember, CatchUp>()
  /** Catch-ups that are ahead of the log, and those that wait for the store. */
  readonly #ahead = new Set<CatchUp>()
  readonly #retrying = new Set<CatchUp>()
  #waiters: Waiter[] = []
  #isReading = false
  /** Whether something happened during a read that the read may not have seen. */
  #mustReadAgain = false
  #retryMs = MIN_RETRY_MS
  #timer: NodeJS.Timeout | undefined
  #feedTimer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(room: string, limits: HistoryLimits, turn: number, parts: LogParts) {
    this.room = room
    this.turn = turn
    this.#limits = limits
    this.#parts = parts
    this.#positioned.promise.catch(() => {}) // nobody may wait
    void this.#position()
    void this.#subscribe()
  }

  /** Whether the latest message of the room is known. */
  get isPositioned(): boolean {
    return this.#delivered !== undefined
  }

  /** The latest message that was delivered on this node, or that it began after. */
  get delivered(): Mark {
    return this.#delivered ?? { epoch: '', offset: 0, tag: '' }
  }

  /** Resolves when the latest message is known; rejects when the store cannot be read. */
  positioned(): Promise<void> {
    return this.#positioned.promise
  }

  /** Receives a message from the feed of the store. */
  receive(stored: StoredRecord): void {
    const delivered = this.#delivered
    if (this.#isClosed) return
    if (delivered === undefined) {
      this.#held.add(stored)
    } else if (stored.epoch !== delivered.epoch) {
      this.#held.add(stored)
      this.verify()
    } else if (stored.offset <= delivered.offset) {
      this.#parts.stats.repeated++
      if (this.#contradicts(stored)) this.verify()
    } else if (stored.previous <= delivered.offset) {
      this.#deliver(stored)
      this.#deliverHeld()
    } else {
      this.#held.add(stored)
      this.verify()
    }
  }

  /**
   * Receives a message that this node has appended. Where the store does not tell which one is before it, the
   * feed does.
   */
  appended(mark: Appended, record: Buffer): void {
    const { previous } = mark
    if (previous !== undefined) this.receive({ ...mark, previous, record })
    else this.#feedTimer ??= setTimeout(() => this.#feedLate(mark), FEED_MS).unref()
  }

  /** Resolves when a message has been delivered here, or cannot be any more; `undefined` when it has been. */
  reached(mark: Mark): Promise<void> | undefined {
    if (this.#isClosed || this.#hasReached(mark)) return undefined
    const reached = deferred()
    this.#waiters.push({ mark, reached })
    return reached.promise
  }

  /** Reads what comes after the latest message: it may have been lost on its way. */
  verify(): void {
    this.#mustReadAgain = true
    if (!this.#isReading && this.#timer === undefined && this.isPositioned) void this.#read()
  }

  /** The store is back: does at once what would be tried again later. */
  retryNow(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#retryMs = MIN_RETRY_MS
    if (this.isPositioned) this.verify()
    else if (!this.#isReading) void this.#position()
    for (const catchUp of this.#retrying) catchUp.resume()
    this.#retrying.clear()
  }

  /** Compares the log with the latest message of the store. */
  compare(head: Mark | undefined): void {
    const delivered = this.#delivered
    if (delivered === undefined || this.#isClosed) return
    const isSame =
      head !== undefined &&
      head.epoch === delivered.epoch &&
      head.offset === delivered.offset &&
      (head.tag === delivered.tag || head.tag === '' || delivered.tag === '')
    if (!isSame) this.verify()
  }

  // Members that are not live

  /**
   * Delivers no live messages to a member from now on, until the catch-up that is returned is over. A former
   * one of the member ends.
   */
  withhold(member: HistoryMember, onEnd: (end: CatchUpEnd, catchUp: CatchUp) => void): CatchUp {
    this.left(member)
    const catchUp = new CatchUp(this, this.#parts.loop, member, onEnd)
    this.#catchUps.set(member, catchUp)
    return catchUp
  }

  /** Messages to a member that are not written yet were dropped, all from this one on. */
  resync(member: HistoryMember, { mark, previous }: HistoryMessage): void {
    const cursor = { epoch: mark.epoch, offset: previous, tag: '' }
    const catchUp = this.#catchUps.get(member)
    if (catchUp !== undefined) catchUp.rewind(cursor)
    else {
      const onEnd = (end: CatchUpEnd) => {
        if (end === 'incomplete') member.fellBehind(this.room)
      }
      this.withhold(member, onEnd).start(cursor)
    }
  }

  /** The member has left the room, or its connection is closed. */
  left(member: HistoryMember): void {
    const catchUp = this.#catchUps.get(member)
    if (catchUp === undefined) return
    this.#catchUps.delete(member)
    this.#ahead.delete(catchUp)
    this.#retrying.delete(catchUp)
    catchUp.end()
  }

  /** Returns whether all messages after a mark are in memory. */
  covers(mark: Mark): boolean {
    return this.isPositioned && this.#recent.covers(mark)
  }

  /** Returns the mark before the latest `count` messages; `undefined` when they are not all in memory. */
  beforeLast(count: number): Mark | undefined {
    return this.#recent.beforeLast(count)
  }

  recent(offset: number): HistoryMessage | undefined {
    return this.#recent.next(offset)
  }

  read(after: Mark): Promise<ReadResult> {
    return this.#parts.store.read(this.room, { after }, this.#limits)
  }

  /** Reads the latest messages. */
  readLast(count: number): Promise<ReadResult> {
    return this.#parts.store.read(this.room, { last: count }, this.#limits)
  }

  messageOf(stored: StoredRecord): HistoryMessage | undefined {
    return this.#parts.messageOf(this, stored)
  }

  isFor(message: HistoryMessage, member: HistoryMember): boolean {
    return message.isFor(member, this.#parts.host)
  }

  awaitCursor(catchUp: CatchUp): void {
    this.#ahead.add(catchUp)
    this.verify()
  }

  retryLater(catchUp: CatchUp): void {
    this.#retrying.add(catchUp)
    this.#retry()
  }

  ended(catchUp: CatchUp): void {
    this.#catchUps.delete(catchUp.member)
  }

  /** Ends the subscription; the room has no member here any more. */
  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    clearTimeout(this.#feedTimer)
    for (const member of [...this.#catchUps.keys()]) this.left(member)
    this.#positioned.resolve()
    this.#wake()
    this.#parts.store.unsubscribe(this.room)
  }

  // The store

  async #position(): Promise<void> {
    this.#isReading = true
    try {
      const { head } = await this.#parts.store.read(this.room, {}, this.#limits)
      this.#isReading = false
      if (this.#isClosed) return
      // A message of this node that was appended after the first attempt is not to be missed.
      const own = this.#held.offsetBefore(head.epoch)
      this.#adopt(own === undefined || own >= head.offset ? head : { ...head, offset: own, tag: '' })
      this.#deliverHeld()
      this.#positioned.resolve()
      if (this.#mustReadAgain || !this.#held.isEmpty) this.verify()
    } catch (error) {
      this.#isReading = false
      if (this.#isClosed) return
      this.#positioned.reject(error instanceof Error ? error : new Error(String(error)))
      this.#positioned = deferred()
      this.#positioned.promise.catch(() => {})
      this.#failed(error)
    }
  }

  async #subscribe(): Promise<void> {
    try {
      await this.#parts.store.subscribe(this.room)
      if (!this.#isClosed) this.verify()
    } catch (error) {
      if (!this.#isClosed) this.#parts.failed(error) // the messages are found by comparing with the store
    }
  }

  async #read(): Promise<void> {
    this.#isReading = true
    while (this.#mustReadAgain && !this.#isClosed) {
      this.#mustReadAgain = false
      const { delivered } = this
      try {
        const result = await this.read(delivered)
        if (this.#isClosed) break
        this.#apply(delivered, result)
        this.#retryMs = MIN_RETRY_MS
      } catch (error) {
        this.#isReading = false
        this.#mustReadAgain = true
        if (!this.#isClosed) this.#failed(error)
        return
      }
    }
    this.#isReading = false
  }

  #apply(after: Mark, { head, records, isComplete }: ReadResult): void {
    if (isComplete) {
      for (const stored of records) {
        if (stored.epoch !== this.delivered.epoch || stored.offset <= this.delivered.offset) continue
        this.#deliver(stored)
        this.#parts.stats.repaired++
      }
      const last = records.at(-1)
      if (last !== undefined && last.offset < head.offset) this.#mustReadAgain = true
    } else if (this.delivered === after || this.delivered.epoch !== head.epoch) {
      this.#lose(head)
    } else {
      this.#mustReadAgain = true // messages were delivered meanwhile: their marks may be fine
    }
    this.#deliverHeld()
    // A message that is still held was stored before this read, which would have returned it.
    if (!this.#mustReadAgain) this.#held.clear()
  }

  /** Goes on with the latest message of the store: those before it, if any, cannot be delivered any more. */
  #lose(head: Mark): void {
    const { host, stats } = this.#parts
    stats.lost++
    this.#adopt(head)
    for (const member of host.members(this.room)) {
      if (!this.#catchUps.has(member)) member.fellBehind(this.room)
    }
  }

  #adopt(head: Mark): void {
    this.#delivered = { epoch: head.epoch, offset: head.offset, tag: head.tag }
    this.#recent.clear(this.#delivered)
  }

  #failed(error: unknown): void {
    this.#parts.failed(error)
    this.#retry()
  }

  #retry(): void {
    if (this.#timer !== undefined) return
    this.#timer = setTimeout(
      () => {
        const retryMs = Math.min(MAX_RETRY_MS, this.#retryMs * 2)
        this.retryNow()
        this.#retryMs = retryMs
      },
      this.#retryMs * (0.5 + Math.random()),
    ).unref()
  }

  #feedLate(mark: Mark): void {
    this.#feedTimer = undefined
    if (!this.#hasReached(mark)) this.verify()
  }

  // Delivery

  /** Delivers the messages that arrived too early, as far as nothing is missing before them. */
  #deliverHeld(): void {
    for (const stored of this.#held.take(this.delivered)) this.#deliver(stored)
    this.#moved()
  }

  #deliver(stored: StoredRecord): void {
    const message = this.messageOf(stored)
    const { epoch, offset, tag } = stored
    this.#delivered = { epoch, offset, tag }
    if (message === undefined) {
      this.#recent.clear(this.#delivered)
      return
    }
    const { host, cache } = this.#parts
    cache.add(this.#recent, message)
    const { outgoing, options, isForAll } = message
    const catchUps = this.#catchUps
    let recipients = 0
    for (const member of host.members(this.room)) {
      if (catchUps.size > 0 && catchUps.has(member)) continue
      if (!isForAll && !message.isFor(member, host)) continue
      if (member.deliver(outgoing, options, message)) recipients++
    }
    host.delivered(recipients, message.frameBytes)
  }

  /** Tells those who wait for a message. */
  #moved(): void {
    if (this.#ahead.size > 0) {
      for (const catchUp of this.#ahead) {
        if (!this.#hasReached(catchUp.cursor)) continue
        this.#ahead.delete(catchUp)
        catchUp.resume()
      }
    }
    if (this.#waiters.length > 0) this.#wake()
  }

  #wake(): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) {
      if (this.#isClosed || this.#hasReached(waiter.mark)) waiter.reached.resolve()
      else this.#waiters.push(waiter)
    }
  }

  /** Whether the log has delivered a message, or never will. */
  #hasReached({ epoch, offset }: Mark): boolean {
    const delivered = this.#delivered
    return delivered !== undefined && (delivered.epoch !== epoch || delivered.offset >= offset)
  }

  /** Whether another message stands where this one, which the log is past, says that it stands. */
  #contradicts({ offset, tag }: Mark): boolean {
    const { delivered } = this
    const known = delivered.offset === offset ? delivered : this.#recent.at(offset)
    return known !== undefined && known.tag !== '' && tag !== '' && known.tag !== tag
  }
}
