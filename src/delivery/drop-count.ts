/** Every reason for which messages are dropped. */
export const DROP_REASONS = [
  'dropNewest',
  'dropOldest',
  'conflate',
  'resync',
  'volatile',
  'overflow',
  'closed',
] as const

/**
 * The reason why a message was dropped: a slow-consumer policy, its option `volatile`, or the end of its
 * connection.
 */
export type DropReason = (typeof DROP_REASONS)[number]

/** The amount of dropped messages. */
export interface DropCount {
  messages: number
  /** Bytes of their frames. */
  bytes: number
}

/** Messages of one connection that were dropped for one reason; see `onDrop`. */
export interface Dropped extends Readonly<DropCount> {
  readonly reason: DropReason
}

/** Returns a new count of nothing. */
export function noDrops(): DropCount {
  return { messages: 0, bytes: 0 }
}

/** Adds what was dropped to a count. */
export function addDrops(count: DropCount, { messages, bytes }: Readonly<DropCount>): void {
  count.messages += messages
  count.bytes += bytes
}

/** Adds what was dropped to the counts of one connection. */
export function countDrops(
  drops: Map<DropReason, DropCount>,
  reason: DropReason,
  dropped: Readonly<DropCount>,
): void {
  const count = drops.get(reason) ?? noDrops()
  addDrops(count, dropped)
  drops.set(reason, count)
}
