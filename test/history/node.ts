import type { HistoryStore, RoomHistoryOptions } from 'wshub'
import type { Origin } from '../../src/delivery/backlog.ts'
import type { OutgoingMessage } from '../../src/delivery/outgoing-message.ts'
import { History } from '../../src/history/history.ts'
import type { HistoryHost, HistoryMember } from '../../src/history/history-member.ts'
import { resolveHistoryOptions } from '../../src/history/history-options.ts'
import { payloadOf } from '../../src/protocol/message-frame.ts'

/** A connection without a socket: it keeps the texts that it received, and `BEHIND` for each loss. */
export class Member implements HistoryMember {
  readonly id: string
  readonly received: string[] = []
  /** Origins of the texts. */
  readonly origins: Origin[] = []
  readonly isOpen = true
  readonly outbox = this
  isStalled = false
  #waiting = new Set<() => void>()

  constructor(id: string) {
    this.id = id
  }

  deliver(message: OutgoingMessage, _options: unknown, origin?: Origin): boolean {
    this.received.push(payloadOf(message.frame(0)).toString())
    if (origin !== undefined) this.origins.push(origin)
    return true
  }

  hasRoomFor(): boolean {
    return !this.isStalled
  }

  pin(): void {} // nothing waits, so nothing is dropped

  /** How many replays wait until it reads on. */
  get waiting(): number {
    return this.#waiting.size
  }

  awaitRoom(then: () => void): void {
    this.#waiting.add(then)
  }

  stopAwaitingRoom(then: () => void): void {
    this.#waiting.delete(then)
  }

  /** In a turn of its own, as a connection does. */
  fellBehind(): void {
    process.nextTick(() => this.received.push(BEHIND))
  }

  /** Reads on. */
  drain(): void {
    this.isStalled = false
    const waiting = this.#waiting
    this.#waiting = new Set()
    for (const then of waiting) then()
  }
}

export const BEHIND = 'behind'

/** The rooms that begin with it have no history. */
export const PLAIN = 'plain'

export interface NodeOptions {
  limits?: RoomHistoryOptions
  maxCachedBytes?: number | undefined
  stamp?: (data: string | Buffer, place: { position: string }) => string
}

/** A node of a cluster with nothing but its histories. */
export class Node implements HistoryHost {
  readonly history: History
  readonly errors: Error[] = []
  readonly #rooms = new Map<string, Set<Member>>()

  constructor(store: HistoryStore, { limits = {}, maxCachedBytes = 16_777_216, stamp }: NodeOptions = {}) {
    const rooms = (room: string) => (room.startsWith(PLAIN) ? undefined : limits)
    const options = resolveHistoryOptions({ store, rooms, maxCachedBytes, stamp }, false)
    if (options === undefined) throw new Error('there are options')
    this.history = new History(options, false, 1_000, this)
  }

  join(member: Member, room = 'room'): void {
    const members = this.#rooms.get(room)
    if (members !== undefined && members.size > 0) members.add(member)
    else {
      this.#rooms.set(room, new Set([member]))
      this.history.occupied(room)
    }
    this.history.joined(member, room)
  }

  leave(member: Member, room = 'room'): void {
    const members = this.#rooms.get(room)
    if (members?.delete(member) !== true) return
    if (members.size === 0) {
      this.#rooms.delete(room)
      this.history.vacated(room)
    }
    this.history.left(member, room)
  }

  publish(data: string, room = 'room'): number {
    return this.history.broadcast([room], { data, key: undefined, exceptIds: [], exceptRooms: [] })
  }

  members(room: string): ReadonlySet<Member> {
    return this.#rooms.get(room) ?? new Set()
  }

  inRoom(member: HistoryMember, room: string): boolean {
    const members: ReadonlySet<HistoryMember> = this.members(room)
    return members.has(member)
  }

  roomsOf(member: Member): string[] {
    return [...this.#rooms].flatMap(([room, members]) => (members.has(member) ? [room] : []))
  }

  delivering(): void {}

  delivered(): void {}

  report(error: Error): void {
    this.errors.push(error)
  }
}
