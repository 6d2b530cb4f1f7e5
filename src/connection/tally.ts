import { CLOSE_REASONS, type CloseCause, type CloseReason } from './close-cause.ts'

/** The counters of all connections of a hub, since it was created. */
export class Tally {
  closedConnections = 0
  readonly closeReasons = noCloses()
  /** Of `closedConnections`, those whose client sent no close frame. */
  unansweredConnections = 0
  receivedMessages = 0
  receivedBytes = 0
  sentMessages = 0
  sentBytes = 0

  countReceived(bytes: number): void {
    this.receivedMessages++
    this.receivedBytes += bytes
  }

  countSent(bytes: number): void {
    this.sentMessages++
    this.sentBytes += bytes
  }

  countClosed({ reason }: CloseCause, isAnswered: boolean): void {
    this.closedConnections++
    this.closeReasons[reason]++
    if (!isAnswered) this.unansweredConnections++
  }
}

function noCloses(): Record<CloseReason, number> {
  const entries = CLOSE_REASONS.map((reason) => [reason, 0])
  return Object.fromEntries(entries) as Record<CloseReason, number> // `fromEntries` forgets the keys
}
