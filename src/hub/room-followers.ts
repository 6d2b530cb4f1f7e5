import type { Link } from '../cluster/link.ts'
import type { History } from '../history/history.ts'
import type { HistoryMember } from '../history/history-member.ts'
import type { Presence, PresenceSubject } from '../presence/presence.ts'
import type { RoomListener } from './room-index.ts'

/** Tells the cluster, the histories and the presence which rooms have members here. */
export class RoomFollowers implements RoomListener<HistoryMember & PresenceSubject> {
  readonly #link: Link
  readonly #history: History | undefined
  readonly #presence: Presence | undefined

  constructor(link: Link, history: History | undefined, presence: Presence | undefined) {
    this.#link = link
    this.#history = history
    this.#presence = presence
  }

  occupied(room: string): void {
    this.#link.occupied(room)
    this.#history?.occupied(room)
    this.#presence?.occupied(room)
  }

  vacated(room: string): void {
    // Presence follows a room for longer, and ends the subscription then.
    if (this.#presence?.isFollowed(room) !== true) this.#link.vacated(room)
    this.#history?.vacated(room)
  }

  joined(member: PresenceSubject, room: string): void {
    this.#presence?.joined(member, room)
  }

  left(member: HistoryMember, room: string): void {
    this.#history?.left(member, room)
    this.#presence?.left(member, room)
  }

  check(rooms: readonly string[]): void {
    this.#history?.check(rooms)
    this.#presence?.check(rooms)
  }
}
