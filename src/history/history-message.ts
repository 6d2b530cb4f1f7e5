import type { Origin } from '../delivery/backlog.ts'
import type { OutgoingMessage } from '../delivery/outgoing-message.ts'
import type { SendOptions } from '../protocol/message.ts'
import type { HistoryHost, HistoryMember } from './history-member.ts'
import type { Mark } from './history-store.ts'
import type { HistoryRecord } from './record.ts'

/** Bytes that a message takes in memory beside its frame, about. */
const OVERHEAD_BYTES = 512

/** The log of a room on this node, as its messages know it. */
export interface MessageLog {
  readonly room: string
}

/** A message of a room with a history: framed and stamped once, for any number of receivers. */
export class HistoryMessage implements Origin {
  readonly log: MessageLog
  readonly mark: Mark
  /** The message before it. */
  readonly after: Mark
  readonly outgoing: OutgoingMessage
  readonly options: SendOptions | undefined
  readonly #exceptIds: readonly string[]
  /** Rooms whose members do not receive it: also those of its union that stand before this room. */
  readonly #exceptRooms: readonly string[]

  constructor(
    log: MessageLog,
    { epoch, offset, tag }: Mark,
    after: Mark,
    { key, union, exceptIds, exceptRooms }: HistoryRecord,
    outgoing: OutgoingMessage,
  ) {
    this.log = log
    this.mark = { epoch, offset, tag }
    this.after = after
    this.outgoing = outgoing
    this.options = key === undefined ? undefined : { key }
    this.#exceptIds = exceptIds
    this.#exceptRooms = union.length === 0 ? exceptRooms : [...exceptRooms, ...before(log.room, union)]
  }

  /** Bytes of its uncompressed frame. */
  get frameBytes(): number {
    return this.outgoing.frame(0).length
  }

  /** Bytes that it takes in memory, about. */
  get bytes(): number {
    return this.frameBytes + OVERHEAD_BYTES
  }

  /** Whether every member of the room receives it. */
  get isForAll(): boolean {
    return this.#exceptIds.length === 0 && this.#exceptRooms.length === 0
  }

  isFor(member: HistoryMember, host: Pick<HistoryHost, 'inRoom'>): boolean {
    return (
      !this.#exceptIds.includes(member.id) && !this.#exceptRooms.some((room) => host.inRoom(member, room))
    )
  }
}

/** Returns the rooms of a union, which is sorted, that stand before one of them. */
function before(room: string, union: readonly string[]): readonly string[] {
  return union.slice(0, Math.max(0, union.indexOf(room)))
}
