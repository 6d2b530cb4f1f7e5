import type { HistoryMember } from './history-member.ts'
import type { HistoryMessage } from './history-message.ts'
import type { Mark, ReadResult, StoredRecord } from './history-store.ts'
import { NOWHERE } from './position.ts'
import type { Replay, ReplayLoop } from './replay-loop.ts'

/** How a catch-up ended. */
export type CatchUpEnd =
  /** The member has everything up to the log's latest message, and receives live messages from then on. */
  | 'live'
  /** Messages after its cursor are lost; it receives live messages after the log's latest one. */
  | 'incomplete'
  /** The member has left the room, or its connection is closed. */
  | 'ended'
  /** Another catch-up of the member has taken its place. */
  | 'replaced'

/** Receives the end of a catch-up. Returns whether it has called `fellBehind` of the member. */
export type OnCatchUpEnd = (end: CatchUpEnd, catchUp: CatchUp) => boolean

/** The log of a room on this node, as a catch-up uses it. */
export interface CatchUpLog {
  /** The latest message that was delivered on this node. */
  readonly delivered: Mark
  /** Returns the message after another one; `undefined` when it is not in memory. */
  next(after: Mark): HistoryMessage | undefined
  read(after: Mark): Promise<ReadResult>
  /**
   * Returns a message to deliver; `undefined` for a record that cannot be read.
   * @param after the message before it
   */
  messageOf(stored: StoredRecord, after: Mark): HistoryMessage | undefined
  /** Whether a message is for the member of a catch-up. */
  isFor(message: HistoryMessage, catchUp: CatchUp): boolean
  /** Whether messages may have gone to this room and to another one at once. */
  sharesWith(room: string): boolean
  /** The member of a catch-up has left another room, in which copies of messages may have been left out. */
  leftOther(member: HistoryMember, room: string): void
  /** Calls {@link CatchUp.resume} when the log has reached the cursor. */
  awaitCursor(catchUp: CatchUp): void
  /** Compares the log with the store. */
  verify(): void
  /** Waits before another attempt to read; the wait ends early when the store is back. */
  retryLater(catchUp: CatchUp): void
  /** The catch-up has ended by itself: the member receives live messages. */
  ended(catchUp: CatchUp): void
}

/**
 * Brings one member of a room up to date: replays the messages after a cursor, as fast as the client takes
 * them. Until it ends, the log delivers nothing to the member; the first live message follows the last
 * replayed one without a gap.
 */
export class CatchUp implements Replay {
  readonly member: HistoryMember
  /** Whether a call of `resumeRoom` started it. The result of that call says how it ended. */
  readonly isResume: boolean
  /** Whether it replays messages that were dropped after they had been delivered to the member. */
  hasDropped = false
  /** The number of messages that were delivered to the member. */
  replayed = 0
  /** The latest message that the member has received, or was not meant to. */
  cursor: Mark = NOWHERE
  readonly #log: CatchUpLog
  readonly #loop: ReplayLoop
  readonly #onEnd: OnCatchUpEnd
  /** Messages that were read from the store, and how many of them have been processed. */
  #page: readonly StoredRecord[] = []
  #done = 0
  /** The next message, which waits until the client has taken earlier ones. */
  #next: HistoryMessage | undefined
  #hasStarted = false
  /** Rooms that the member has joined meanwhile and is in, and the log's latest message then. */
  readonly #joined = new Map<string, Mark>()
  /** The message before the first one that was dropped for the member before the start. */
  #dropped: Mark | undefined
  /** Whether messages were dropped for the member while one was delivered to it. */
  #isRewound = false
  /** Whether the store may have lost the message at the cursor. */
  #mustVerify = false
  #isScheduled = false
  #isReading = false
  #hasEnded = false

