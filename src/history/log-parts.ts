import type { GuardedStore } from './guarded-store.ts'
import type { HeldBytes } from './held-records.ts'
import type { HistoryHost } from './history-member.ts'
import type { HistoryMessage, MemberRooms, MessageLog } from './history-message.ts'
import type { HistoryStats } from './history-stats.ts'
import type { Mark, StoredRecord } from './history-store.ts'
import type { MemberCatchUps } from './member-catch-ups.ts'
import type { MessageCache } from './message-cache.ts'
import type { ReplayLoop } from './replay-loop.ts'

/** The objects that the logs of all rooms of a hub share. */
export interface LogParts {
  readonly host: HistoryHost
  readonly store: GuardedStore
  readonly cache: MessageCache
  readonly loop: ReplayLoop
  readonly held: HeldBytes
  readonly catchUps: MemberCatchUps
  readonly rooms: MemberRooms
  readonly stats: HistoryStats
  /** Returns a message to deliver; `undefined`, after a report, for a record that cannot be read. */
  messageOf(log: MessageLog, stored: StoredRecord, after: Mark): HistoryMessage | undefined
  /** The store failed. */
  failed(error: unknown): void
}
