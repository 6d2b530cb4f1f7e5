import type { Origin } from '../delivery/backlog.ts'
import type { OutgoingMessage } from '../delivery/outgoing-message.ts'
import type { SendOptions } from '../protocol/message.ts'
import type { HistoryMember } from './history-member.ts'
import type { Mark } from './history-store.ts'
import type { HistoryRecord } from './record.ts'

/** Approximate bytes of memory that a message takes in addition to its frame. */
const OVERHEAD_BYTES = 512

/** The log of a room on this node, as its messages use it. */
export interface MessageLog {
  readonly room: string
  /** Whether messages may have gone to this room and to another one at once. */
  sharesWith(room: string): boolean
}

/** The rooms of members, as messages to several rooms use them. */
export interface MemberRooms {
  inRoom(member: HistoryMember, room: string): boolean
  /**
   * Whether a member follows a room by position, so that it receives the copy of that room.
   * @param isPast whether the message was there before the member joined, so that only a replay brings it
   */
  isFollowing(member: HistoryMember, room: string, isPast: boolean): boolean
  /** The copy of a message in one room was left out, because the member receives that of another room. */
  leftOut(member: HistoryMember, room: string, inFavourOf: string): void
}

/** A message of a room with a history: framed and stamped once, for any number of receivers. */
export class HistoryMessage implements Origin {
  readonly log: MessageLog
  readonly mark: Mark
  /** The message before it. */
  readonly after: Mark
  readonly outgoing: OutgoingMessage
  readonly options: SendOptions | undefined
  /** Connections that do not receive it, and rooms whose members do not. */
  readonly exceptIds: readonly string[]
  readonly exceptRooms: readonly string[]
  /** The rooms with a history that it was sent to, sorted; empty if there is only this one. */
  readonly union: readonly string[]

  constructor(
    log: MessageLog,
    { epoch, offset, tag }: Mark,
    after: Mark,
    { key, urgent, union, exceptIds, exceptRooms }: HistoryRecord,
    outgoing: OutgoingMessage,
  ) {
    this.log = log
    this.mark = { epoch, offset, tag }
    this.after = after
    this.outgoing = outgoing
    this.options = key === undefined && urgent === undefined ? undefined : { key, urgent }
    this.exceptIds = exceptIds
    this.exceptRooms = exceptRooms
    this.union = union
  }

  /** Bytes of its uncompressed frame. */
  get frameBytes(): number {
    return this.outgoing.frame(0).length
  }

  /** Approximate bytes of memory that it takes. */
  get bytes(): number {
    return this.frameBytes + OVERHEAD_BYTES
  }

  /** Whether every member of the room receives it. */
  get isForAll(): boolean {
    return this.exceptIds.length === 0 && this.exceptRooms.length === 0 && this.union.length === 0
  }

  /** @param isPast says of another room whether the member came to it later, and so gets no copy there */
  isFor(member: HistoryMember, isPast: (room: string) => boolean, rooms: MemberRooms): boolean {
    if (this.exceptIds.includes(member.id)) return false
    if (this.exceptRooms.some((room) => rooms.inRoom(member, room))) return false
    const counts = this.#roomThatCounts(member, isPast, rooms)
    if (counts === this.log.room) return true
    rooms.leftOut(member, this.log.room, counts)
    return false
  }

  /**
   * Returns the room whose copy the member receives: the first one that it follows, because the client gives
   * its position there when it comes back; without such a room, the first that it is in.
   */
  #roomThatCounts(member: HistoryMember, isPast: (room: string) => boolean, rooms: MemberRooms): string {
    const { room } = this.log
    const isLate = (other: string) => other !== room && isPast(other)
    const joined = this.union.filter((other) => other === room || rooms.inRoom(member, other))
    const followed = joined.find((other) => rooms.isFollowing(member, other, isLate(other)))
    return followed ?? joined.find((other) => !isLate(other)) ?? room
  }
}

/** Returns those of some rooms to which messages may have gone together with the room of a log. */
export function sharedRooms(log: MessageLog, rooms: Iterable<string>): string[] {
  return [...rooms].filter((room) => log.sharesWith(room))
}
