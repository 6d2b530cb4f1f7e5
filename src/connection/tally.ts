import type { Recorder } from '../base/meters.ts'
import { CLOSE_REASONS, type CloseCause, type CloseCount, type CloseReason } from './close-cause.ts'
import type { ConnectionHistogram } from './connection-bounds.ts'

/** The counters of all connections of a hub, since it was created. */
export class Tally {
  closedConnections = 0
  readonly closeReasons = noCloses()
  /** The same by party as well, without pairs that have not occurred. */
  readonly #closeCauses: { -readonly [Key in keyof CloseCount]: CloseCount[Key] }[] = []
  /** Of `closedConnections`, those whose client sent no close frame. */
  unansweredConnections = 0
  receivedMessages = 0
  receivedBytes = 0
  sentMessages = 0
  sentBytes = 0
  readonly #meters: Recorder<ConnectionHistogram>

  constructor(meters: Recorder<ConnectionHistogram>) {
    this.#meters = meters
  }

  get closeCauses(): CloseCount[] {
    return structuredClone(this.#closeCauses)
  }

  countReceived(bytes: number): void {
    this.receivedMessages++
    this.receivedBytes += bytes
  }

  countSent(bytes: number): void {
    this.sentMessages++
    this.sentBytes += bytes
  }

  /** @param roundTripMs time from a ping to the pong */
  countPong(roundTripMs: number): void {
    this.#meters.record('pingDuration', roundTripMs / 1_000)
  }

  countClosed({ by, reason, openMs }: CloseCause, isAnswered: boolean): void {
    this.closedConnections++
    this.closeReasons[reason]++
    if (!isAnswered) this.unansweredConnections++
    this.#meters.record('connectionDuration', openMs / 1_000)
    const count = this.#closeCauses.find((cause) => cause.by === by && cause.reason === reason)
    if (count === undefined) this.#closeCauses.push({ by, reason, connections: 1 })
    else count.connections++
  }
}

function noCloses(): Record<CloseReason, number> {
  const entries = CLOSE_REASONS.map((reason) => [reason, 0])
  return Object.fromEntries(entries) as Record<CloseReason, number> // `fromEntries` forgets the keys
}
