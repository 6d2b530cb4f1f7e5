import { type Deferred, deferred } from '../base/deferred.ts'
import { asError } from '../base/thrown.ts'
import { FeedWatch } from './feed-watch.ts'
import { HeldRecords } from './held-records.ts'
import type { Appended, HistoryLimits, Mark, ReadResult, StoredRecord } from './history-store.ts'
import { LogMembers, type MembersLog } from './log-members.ts'
import type { LogParts } from './log-parts.ts'
import { type MarkFate, MarkWaiters } from './mark-waiters.ts'
import { NOWHERE } from './position.ts'
import { RetryTimer } from './retry-timer.ts'

/**
 * The messages of a room with a history, on a node that has a member of it: delivers them in the order of the
 * store, each once, and reads from the store what did not arrive.
 */
export class RoomLog implements MembersLog {
  readonly room: string
  /** When in each round it is compared with the store. */
  readonly turn: number
  readonly #limits: HistoryLimits
  readonly #parts: LogParts
  readonly members: LogMembers
  readonly #held: HeldRecords
  readonly #waiters = new MarkWaiters()
  readonly #retries = new RetryTimer(() => this.#retry())
  /** `undefined` until the latest message was read from the store. */
  #delivered: Mark | undefined
  #positioned = handledDeferred<Mark>()
  #isReading = false
  /** Whether something happened that a read in progress may not have seen. */
  #mustReadAgain = false
  /** How many times the store may have lost messages, and how many of these were settled by a read. */
  #suspicions = 0
  #cleared = 0
  /** Whether the members are being notified that messages are lost. */
  #isTelling = false
  readonly #feed: FeedWatch
  #isClosed = false

  constructor(room: string, limits: HistoryLimits, turn: number, parts: LogParts) {
    this.room = room
    this.turn = turn
    this.#limits = limits
    this.#parts = parts
    this.#held = new HeldRecords(parts.held)
    this.#feed = new FeedWatch(this.#hasReached, () => this.verify())
    this.members = new LogMembers(this, limits, parts)
    void this.#position()
    void this.#subscribe()
  }

  /** Whether the latest message of the room is known. */
  get isPositioned(): boolean {
    return this.#delivered !== undefined
  }

  /** Whether the latest message is known, and the store is known to have it. */
  get isCertain(): boolean {
    return this.isPositioned && !this.#isSuspect
  }

  /** The latest message that was delivered on this node, or after which the log began. */
  get delivered(): Mark {
    return this.#delivered ?? NOWHERE
  }

  /** Resolves with the message after which the log began. Rejects when the store cannot be read. */
  positioned(): Promise<Mark> {
    return this.#positioned.promise
  }