  /** @param onEnd is called once */
  constructor(
    log: CatchUpLog,
    loop: ReplayLoop,
    member: HistoryMember,
    isResume: boolean,
    onEnd: OnCatchUpEnd,
  ) {
    this.#log = log
    this.#loop = loop
    this.member = member
    this.isResume = isResume
    this.#onEnd = onEnd
  }

  /** Whether the replay has begun. */
  get hasStarted(): boolean {
    return this.#hasStarted
  }

  /** Whether it is over. */
  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /**
   * Begins the replay.
   * @param cursor the latest message that the member has
   * @param page messages after it that were read already
   */
  start(cursor: Mark, page: readonly StoredRecord[] = []): void {
    if (this.#hasEnded) return
    this.#hasStarted = true
    const dropped = this.#dropped
    const isDropped =
      dropped !== undefined && (dropped.epoch !== cursor.epoch || dropped.offset < cursor.offset)
    this.cursor = isDropped ? dropped : cursor
    this.#page = isDropped ? [] : page
    if (this.#isLive) this.#finish('live')
    else this.resume()
  }

  /**
   * Begins the replay of messages that were dropped for the member, when the client has taken others. Before
   * that, messages may be dropped again and again, and the client would be told as often that it is behind.
   */
  startLater(cursor: Mark): void {
    this.#hasStarted = true
    this.hasDropped = true
    this.cursor = cursor
    this.#awaitRoom()
  }

  /** The member has joined another room. */
  joined(room: string): void {
    if (this.#log.sharesWith(room)) this.#joined.set(room, this.#log.delivered)
  }

  /** The member has left another room. */
  left(room: string): void {
    this.#joined.delete(room)
    this.#log.leftOther(this.member, room)
  }

  /** Whether the member has joined another room after the log had delivered a message. */
  hasJoinedAfter({ epoch, offset }: Mark, room: string): boolean {
    const joined = this.#joined.get(room)
    return joined !== undefined && joined.epoch === epoch && offset <= joined.offset
  }

  /** Continues in a later turn. */
  readonly resume = (): void => {
    if (this.#isScheduled || this.#hasEnded || !this.#hasStarted) return
    this.#isScheduled = true
    this.#loop.schedule(this)
  }

  /** Goes back to an earlier message: the messages after it were dropped before they were written. */
  rewind(cursor: Mark): void {
    this.hasDropped = true
    if (!this.#hasStarted) {
      this.#dropped ??= cursor
      return
    }
    this.cursor = cursor
    this.#isRewound = true
    this.#page = []
    this.#next = undefined
    this.#awaitRoom()
  }

  /** Compares the cursor with the store before it continues, because the store has lost messages. */
  verify(): void {
    this.#mustVerify = true
    this.#page = []
    this.#next = undefined
    this.resume()
  }

  /** Ends the replay; it delivers nothing more. */
  end(how: 'ended' | 'replaced'): void {
    this.#finish(how)
  }

  /**
   * Ends the replay as `incomplete`: the member receives live messages after the log's latest one, whatever
   * it has missed.
   */
  skip(): void {
    this.#finish('incomplete')
  }

  run(): void {
    this.#isScheduled = false
    try {
      this.#replay()
    } catch (thrown) {
      this.skip()
      throw thrown
    }
  }

  #replay(): void {
    while (!this.#hasEnded && !this.#isReading) {
      if (this.#isLive) {
        this.#finish('live')
        return
      }
      this.#next ??= this.#find()
      if (this.#next === undefined || !this.#deliver(this.#next)) return
      if (this.#loop.countMessage()) {
        this.resume()
        return
      }
    }
  }

  /** Returns the next message; `undefined` when it has to be read, or the client first has to take others. */
  #find(): HistoryMessage | undefined {
    if (this.#mustVerify) {
      this.#readSoon()
      return undefined
    }
    const recent = this.#log.next(this.cursor)
    if (recent !== undefined) {
      this.#page = [] // another message may be at this place in the store by now
      return recent
    }
    for (let stored = this.#page[this.#done]; stored !== undefined; stored = this.#page[this.#done]) {
      this.#done++
      if (stored.offset <= this.cursor.offset) continue
      const message = this.#log.messageOf(stored, this.cursor)
      if (message !== undefined) return message
      this.cursor = { epoch: stored.epoch, offset: stored.offset, tag: stored.tag }
    }
    // The client comes from a node that is ahead of this one, whose log will reach the cursor soon.
    const { delivered } = this.#log
    const isAhead = this.cursor.epoch === delivered.epoch && this.cursor.offset > delivered.offset
    if (isAhead) this.#log.awaitCursor(this)
    else this.#readSoon()
    return undefined
  }

  /**
   * Reads the next page when the client can take it, so that no page is kept for a client that does not read.
   */
  #readSoon(): void {
    if (this.member.outbox.hasRoomFor(1)) void this.#read()
    else this.#awaitRoom()
  }

  /** Continues when less waits for the client; never for a connection that accepts nothing more. */
  #awaitRoom(): void {
    if (this.member.isOpen) this.member.outbox.awaitRoom(this.resume)
  }

  /** @returns `false` when the client has to take something first */
  #deliver(message: HistoryMessage): boolean {
    this.#isRewound = false
    if (this.#log.isFor(message, this)) {
      if (!this.member.outbox.hasRoomFor(message.frameBytes)) {
        this.#awaitRoom()
        return false
      }
      if (this.member.deliver(message.outgoing, message.options, message)) this.replayed++
    }
    if (this.#isRewound) return false
    this.cursor = message.mark
    this.#next = undefined
    return true
  }

  async #read(): Promise<void> {
    this.#isReading = true
    this.#mustVerify = false
    const { cursor } = this
    let result: ReadResult | undefined
    try {
      result = await this.#log.read(cursor)
    } catch {
      // The store cannot be reached. The log reads it again later, and reports its own failure.
    }
    this.#isReading = false
    if (this.#hasEnded) return
    if (this.cursor !== cursor || this.#mustVerify) {
      this.resume()
    } else if (result === undefined) {
      this.#mustVerify = true
      this.#log.retryLater(this)
    } else {
      this.#apply(result)
    }
  }

  #apply({ head, records, isComplete }: ReadResult): void {
    if (!isComplete && this.#mayReceiveLive(head)) {
      this.#finish('incomplete')
    } else if (isComplete && records.length > 0) {
      this.#page = records
      this.#done = 0
      this.resume()
    } else if (isComplete && this.#isLive) {
      this.resume()
    } else {
      // The store and the log do not agree on the latest message.
      this.#log.verify()
      this.#log.retryLater(this)
    }
  }

