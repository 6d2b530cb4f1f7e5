import type { AnsweredRoom, MemberState, RoomSnapshot } from '../cluster/wire/presence-message.ts'
import type { Answer } from './answers.ts'

/** The answers of a node so far. */
interface Progress {
  /** The number of parts that have arrived. */
  parts: number
  /** The rooms that were named. */
  readonly named: Set<string>
  /** The members of the room whose parts are arriving. */
  members: MemberState[]
}

/** Receives what the nodes answer. */
export interface RoundHost {
  /** A node has sent its members of a room. @param clock its latest version of any room at that time */
  snapshot(node: string, room: string, snapshot: RoomSnapshot, clock: number): void
  /** A node has too many members in a room to name them. */
  announced(node: string, room: string, version: number): void
}

/** A question about rooms, to one node or to all of them, and the answers. */
export class Round {
  readonly id: number
  readonly rooms: readonly string[]
  /** The node that is asked; `undefined` = all. */
  readonly node: string | undefined
  /** The nodes that were known when the question was sent, and those that were asked later. */
  readonly asked = new Set<string>()
  readonly #host: RoundHost
  readonly #answering = new Map<string, Progress>()
  readonly #answered = new Set<string>()

  constructor(id: number, rooms: readonly string[], node: string | undefined, host: RoundHost) {
    this.id = id
    this.rooms = rooms
    this.node = node
    this.#host = host
  }

  /** Returns whether a node has answered in full. */
  hasAnswered(node: string): boolean {
    return this.#answered.has(node)
  }

  /** Has a node asked again unless it has answered in full; forgets the parts of its answer so far. */
  lost(node: string): void {
    this.asked.delete(node)
    this.#answering.delete(node)
  }

  /** A part of an answer has arrived. @returns whether it is the last one of a whole answer */
  take(node: string, { part, isLast, clock, rooms }: Answer): boolean {
    let progress = this.#answering.get(node)
    if (progress === undefined) {
      progress = { parts: 0, named: new Set(), members: [] }
      this.#answering.set(node, progress)
    }
    for (const answered of rooms) this.#takeRoom(node, progress, answered, clock)
    progress.parts++
    if (!isLast) return false
    this.#answering.delete(node)
    // If a part was lost, it may name the rooms that the others do not.
    if (progress.parts !== part + 1) return false
    const nobody = { version: clock, users: 0, anonymous: 0, isListed: true, members: [] }
    for (const room of this.rooms) {
      if (!progress.named.has(room)) this.#host.snapshot(node, room, nobody, clock)
    }
    this.#answered.add(node)
    return true
  }

  #takeRoom(node: string, progress: Progress, answered: AnsweredRoom, clock: number): void {
    const { room, version, users, anonymous, isListed, members, isFirst, isLast, isBrief } = answered
    progress.named.add(room)
    if (isBrief) {
      this.#host.announced(node, room, version)
      return
    }
    if (isFirst) progress.members = []
    for (const member of members) progress.members.push(member)
    if (!isLast) return
    const all = progress.members
    progress.members = []
    const isWhole = !isListed || all.length === users
    if (!isWhole) this.#host.announced(node, room, version)
    else this.#host.snapshot(node, room, { version, users, anonymous, isListed, members: all }, clock)
  }
}
