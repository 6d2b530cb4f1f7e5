import type { HistoryMember } from './history-member.ts'
import type { HistoryLimits, Mark, StoredRecord } from './history-store.ts'
import { positionOf, readPosition } from './position.ts'
import { hasSince, type ReplayFrom } from './replay-from.ts'
import type { RoomLog } from './room-log.ts'

/** The result of a call of `resumeRoom`: what it has sent, and how it ended. */
export interface ResumeResult {
  /**
   * Whether it has missed nothing: `false` if messages after `since` are no longer stored, if `since` is not
   * a position of this room, or if the call has `ended`. Unless it has ended, `onBehind` was called when that
   * was known, before any later message was sent.
   */
  readonly complete: boolean
  /** How many messages were sent to it before the first live one. */
  readonly replayed: number
  /** Its position now, to be passed as `since` the next time. Empty if the call has `ended`. */
  readonly position: string
  /**
   * Why the call ended before the connection received live messages; absent otherwise. The client needs no
   * answer then: its connection `left` the room, was `closed`, or a later call for the same connection and
   * room has `replaced` this one, and the result of that call counts.
   */
  readonly ended?: 'left' | 'closed' | 'replaced'
}

/** Returns the result of a call that ended before the connection was live. */
export function endedResume(ended: NonNullable<ResumeResult['ended']>, replayed = 0): ResumeResult {
  return { complete: false, replayed, position: '', ended }
}

/** Where a replay begins, and whether that misses nothing. */
interface Start {
  readonly cursor: Mark
  readonly page: readonly StoredRecord[]
  readonly isComplete: boolean
}

/**
 * Replays to a member of a room what it has missed, before it receives live messages. `fellBehind` of the
 * member is called before it receives a message that comes after missing ones.
 * @param isAgain whether it takes the place of a replay that turned out to be impossible
 * @throws {HubError} WSHUB_ERR_HISTORY_AWAY, as a rejection; the member then receives live messages
 */
export function resume(
  log: RoomLog,
  member: HistoryMember,
  from: ReplayFrom,
  limits: HistoryLimits,
  isAgain = false,
): Promise<ResumeResult> {
  // A call that asks for nothing leaves the replay alone: in its place, it would skip what is still missing.
  const asksNothing = !hasSince(from) && from.last === undefined
  if (asksNothing && log.members.isResuming(member)) return Promise.resolve(endedResume('replaced'))
  return new Promise((resolve, reject) => {
    let isComplete = true
    let hasBegun = false
    const joined = log.isPositioned ? log.delivered : undefined
    log.members.followers.came(member, joined, hasSince(from))
    // In this turn: no live message may reach the member before those it has missed.
    const catchUp = log.members.withhold(member, (end, { cursor, replayed }) => {
      if (!member.isOpen) resolve(endedResume('closed', replayed))
      else if (end === 'replaced') resolve(endedResume('replaced', replayed))
      else if (end === 'ended') resolve(endedResume('left', replayed))
      else if (end === 'incomplete' && hasBegun && replayed === 0 && from.last !== undefined && !isAgain) {
        // The store has lost or removed what was to be replayed: its latest messages come in place of that.
        const since = hasSince(from) ? '' : undefined // of no use any more
        resolve(resume(log, member, { since, last: from.last }, limits, true))
      } else {
        const isTold = hasBegun && !isComplete && replayed === 0
        const isBehind = end === 'incomplete' && !isTold && (hasBegun || hasSince(from))
        if (isBehind) member.fellBehind(log.room)
        // What is sent next may say this position: dropped messages would come after it, if at all.
        log.members.pin(member)
        const position = cursor.epoch === '' ? '' : positionOf(cursor)
        const settle = () => resolve({ complete: isComplete && end === 'live', replayed, position })
        if (isBehind)
          process.nextTick(settle) // behind what tells the member
        else settle()
        return isBehind
      }
      return false
    })
    const failed = (error: unknown) => {
      reject(error) // before the member is told: the application may close it, so that it tries again
      catchUp.skip()
    }
    const begin = (start: Start, head: Mark) => {
      if (catchUp.hasEnded) return
      hasBegun = true
      isComplete = start.isComplete
      log.members.followers.began(member, joined ?? head, hasSince(from) && isComplete)
      const replay = () => catchUp.start(start.cursor, start.page)
      if (isComplete) replay()
      else {
        // The client would come back with the position of any message that it receives before it is told.
        member.fellBehind(log.room)
        process.nextTick(replay)
      }
    }
    const step = (head: Mark) => {
      if (catchUp.hasEnded) return
      const start = startOf(log, joined ?? head, from, limits)
      if (start instanceof Promise) start.then((read) => begin(read, head)).catch(failed)
      else begin(start, head)
    }
    // In later turns: thousands of members may wait for the same room.
    log.positioned().then((head) => log.members.begin(() => step(head)), failed)
  })
}

/**
 * Returns where a replay begins; no promise if that is in memory.
 * @param joined the latest message when the member joined
 */
function startOf(
  log: RoomLog,
  joined: Mark,
  from: ReplayFrom,
  limits: HistoryLimits,
): Start | Promise<Start> {
  const mark = readPosition(from.since)
  if (mark === undefined) return startWithout(log, joined, from, limits)
  if (log.members.covers(mark)) return { cursor: mark, page: [], isComplete: true }
  return startAfter(log, joined, mark, from, limits)
}

/** Returns where a replay of everything after a mark begins, or another one if some of that is missing. */
async function startAfter(
  log: RoomLog,
  joined: Mark,
  mark: Mark,
  from: ReplayFrom,
  limits: HistoryLimits,
): Promise<Start> {
  const { head, records, isComplete } = await log.members.read(mark)
  if (isComplete) {
    log.members.keep(mark, records)
    return { cursor: mark, page: records, isComplete }
  }
  if (log.members.covers(mark)) return { cursor: mark, page: [], isComplete: true } // by now
  // The client may come from a node that is ahead of this one, where messages that it has are yet to come.
  const isAhead = mark.epoch === joined.epoch ? mark.offset > joined.offset : mark.epoch === head.epoch
  if (!isAhead) return startWithout(log, joined, from, limits)
  if (from.last === undefined) return { cursor: mark, page: [], isComplete }
  return readLast(log, Math.min(from.last, limits.maxMessages), isComplete)
}

/** Returns where a replay begins for a client without a usable position. */
function startWithout(
  log: RoomLog,
  joined: Mark,
  from: ReplayFrom,
  { maxMessages }: HistoryLimits,
): Start | Promise<Start> {
  const isComplete = !hasSince(from)
  if (from.last === undefined) return { cursor: joined, page: [], isComplete }
  const last = Math.min(from.last, maxMessages)
  const known = log.members.beforeLast(last)
  return known === undefined ? readLast(log, last, isComplete) : { cursor: known, page: [], isComplete }
}

async function readLast(log: RoomLog, count: number, isComplete: boolean): Promise<Start> {
  const { head, records } = await log.members.readLast(count)
  const [first] = records
  if (first === undefined) return { cursor: head, page: [], isComplete }
  const cursor = { epoch: first.epoch, offset: first.previous, tag: '' }
  return { cursor, page: records, isComplete }
}
