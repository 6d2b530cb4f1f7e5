import type { HubError } from '../base/errors.ts'
import type { PendingUpgrade } from './pending-upgrade.ts'
import type { ServerHub } from './upgrade-registry.ts'

/** The way in which the upgrades of a server arrive, as sockets or as streams. */
export interface UpgradeCarrier {
  /** Takes the upgrades of the server from now on. */
  listen(): void
  unlisten(): void
}

/** The hubs of a server, as its carriers use them. */
export interface UpgradeTarget {
  /** The hub whose limits hold; `undefined` when there is none left. */
  readonly first: ServerHub | undefined
  /** Whether all hubs are closing that have connections of the server. */
  readonly isLeaving: boolean
  /**
   * Leads an upgrade into the request listeners.
   * @param flaw the reason why it must not get there
   */
  lead(pending: PendingUpgrade, flaw?: HubError): void
}
