import type { CatchUp, CatchUpLog, OnCatchUpEnd } from './catch-up.ts'
import { CatchUps } from './catch-ups.ts'
import { Followers } from './followers.ts'
import type { HistoryMember } from './history-member.ts'
import { type HistoryMessage, type MessageLog, sharedRooms } from './history-message.ts'
import type { HistoryLimits, Mark, ReadResult, StoredRecord } from './history-store.ts'
import type { LogParts } from './log-parts.ts'
import { NOWHERE } from './position.ts'
import { RecentMessages } from './recent-messages.ts'

/** Most rooms that a room is known to share messages with; beyond that, it may be any room. */
const MAX_PARTNERS = 1_000

const NOT_PAST = () => false

/** The log of a room on this node, as its members use it. */
export interface MembersLog extends MessageLog {
  /** The latest message that was delivered on this node. */
  readonly delivered: Mark
  /** Whether the store is known to have that message. */
  readonly isCertain: boolean
  /** Compares the log with the store. */
  verify(): void
  /** Calls {@link LogMembers.retry} later, at the latest when the store is back. */
  retryLater(): void
}

/**
 * The members of a room with a history, and its latest messages. Delivers to the live members, and brings the
 * others up to date.
 */
export class LogMembers implements CatchUpLog, MessageLog {
  readonly followers = new Followers()
  readonly recent: RecentMessages
  readonly #log: MembersLog
  readonly #limits: HistoryLimits
  readonly #parts: LogParts
  readonly #catchUps: CatchUps
  /** Other rooms to which messages went at the same time. */
  readonly #partners = new Set<string>()

  constructor(log: MembersLog, limits: HistoryLimits, parts: LogParts) {
    this.#log = log
    this.#limits = limits
    this.#parts = parts
    this.recent = new RecentMessages(log.delivered, limits, parts.cache)
    this.#catchUps = new CatchUps(this, parts.loop, parts.catchUps)
  }

  get room(): string {
    return this.#log.room
  }

  get delivered(): Mark {
    return this.#log.delivered
  }

