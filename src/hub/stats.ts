import type { HubErrorCode } from '../base/errors.ts'
import { CLOSE_REASONS, type CloseCause, type CloseReason } from '../connection/close-cause.ts'
import type { DropCount, DropReason } from '../delivery/drop-count.ts'

/** The figures of a hub since it was made, and as of now. */
export interface HubStats {
  /** As of now. */
  readonly connections: number
  /** Rooms that have a member now. */
  readonly rooms: number
  /** Upgrades that wait for the application's answer now. */
  readonly pendingUpgrades: number
  /** Bytes that wait in memory now, for slow clients or for slow takers of their messages: of all connections together. */
  readonly bufferedBytes: number
  /** Upgrades answered with 101. */
  readonly acceptedUpgrades: number
  /** Upgrades refused by the hub, by code. */
  readonly refusedUpgrades: Readonly<Partial<Record<HubErrorCode, number>>>
  /** Connections that are closed. */
  readonly closedConnections: number
  /** Of these, those that were lost: without a close frame of either side (`lost`), or without an answer to a ping (`timeout`). */
  readonly lostConnections: number
  /** Connections that are closed, by the reason of their cause. */
  readonly closeReasons: Readonly<Record<CloseReason, number>>
  /** Messages that came, and their bytes after inflation. */
  readonly receivedMessages: number
  readonly receivedBytes: number
  /** Messages accepted for sending, once for each connection, and the bytes of their frames. */
  readonly sentMessages: number
  readonly sentBytes: number
  /** What was dropped instead of sent, by reason. */
  readonly dropped: Readonly<Record<DropReason, Readonly<DropCount>>>
}

/** What a hub counts as it goes. */
export class Tally {
  acceptedUpgrades = 0
  readonly refusedUpgrades: Partial<Record<HubErrorCode, number>> = {}
  closedConnections = 0
  readonly closeReasons = noCloses()
  /** Of `closedConnections`, those whose client sent no close frame. */
  unansweredConnections = 0
  receivedMessages = 0
  receivedBytes = 0
  sentMessages = 0
  sentBytes = 0

  close({ reason }: CloseCause, isAnswered: boolean): void {
    this.closedConnections++
    this.closeReasons[reason]++
    if (!isAnswered) this.unansweredConnections++
  }

  refuse(code: HubErrorCode): void {
    this.refusedUpgrades[code] = (this.refusedUpgrades[code] ?? 0) + 1
  }
}

function noCloses(): Record<CloseReason, number> {
  return Object.fromEntries(CLOSE_REASONS.map((reason) => [reason, 0])) as Record<CloseReason, number> // each has its entry
}
