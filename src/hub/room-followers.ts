import type { Link } from '../cluster/link.ts'
import type { HistoryMember } from '../history/history-member.ts'
import type { PresenceSubject } from '../presence/presence.ts'
import type { RoomListener } from './room-index.ts'
import type { RoomServices } from './room-services.ts'

/** The cluster, the histories and the presence: all that has to know which rooms have members here. */
export class RoomFollowers<Meta extends object> implements RoomListener<HistoryMember & PresenceSubject> {
  readonly #link: Link
  readonly #services: RoomServices<Meta>

  constructor(link: Link, services: RoomServices<Meta>) {
    this.#link = link
    this.#services = services
  }

  /** All followers, or the cluster itself when it is the only one. */
  get listener(): RoomListener<HistoryMember & PresenceSubject> {
    const { history, presence } = this.#services
    return history === undefined && presence === undefined ? this.#link : this
  }

  occupied(room: string): void {
    this.#link.occupied(room)
    this.#services.history?.occupied(room)
    this.#services.presence?.occupied(room)
  }

  vacated(room: string): void {
    // Presence follows a room for longer, and ends the subscription then.
    if (this.#services.presence?.isFollowed(room) !== true) this.#link.vacated(room)
    this.#services.history?.vacated(room)
  }

  joined(member: HistoryMember & PresenceSubject, room: string): void {
    this.#services.history?.joined(member, room)
    this.#services.presence?.joined(member, room)
  }

  left(member: HistoryMember, room: string): void {
    this.#services.history?.left(member, room)
    this.#services.presence?.left(member, room)
  }

  check(rooms: readonly string[]): void {
    this.#services.history?.check(rooms)
    this.#services.presence?.check(rooms)
  }
}
