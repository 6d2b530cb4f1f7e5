import type { PacedWork } from '../base/paced-work.ts'
import type { Link } from '../cluster/link.ts'
import {
  type AnsweredRoom,
  answeredBytes,
  type MemberState,
  memberBytes,
  type PresenceMessage,
} from '../cluster/wire/presence-message.ts'
import { contentBytes, type ExchangeLimits } from './exchange-limits.ts'
import type { PresenceRoom } from './presence-room.ts'
import type { RoomTable } from './room-table.ts'

/** The most bytes of one part of an answer. */
const PART_BYTES = 32_768
/** The most members of a room that are named in an answer to a question to all nodes. */
const BRIEF_MEMBERS = 64
/** Bytes of such an answer after which no members of further rooms are named. */
const MAX_ANSWER_BYTES = 262_144

/** A part of an answer. */
export type Answer = Extract<PresenceMessage, { op: 'answer' }>

/** The exchange with the other nodes, as the answers use it. */
export interface AnswersHost {
  /** Returns the latest version that this node has given to a room. */
  clock(): number
  /** Publishes what has changed in a room on this node, or the first part of it. */
  publish(room: PresenceRoom): void
  /** The changes of a room are not withheld any more. */
  changed(room: PresenceRoom): void
}

/** Answers the questions of other nodes about the rooms of this one: long answers bit by bit. */
export class Answers {
  readonly #link: Link
  readonly #rooms: RoomTable
  readonly #limits: ExchangeLimits
  readonly #work: PacedWork
  readonly #host: AnswersHost
  /** Rooms that answers are about, and of how many. */
  readonly #open = new Map<PresenceRoom, number>()

  constructor(link: Link, rooms: RoomTable, limits: ExchangeLimits, work: PacedWork, host: AnswersHost) {
    this.#link = link
    this.#rooms = rooms
    this.#limits = limits
    this.#work = work
    this.#host = host
  }

  /** Returns whether changes of a room wait: they must not overtake an answer that is without them. */
  withholds(room: PresenceRoom): boolean {
    return this.#open.has(room)
  }

  /**
   * Answers a question of a node.
   * @param isFull whether all members are named, however many there are
   */
  give(node: string, id: number, names: readonly string[], isFull: boolean): void {
    this.#work.add(this.#giving(node, id, names, isFull))
  }

  close(): void {
    this.#open.clear()
  }

  *#giving(node: string, id: number, names: readonly string[], isFull: boolean): Generator<number, void> {
    const rooms = names.flatMap((name) => this.#rooms.get(name) ?? [])
    for (const room of rooms) {
      while (room.isUnsent && !this.withholds(room)) this.#host.publish(room)
    }
    const clock = this.#host.clock()
    const answered = rooms.filter(({ ownCount }) => ownCount > 0)
    for (const room of answered) this.#open.set(room, (this.#open.get(room) ?? 0) + 1)
    const parts = this.#parts(answered, isFull)
    for (let part = 0, next = parts.next(); next.done !== true; part++) {
      const { value } = next
      next = parts.next()
      const isLast = next.done === true
      this.#link.tell({ node }, { op: 'answer', id, clock, part, isLast, rooms: value })
      yield value.reduce((sum, { members }) => sum + members.length + 1, 1)
    }
    for (const room of answered) this.#close(room)
  }

  #close(room: PresenceRoom): void {
    const others = (this.#open.get(room) ?? 0) - 1
    if (others > 0) {
      this.#open.set(room, others)
      return
    }
    this.#open.delete(room)
    if (room.isUnsent) this.#host.changed(room)
  }

  /** Yields the rooms of each part of an answer, at least one. */
  *#parts(rooms: readonly PresenceRoom[], isFull: boolean): Generator<AnsweredRoom[], void> {
    const partBytes = contentBytes(this.#limits, PART_BYTES)
    let answered: AnsweredRoom[] = []
    let bytes = 0
    for (const [room, size] of answeredRooms(rooms, isFull, partBytes)) {
      if (bytes > 0 && bytes + size > partBytes) {
        yield answered
        answered = []
        bytes = 0
      }
      answered.push(room)
      bytes += size
    }
    yield answered
  }
}

/** Yields what is said of each room, in pieces of a bounded size, with the size of each. */
function* answeredRooms(
  rooms: readonly PresenceRoom[],
  isFull: boolean,
  mostBytes: number,
): Generator<readonly [AnsweredRoom, number], void> {
  let total = 0
  for (const room of rooms) {
    const headBytes = answeredBytes(room.name)
    const isBrief = !isFull && (room.namedCount > BRIEF_MEMBERS || total > MAX_ANSWER_BYTES)
    const { counts } = room
    const head = { room: room.name, ...counts, isBrief }
    let users = 0
    let piece: MemberState[] = []
    let bytes = headBytes
    let isFirst = true
    // In a later turn some may have left, and others come: the changes that are withheld tell that.
    for (const named of isBrief ? [] : room.named()) {
      const member = room.stateOf(named)
      if (member === undefined) continue
      users++
      const size = memberBytes(member)
      if (piece.length > 0 && bytes + size > mostBytes) {
        yield [{ ...head, isFirst, isLast: false, members: piece }, bytes]
        total += bytes
        piece = []
        bytes = headBytes
        isFirst = false
      }
      piece.push(member)
      bytes += size
    }
    const isNamed = counts.isListed && !isBrief
    const last = { ...head, users: isNamed ? users : counts.users }
    yield [{ ...last, isFirst, isLast: true, members: piece }, bytes]
    total += bytes
  }
}
