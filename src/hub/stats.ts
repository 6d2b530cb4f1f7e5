import type { BackplaneState } from '../backplane/backplane.ts'
import type { HubErrorCode } from '../base/errors.ts'
import type { CloseCount, CloseReason } from '../connection/close-cause.ts'
import type { ConnectionState } from '../connection/connection.ts'
import type { Tally } from '../connection/tally.ts'
import type { DropCount, DropReason } from '../delivery/drop-count.ts'
import type { HistoryStats } from '../history/history-stats.ts'
import type { PresenceStats } from '../presence/presence-stats.ts'
import type { Distributions } from './distributions.ts'

/** The stage of a hub's life. */
export type HubState = 'open' | 'closing' | 'closed'

/** The current figures of the connections of a hub, and what was measured since it was created. */
export interface Census {
  /** Connections that are there now. */
  readonly connections: number
  /** The same by state. */
  readonly connectionStates: Readonly<Record<Exclude<ConnectionState, 'closed'>, number>>
  /** Connections for which more than half of `maxBufferedBytes` waits now. */
  readonly slowConnections: number
  /**
   * Bytes that wait in memory now, of all connections together: for slow clients, or for handlers that take
   * messages slowly.
   */
  readonly bufferedBytes: number
  /** Bytes that wait for slow clients now, each message once: what `maxTotalBufferedBytes` limits. */
  readonly heldBytes: number
  /** Durations in seconds and numbers of recipients, counted by size. */
  readonly distributions: Distributions
}

/** The counters of a hub since it was created, and its current figures. */
export interface HubStats extends Census {
  /** Rooms that have a member now. */
  readonly rooms: number
  /** Upgrades that wait for the application's answer now. */
  readonly pendingUpgrades: number
  /** Upgrades answered with 101. */
  readonly acceptedUpgrades: number
  /** Upgrades refused by the hub, by code. */
  readonly refusedUpgrades: Readonly<Partial<Record<HubErrorCode, number>>>
  /** Connections that are closed. */
  readonly closedConnections: number
  /**
   * Of these, those that were lost: without a close frame of either side (`lost`), or without an answer to a
   * ping (`timeout`).
   */
  readonly lostConnections: number
  /** Connections that are closed, by the reason of their cause. */
  readonly closeReasons: Readonly<Record<CloseReason, number>>
  /** The same by who ended them as well, without pairs that have not occurred. */
  readonly closeCauses: readonly CloseCount[]
  /** Messages that were received, and their bytes after inflation. */
  readonly receivedMessages: number
  readonly receivedBytes: number
  /** Messages accepted for sending, once for each connection, and the bytes of their frames. */
  readonly sentMessages: number
  readonly sentBytes: number
  /** Messages dropped instead of sent, by reason. */
  readonly dropped: Readonly<Record<DropReason, Readonly<DropCount>>>
  /** The histories of rooms; `undefined` without the option. */
  readonly history: HistoryStats | undefined
  /** The presence of rooms; `undefined` without the option. */
  readonly presence: PresenceStats | undefined
}

/** The summary of a hub in `toJSON` and `util.inspect`. */
export interface HubSummary {
  /** The id of its node in the cluster; the ids of its connections begin with it. */
  readonly node: string
  readonly state: HubState
  readonly connections: number
  /** Rooms that have a member in this process. */
  readonly rooms: number
  readonly cluster: BackplaneState
}

/** The counters of all upgrades of a hub, since it was made. */
export class UpgradeTally {
  acceptedUpgrades = 0
  readonly refusedUpgrades: Partial<Record<HubErrorCode, number>> = {}

  countAccepted(): void {
    this.acceptedUpgrades++
  }

  countRefused(code: HubErrorCode): void {
    this.refusedUpgrades[code] = (this.refusedUpgrades[code] ?? 0) + 1
  }
}

/** Returns the figures of a hub: its counters and its current values. */
export function statsOf(
  tally: Tally,
  { acceptedUpgrades, refusedUpgrades }: UpgradeTally,
  now: Pick<HubStats, keyof Census | 'rooms' | 'pendingUpgrades' | 'dropped' | 'history' | 'presence'>,
): HubStats {
  const { unansweredConnections: _, closeReasons, ...connections } = tally
  return {
    ...now,
    ...connections,
    acceptedUpgrades,
    refusedUpgrades: { ...refusedUpgrades },
    closeReasons: { ...closeReasons },
    closeCauses: tally.closeCauses,
    lostConnections: closeReasons.lost + closeReasons.timeout,
  }
}
