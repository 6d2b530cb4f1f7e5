import type { Origin } from './backlog.ts'
import type { DropCount, DropReason } from './drop-count.ts'

/** The part of a stream that an outbox writes to. */
export interface OutboxSocket {
  write(bytes: Buffer): unknown
  readonly writableLength: number
  readonly writableNeedDrain: boolean
  once(event: 'drain', listener: () => void): unknown
}

/** The connection, as its outbox uses it. */
export interface OutboxOwner {
  /** Whether data frames may still be written: false after a close frame. */
  readonly writable: boolean
  /** Closes the client: too much waits for it, or for all clients of the hub, and this one has the most. */
  overflow(of: 'client' | 'hub'): void
  /** Receives what was dropped since the last turn. */
  reportDrops(drops: ReadonlyMap<DropReason, DropCount>): void
  /** Messages that can be read again were dropped: in each log, all from the given one on. */
  resync(firsts: Iterable<Origin>): void
}
