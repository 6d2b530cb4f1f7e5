import { HubError } from '../base/errors.ts'
import { asRoom } from '../base/room-names.ts'
import type { Link } from '../cluster/link.ts'
import type { History } from '../history/history.ts'
import { Presence } from '../presence/presence.ts'
import type { ResolvedHubOptions } from './hub-options.ts'
import type { LocalNode } from './local-node.ts'

/** The history and the presence of rooms, where the application has them. */
export class RoomServices<Meta extends object> {
  /** `undefined` without the option. */
  readonly history: History | undefined
  /** `undefined` without the option. */
  readonly presence: Presence | undefined

  constructor(
    local: LocalNode<Meta>,
    link: Link,
    { presence, cluster, backplane }: Pick<ResolvedHubOptions, 'presence' | 'cluster' | 'backplane'>,
  ) {
    this.history = local.history
    if (presence !== undefined) {
      this.presence = new Presence(presence, local, link, cluster, backplane !== undefined)
    }
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
    return this.requirePresence()
  }

  /** @throws {HubError} WSHUB_ERR_NO_PRESENCE without the option */
  requirePresence(): Presence {
    if (this.presence !== undefined) return this.presence
    throw new HubError('WSHUB_ERR_NO_PRESENCE', 'the hub was made without the option presence')
  }
}
