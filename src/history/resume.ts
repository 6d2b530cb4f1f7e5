import type { CatchUp, CatchUpEnd } from './catch-up.ts'
import type { HistoryMember } from './history-member.ts'
import type { HistoryLimits, Mark, StoredRecord } from './history-store.ts'
import { positionOf, readPosition } from './position.ts'
import { hasSince, type ReplayFrom } from './replay-from.ts'
import type { RoomLog } from './room-log.ts'

/** The messages that a connection has received when it is live again. */
export interface ResumeResult {
  /**
   * Whether it has missed nothing: `false` when messages after `since` are not kept any more, when `since` is
   * no position of this room, and when the connection was closed, or has left the room, before it was live.
   */
  readonly complete: boolean
  /** How many messages were sent to it before the first live one. */
  readonly replayed: number
  /** Where it stands now: to be given as `since` the next time. Empty when it was closed before that. */
  readonly position: string
}

/** Where a replay begins, and whether that misses nothing. */
interface Start {
  readonly cursor: Mark
  readonly page: readonly StoredRecord[]
  readonly isComplete: boolean
}

/**
 * Replays to a member of a room what it has missed, before it receives live.
 * @throws {HubError} WSHUB_ERR_HISTORY_AWAY, as a rejection; the member receives live then
 */
export function resume(
  log: RoomLog,
  member: HistoryMember,
  from: ReplayFrom,
  limits: HistoryLimits,
): Promise<ResumeResult> {
  return new Promise((resolve, reject) => {
    let isComplete = true
    const joined = log.isPositioned ? log.delivered : undefined
    log.followers.came(member, joined, hasSince(from))
    // At once: nothing live is to reach the member before what it has missed.
    const catchUp = log.withhold(member, (end: CatchUpEnd, { cursor, replayed }: CatchUp) => {
      const position = cursor.epoch === '' || !member.isOpen ? '' : positionOf(cursor)
      resolve({ complete: isComplete && end === 'live' && member.isOpen, replayed, position })
    })
    const failed = (error: unknown) => {
      reject(error)
      catchUp.skip()
    }
    const begin = async (head: Mark) => {
      if (catchUp.hasEnded) return
      const start = await startOf(log, joined ?? head, from, limits)
      if (catchUp.hasEnded) return
      isComplete = start.isComplete
      log.followers.began(member, joined ?? head, hasSince(from) && isComplete)
      catchUp.start(start.cursor, start.page)
    }
    // In turns: thousands may wait for the same room.
    log.positioned().then((head) => log.schedule(() => void begin(head).catch(failed)), failed)
  })
}

/** @param joined the latest message when the member joined */
async function startOf(log: RoomLog, joined: Mark, from: ReplayFrom, limits: HistoryLimits): Promise<Start> {
  const { last } = from
  if (hasSince(from)) {
    const start = await startAfter(log, readPosition(from.since))
    if (start !== undefined) return start
  }
  const isComplete = !hasSince(from)
  if (last === undefined) return { cursor: joined, page: [], isComplete }
  return { ...(await startBeforeLast(log, Math.min(last, limits.maxMessages))), isComplete }
}

/** Returns where everything after a mark begins; `undefined` when something is missing. */
async function startAfter(log: RoomLog, mark: Mark | undefined): Promise<Start | undefined> {
  if (mark === undefined) return undefined
  if (log.covers(mark)) return { cursor: mark, page: [], isComplete: true }
  const { records, isComplete } = await log.read(mark)
  if (!isComplete) return undefined
  log.keep(mark, records)
  return { cursor: mark, page: records, isComplete }
}

async function startBeforeLast(log: RoomLog, count: number): Promise<Omit<Start, 'isComplete'>> {
  const known = log.beforeLast(count)
  if (known !== undefined) return { cursor: known, page: [] }
  const { head, records } = await log.readLast(count)
  const [first] = records
  if (first === undefined) return { cursor: head, page: [] }
  return { cursor: { epoch: first.epoch, offset: first.previous, tag: '' }, page: records }
}