  /** Delivers the next message to the live members. */
  deliver(message: HistoryMessage): void {
    const { host, rooms } = this.#parts
    this.recent.push(message)
    const { outgoing, options, isForAll } = message
    this.#notePartners(message)
    const catchUps = this.#catchUps
    let recipients = 0
    const members = host.members(this.#log.room)
    host.delivering(outgoing, members.size)
    for (const member of members) {
      if (catchUps.size > 0 && catchUps.has(member)) continue
      if (!isForAll && !message.isFor(member, NOT_PAST, rooms)) continue
      if (member.deliver(outgoing, options, message)) recipients++
    }
    host.delivered(recipients, message)
  }

  /**
   * Messages are lost: calls `fellBehind` of the live members, and makes the others compare their cursors
   * with the store.
   */
  lost(): void {
    this.#catchUps.verify()
    for (const member of this.#parts.host.members(this.#log.room)) {
      if (!this.#catchUps.has(member)) member.fellBehind(this.#log.room)
    }
  }

  /**
   * Delivers no live messages to a member until the returned catch-up has ended, which takes the place of an
   * earlier one.
   */
  withhold(member: HistoryMember, onEnd: OnCatchUpEnd): CatchUp {
    return this.#catchUps.add(member, true, onEnd)
  }

  /** Whether a call of `resumeRoom` is bringing a member up to date. */
  isResuming(member: HistoryMember): boolean {
    return this.#catchUps.of(member)?.isResume === true
  }

  /** No longer drops the messages of the room that wait for a member now. */
  pin(member: HistoryMember): void {
    member.outbox.pin(this.#log)
  }

  /** Replays messages that were dropped for a member before they were written, from this one on. */
  resync(member: HistoryMember, { after }: HistoryMessage): void {
    if (!this.#catchUps.rewind(member, after)) this.#replayTo(member).startLater(after)
  }

  /** Messages are lost for a member: calls its `fellBehind`. Those that come before that are replayed. */
  fellBehind(member: HistoryMember): void {
    member.fellBehind(this.room)
    const { delivered } = this
    if (delivered === NOWHERE || this.#catchUps.has(member)) return
    const catchUp = this.#replayTo(member)
    process.nextTick(() => catchUp.start(delivered))
  }

  #replayTo(member: HistoryMember): CatchUp {
    return this.#catchUps.add(member, false, (end, { hasStarted }) => {
      // A resume that takes its place begins at another message, and does not replay the same.
      const isBehind = end === 'incomplete' || (end === 'replaced' && hasStarted)
      if (isBehind) member.fellBehind(this.room)
      return isBehind
    })
  }

  /**
   * The member has left the room, or its connection is closed.
   * @returns the rooms in which messages were left out for it that it has not received here
   */
  left(member: HistoryMember): Iterable<string> {
    const catchUp = this.#catchUps.of(member)
    this.#catchUps.left(member)
    const relying = this.followers.left(member)
    if (catchUp === undefined) return []
    // What was dropped had been delivered, so that nothing noted where copies of it were left out.
    return catchUp.hasDropped ? sharedRooms(this, this.#parts.host.roomsOf(member)) : relying
  }

  /**
   * The copy of a message in another room was left out for a member, because it receives the one of this
   * room.
   */
  reliedOn(member: HistoryMember, room: string): void {
    if (this.#catchUps.has(member)) this.followers.relying(member)?.add(room)
  }

  /** Returns whether all messages after a mark are in memory. */
  covers(mark: Mark): boolean {
    return this.#log.isCertain && this.recent.covers(mark)
  }

  /** Returns the mark before the latest `count` messages; `undefined` when they are not all in memory. */
  beforeLast(count: number): Mark | undefined {
    return this.#log.isCertain ? this.recent.beforeLast(count) : undefined
  }

  /**
   * Keeps messages that were read for one member ready for others, if they end where those in memory begin.
   * @param after the message before them
   */
  keep(after: Mark, records: readonly StoredRecord[]): void {
    const { floor } = this.recent
    const isFloor = ({ offset, tag }: Mark) => offset === floor.offset && (floor.tag || tag) === tag
    const last = records.findIndex(isFloor)
    if (last < 0 || !this.#log.isCertain || after.epoch !== floor.epoch) return
    const messages: HistoryMessage[] = []
    for (const stored of records.slice(0, last + 1)) {
      const message = this.messageOf(stored, messages.at(-1)?.mark ?? after)
      if (message === undefined) return
      messages.push(message)
    }
    this.recent.prepend(after, messages)
  }

  /** Runs the first step of a replay in a later turn, within the time that replays may take. */
  begin(run: () => void): void {
    this.#parts.loop.begin({ run })
  }

  next(after: Mark): HistoryMessage | undefined {
    return this.recent.next(after)
  }

  read(after: Mark): Promise<ReadResult> {
    return this.#parts.store.read(this.#log.room, { after }, this.#limits)
  }

  /** Reads the latest messages. */
  readLast(count: number): Promise<ReadResult> {
    return this.#parts.store.read(this.#log.room, { last: count }, this.#limits)
  }

  messageOf(stored: StoredRecord, after: Mark): HistoryMessage | undefined {
    return this.#parts.messageOf(this.#log, stored, after)
  }

  isFor(message: HistoryMessage, catchUp: CatchUp): boolean {
    const { member } = catchUp
    const { mark } = message
    const isPast = this.followers.isPast(member, mark)
    return message.isFor(member, (room) => isPast || catchUp.hasJoinedAfter(mark, room), this.#parts.rooms)
  }

  sharesWith(room: string): boolean {
    return this.#partners.size >= MAX_PARTNERS || this.#partners.has(room)
  }

  verify(): void {
    this.#log.verify()
  }

  awaitCursor(catchUp: CatchUp): void {
    this.#catchUps.awaitCursor(catchUp)
    this.#log.verify()
  }

  retryLater(catchUp: CatchUp): void {
    this.#catchUps.awaitRetry(catchUp)
    this.#log.retryLater()
  }

  leftOther(member: HistoryMember, room: string): void {
    this.followers.relying(member)?.delete(room)
  }

  ended(catchUp: CatchUp): void {
    if (this.#catchUps.of(catchUp.member) !== catchUp) return // the member has left, or is resumed again
    this.#catchUps.delete(catchUp)
    this.followers.relying(catchUp.member)?.clear()
  }

  /** The log has delivered messages. */
  moved(hasReached: (mark: Mark) => boolean): void {
    this.#catchUps.moved(hasReached)
  }

  /** The log has delivered all that the store has. */
  caughtUp(): void {
    this.#catchUps.caughtUp()
  }

  /** Reads again what could not be read. */
  retry(): void {
    this.#catchUps.retry()
  }

  /** Ends all catch-ups, and removes the messages. */
  close(): void {
    this.#catchUps.close()
    this.recent.clear(NOWHERE)
  }

  #notePartners({ union }: HistoryMessage): void {
    for (const room of union) {
      if (room !== this.#log.room && this.#partners.size < MAX_PARTNERS) this.#partners.add(room)
    }
  }
}
