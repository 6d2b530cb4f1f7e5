import type { Link } from '../cluster/link.ts'
import type { History } from '../history/history.ts'
import type { HistoryMember } from '../history/history-member.ts'
import type { RoomListener } from './room-index.ts'

/** Tells both the cluster and the histories which rooms have members here. */
export class RoomFollowers implements RoomListener<HistoryMember> {
  readonly #link: Link
  readonly #history: History

  constructor(link: Link, history: History) {
    this.#link = link
    this.#history = history
  }

  occupied(room: string): void {
    this.#link.occupied(room)
    this.#history.occupied(room)
  }

  vacated(room: string): void {
    this.#link.vacated(room)
    this.#history.vacated(room)
  }

  left(member: HistoryMember, room: string): void {
    this.#history.left(member, room)
  }

  check(rooms: readonly string[]): void {
    this.#history.check(rooms)
  }
}