  /** Receives a message from the feed of the store. */
  receive(stored: StoredRecord): void {
    if (this.#isClosed) return
    const delivered = this.#delivered
    if (delivered === undefined) {
      this.#held.add(stored)
    } else if (stored.epoch === delivered.epoch && stored.offset <= delivered.offset) {
      this.#parts.stats.repeated++
      if (this.#contradicts(stored)) this.suspect()
    } else if (stored.epoch === delivered.epoch && stored.previous <= delivered.offset && !this.#isSuspect) {
      this.#deliver(stored)
      this.#deliverHeld()
    } else {
      this.#held.add(stored)
      this.verify()
    }
  }

  /**
   * Receives a message that this node has appended. If the store did not say which message precedes it, the
   * feed will.
   */
  appended(mark: Appended, record: Buffer): void {
    const { previous } = mark
    if (previous !== undefined) this.receive({ ...mark, previous, record })
    else this.#feed.expect(mark)
  }

  /**
   * Resolves when a message of this node has been delivered here, or is skipped; `undefined` when it has
   * been.
   * @throws {HubError} WSHUB_ERR_NOT_STORED, as a rejection, when the store has lost it
   */
  reached(mark: Mark): Promise<void> | undefined {
    // One of another epoch may be the first after the room was evicted, which the log does not know yet.
    if (!this.#isClosed && this.isPositioned && this.delivered.epoch !== mark.epoch) this.suspect()
    const fate = this.#fateOf(mark)
    if (fate === 'past') return undefined
    const reached = this.#waiters.wait(mark, this.#suspicions)
    if (fate === 'lost') this.#moved()
    return reached
  }

  /** Reads what comes after the latest message: it may have been lost on its way. */
  verify(): void {
    this.#mustReadAgain = true
    if (!this.#isReading && !this.#retries.isWaiting && this.isPositioned) void this.#read()
  }

  /**
   * Delivers nothing until a read has shown that the store still has the latest message. After an outage, the
   * store may have lost its latest writes.
   */
  suspect(): void {
    this.#suspicions++
    this.verify()
  }

  /** The store is back: retries at once what waits for it. */
  reconnected(): void {
    this.#retries.reset()
    this.#suspicions++
    this.#held.clear() // the store may have lost these as well
    this.#retry()
  }

  /**
   * Compares the log with the latest message of the store.
   * @param before the latest message that was delivered when the store was asked
   */
  compare(head: Mark | undefined, before: Mark): void {
    if (this.#isClosed) return
    if (head === undefined || head.epoch !== before.epoch || head.offset < before.offset) this.suspect()
    else if (!this.#hasReached(head)) this.verify()
    else if (this.#contradicts(head)) this.suspect()
  }

  /** Retries later, at the latest when the store is back. */
  retryLater(): void {
    this.#retries.later()
  }

  /** Ends the log and its subscription: the room has no member here. */
  close(): void {
    this.#isClosed = true
    this.#held.clear()
    this.#retries.stop()
    this.#feed.stop()
    this.members.close()
    this.#positioned.resolve(this.delivered)
    this.#moved()
    this.#parts.store.unsubscribe(this.room)
  }

  sharesWith(room: string): boolean {
    return this.members.sharesWith(room)
  }

  // The store

  async #position(): Promise<void> {
    this.#isReading = true
    try {
      const { head } = await this.#parts.store.read(this.room, {}, this.#limits)
      this.#isReading = false
      if (this.#isClosed) return
      this.#retries.reset()
      this.#beginAt(head)
      this.#positioned.resolve(this.delivered)
      this.#deliverHeld()
      if (this.#mustReadAgain || !this.#held.isEmpty) this.verify()
    } catch (error) {
      this.#isReading = false
      if (this.#isClosed) return
      this.#positioned.reject(asError(error, 'the store of the history'))
      this.#positioned = handledDeferred()
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
      const suspicions = this.#suspicions
      try {
        const request = { after: delivered, wasDelivered: true }
        const result = await this.#parts.store.read(this.room, request, this.#limits)
        if (this.#isClosed) break
        this.#cleared = suspicions
        this.#retries.reset()
        if (this.#isLoss(delivered, result)) await this.#lose(result.head)
        else this.#apply(result)
        if (!this.#isSuspect) this.#deliverHeld()
        // What is still held was stored before this read, which would have returned it.
        if (!this.#mustReadAgain) this.#held.clear()
      } catch (error) {
        this.#isReading = false
        this.#mustReadAgain = true
        if (!this.#isClosed) this.#failed(error)
        return
      }
    }
    this.#isReading = false
    this.#moved()
    this.members.caughtUp()
  }

  /** Whether messages are lost. `false` when others were delivered during the read: nothing is known then. */
  #isLoss(after: Mark, { head, isComplete }: ReadResult): boolean {
    return !isComplete && (this.delivered === after || this.delivered.epoch !== head.epoch)
  }

  #apply({ head, records, isComplete }: ReadResult): void {
    if (!isComplete || this.#isSuspect) {
      this.#mustReadAgain = true // others were delivered meanwhile, or the store may have lost these since
      return
    }
    for (const stored of records) {
      if (stored.epoch !== this.delivered.epoch || stored.offset <= this.delivered.offset) continue
      this.#deliver(stored)
      this.#parts.stats.repaired++
    }
    const last = records.at(-1)
    if (last !== undefined && last.offset < head.offset) this.#mustReadAgain = true
  }

  /**
   * Continues after the latest message of the store: earlier ones that were not delivered are lost. Nothing
   * is delivered before the members are notified.
   */
  async #lose(head: Mark): Promise<void> {
    this.#parts.stats.lost++
    this.#beginAt(head)
    this.members.lost()
    this.#isTelling = true
    await new Promise<void>((resolve) => process.nextTick(resolve))
    this.#isTelling = false
  }

  /** Begins after the latest message of the store, but before those that have arrived already. */
  #beginAt({ epoch, offset, tag }: Mark): void {
    const arrived = this.#held.offsetBefore(epoch) ?? offset
    if (arrived < offset) this.#mustReadAgain = true
    this.#delivered = arrived < offset ? { epoch, offset: arrived, tag: '' } : { epoch, offset, tag }
    this.members.recent.clear(this.#delivered)
  }

  #failed(error: unknown): void {
    this.#parts.failed(error)
    this.#retries.later()
  }

  #retry(): void {
    this.#retries.stop()
    if (this.isPositioned) this.verify()
    else if (!this.#isReading) void this.#position()
    this.members.retry()
  }

  // Delivery

  /** Delivers the messages that arrived too early, up to the next gap. */
  #deliverHeld(): void {
    const taken = this.#held.take(this.delivered, (stored) => this.#contradicts(stored))
    if (taken === undefined) this.suspect()
    else for (const stored of taken) this.#deliver(stored)
    this.#moved()
  }

  #deliver(stored: StoredRecord): void {
    const message = this.members.messageOf(stored, this.delivered)
    const { epoch, offset, tag } = stored
    this.#delivered = { epoch, offset, tag }
    if (message === undefined) this.members.recent.clear(this.#delivered)
    else this.members.deliver(message)
    this.#waiters.moved(this.#fateOf) // before the next message: this one may not be in memory then
  }

  /** Notifies callers and catch-ups that wait for a message. */
  #moved(): void {
    this.members.moved(this.#hasReached)
    this.#waiters.moved(this.#fateOf)
  }

  /** Whether the log has delivered a message, or never will. */
  readonly #hasReached = ({ epoch, offset }: Mark): boolean => {
    if (this.#isClosed) return true
    const delivered = this.#delivered
    return delivered !== undefined && (delivered.epoch !== epoch || delivered.offset >= offset)
  }

  /** Returns the fate of a message that the log may not have received yet; `undefined` if it is not known. */
  readonly #fateOf = (mark: Mark, since = this.#suspicions): MarkFate | undefined => {
    if (this.#isClosed) return 'past'
    if (this.#isSuspect) {
      // The number may have been that of another message, which the store has lost.
      const known = this.#markAt(mark.offset)
      return known?.epoch === mark.epoch && known.tag === mark.tag ? 'past' : undefined
    }
    // Its number may be that of another message by now.
    const isReplaced = this.delivered.epoch === mark.epoch && this.#contradicts(mark)
    if (this.#hasReached(mark)) return isReplaced ? 'lost' : 'past'
    // The store was read after the possible loss, and has no message that was not delivered.
    return since < this.#cleared && !this.#mustReadAgain && !this.#isReading ? 'lost' : undefined
  }

  get #isSuspect(): boolean {
    return this.#isTelling || this.#cleared < this.#suspicions
  }

  /** Whether the log has had another message with the offset of this one. */
  #contradicts({ offset, tag }: Mark): boolean {
    const known = this.#markAt(offset)
    return known !== undefined && known.tag !== '' && tag !== '' && known.tag !== tag
  }

  /** Returns the mark of the message with that offset; `undefined` when it is not in memory. */
  #markAt(offset: number): Mark | undefined {
    return this.delivered.offset === offset ? this.delivered : this.members.recent.at(offset)
  }
}

/** Returns a deferred promise whose rejection may stay unhandled: perhaps nothing waits for it. */
function handledDeferred<Value>(): Deferred<Value> {
  const result = deferred<Value>()
  result.promise.catch(() => {})
  return result
}
