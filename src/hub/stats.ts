import type { BackplaneState } from '../backplane/backplane.ts'
import type { HubErrorCode } from '../base/errors.ts'
import type { CloseReason } from '../connection/close-cause.ts'
import type { Tally } from '../connection/tally.ts'
import type { DropCount, DropReason } from '../delivery/drop-count.ts'
import type { HistoryStats } from '../history/history-stats.ts'
import type { PresenceStats } from '../presence/presence-stats.ts'

/** The stage of a hub's life. */
export type HubState = 'open' | 'closing' | 'closed'

/** The counters of a hub since it was created, and its current figures. */
export interface HubStats {
  /** Connections that are open now. */
  readonly connections: number
  /** Rooms that have a member now. */
  readonly rooms: number
  /** Upgrades that wait for the application's answer now. */
  readonly pendingUpgrades: number
  /**
   * Bytes that wait in memory now, of all connections together: for slow clients, or for handlers that take
   * messages slowly.
   */
  readonly bufferedBytes: number
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
  { unansweredConnections: _, closeReasons, ...connections }: Tally,
  { acceptedUpgrades, refusedUpgrades }: UpgradeTally,
  now: Pick<
    HubStats,
    'connections' | 'rooms' | 'pendingUpgrades' | 'bufferedBytes' | 'dropped' | 'history' | 'presence'
  >,
): HubStats {
  return {
    ...now,
    ...connections,
    acceptedUpgrades,
    refusedUpgrades: { ...refusedUpgrades },
    closeReasons: { ...closeReasons },
    lostConnections: closeReasons.lost + closeReasons.timeout,
  }
}
