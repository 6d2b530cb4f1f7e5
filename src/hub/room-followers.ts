import { HubError } from '../base/errors.ts'
import { asRoom } from '../base/room-names.ts'
import type { Link } from '../cluster/link.ts'
import type { History } from '../history/history.ts'
import type { HistoryMember } from '../history/history-member.ts'
import { Presence, type PresenceSubject } from '../presence/presence.ts'
import type { ResolvedHubOptions } from './hub-options.ts'
import type { LocalNode } from './local-node.ts'
import type { RoomListener } from './room-index.ts'

/** The cluster, the histories and the presence: all that has to know which rooms have members here. */
export class RoomFollowers<Meta extends object> implements RoomListener<HistoryMember & PresenceSubject> {
  /** `undefined` without the option. */
  readonly history: History | undefined
  /** `undefined` without the option. */
  readonly presence: Presence | undefined
  readonly #link: Link

  constructor(
    local: LocalNode<Meta>,
    link: Link,
    { presence, cluster, backplane }: Pick<ResolvedHubOptions, 'presence' | 'cluster' | 'backplane'>,
  ) {
    this.history = local.history
    this.#link = link
    if (presence !== undefined) {
      this.presence = new Presence(presence, local, link, cluster, backplane !== undefined)
    }
  }

  /** All followers, or the cluster itself when it is the only one. */
  get listener(): RoomListener<HistoryMember & PresenceSubject> {
    return this.history === undefined && this.presence === undefined ? this.#link : this
  }

  /** @throws {HubError} WSHUB_ERR_INVALID_ROOM, or WSHUB_ERR_NO_HISTORY without the option */
  historyOf(room: string): History {
    asRoom(room)
    if (this.history !== undefined) return this.history
    throw new HubError('WSHUB_ERR_NO_HISTORY', 'the hub was made without the option history')
  }

  /** @throws {HubError} WSHUB_ERR_INVALID_ROOM, or WSHUB_ERR_NO_PRESENCE without the option */
  presenceOf(room: string): Presence {
    asRoom(room)
    return this.somePresence()
  }

  /** @throws {HubError} WSHUB_ERR_NO_PRESENCE without the option */
  somePresence(): Presence {
    if (this.presence !== undefined) return this.presence
    throw new HubError('WSHUB_ERR_NO_PRESENCE', 'the hub was made without the option presence')
  }

  occupied(room: string): void {
    this.#link.occupied(room)
    this.history?.occupied(room)
    this.presence?.occupied(room)
  }

  vacated(room: string): void {
    // Presence follows a room for longer, and ends the subscription then.
    if (this.presence?.isFollowed(room) !== true) this.#link.vacated(room)
    this.history?.vacated(room)
  }

  joined(member: PresenceSubject, room: string): void {
    this.presence?.joined(member, room)
  }

  left(member: HistoryMember, room: string): void {
    this.history?.left(member, room)
    this.presence?.left(member, room)
  }

  check(rooms: readonly string[]): void {
    this.history?.check(rooms)
    this.presence?.check(rooms)
  }
}