  /**
   * Whether no live message from now on can be one that the member has already: the log is not behind the
   * cursor, or has all that the store still has.
   */
  #mayReceiveLive({ epoch, offset }: Mark): boolean {
    const { cursor } = this
    const { delivered } = this.#log
    if (delivered.epoch !== epoch) return false
    return cursor.epoch !== epoch || Math.min(cursor.offset, offset) <= delivered.offset
  }

  /** Whether the member has everything that the log has delivered, and nothing more. */
  get #isLive(): boolean {
    const { cursor } = this
    const { epoch, offset, tag } = this.#log.delivered
    if (this.#mustVerify || cursor.epoch !== epoch || cursor.offset !== offset) return false
    return cursor.tag === tag || cursor.tag === '' || tag === ''
  }

  #finish(end: CatchUpEnd): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.member.outbox.stopAwaitingRoom(this.resume)
    this.#page = []
    this.#next = undefined
    if (end === 'incomplete') this.cursor = this.#log.delivered
    if (end === 'live') this.#log.ended(this)
    const isTold = this.#onEnd(end, this)
    if (end !== 'incomplete') return
    // No live message before the member is told, which happens in a turn of its own.
    if (isTold) process.nextTick(() => this.#log.ended(this))
    else this.#log.ended(this)
  }
}
