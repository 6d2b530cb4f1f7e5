import { CatchUp, type CatchUpLog, type OnCatchUpEnd } from './catch-up.ts'
import type { HistoryMember } from './history-member.ts'
import type { Mark } from './history-store.ts'
import type { MemberCatchUps } from './member-catch-ups.ts'
import type { ReplayLoop } from './replay-loop.ts'

/** The members of a room that are being brought up to date and do not receive live messages yet. */
export class CatchUps {
  readonly #log: CatchUpLog
  readonly #loop: ReplayLoop
  /** The catch-ups in all rooms of the hub. */
  readonly #all: MemberCatchUps
  readonly #byMember = new Map<HistoryMember, CatchUp>()
  /** Catch-ups that wait for the log to reach their cursor, and catch-ups that wait for the store. */
  readonly #ahead = new Set<CatchUp>()
  readonly #retrying = new Set<CatchUp>()

  constructor(log: CatchUpLog, loop: ReplayLoop, all: MemberCatchUps) {
    this.#log = log
    this.#loop = loop
    this.#all = all
  }

  get size(): number {
    return this.#byMember.size
  }

  has(member: HistoryMember): boolean {
    return this.#byMember.has(member)
  }

  /** Returns the catch-up of a member; `undefined` when it has none. */
  of(member: HistoryMember): CatchUp | undefined {
    return this.#byMember.get(member)
  }

  /** Adds a member; the new catch-up takes the place of an earlier one. */
  add(member: HistoryMember, isResume: boolean, onEnd: OnCatchUpEnd): CatchUp {
    this.#end(member, 'replaced')
    const catchUp = new CatchUp(this.#log, this.#loop, member, isResume, onEnd)
    this.#byMember.set(member, catchUp)
    this.#all.add(catchUp)
    return catchUp
  }

  /** Makes a catch-up go back to an earlier message. @returns `false` when the member has none */
  rewind(member: HistoryMember, cursor: Mark): boolean {
    const catchUp = this.#byMember.get(member)
    catchUp?.rewind(cursor)
    return catchUp !== undefined
  }

  /** The member has left the room, or its connection is closed. */
  left(member: HistoryMember): void {
    this.#end(member, 'ended')
  }

  /** Removes a catch-up that has ended. */
  delete(catchUp: CatchUp): void {
    this.#byMember.delete(catchUp.member)
    this.#all.delete(catchUp)
    this.#ahead.delete(catchUp)
    this.#retrying.delete(catchUp)
  }

  /** Continues a catch-up when the log has reached its cursor. */
  awaitCursor(catchUp: CatchUp): void {
    this.#ahead.add(catchUp)
  }

  /** Continues a catch-up at the next {@link retry}. */
  awaitRetry(catchUp: CatchUp): void {
    this.#retrying.add(catchUp)
  }

  /** The log has delivered messages. */
  moved(hasReached: (mark: Mark) => boolean): void {
    for (const catchUp of this.#ahead) {
      if (!hasReached(catchUp.cursor)) continue
      this.#ahead.delete(catchUp)
      catchUp.resume()
    }
  }

  /** The log has all that the store has: a cursor that it has not reached may be lost. */
  caughtUp(): void {
    for (const catchUp of this.#ahead) catchUp.verify()
    this.#ahead.clear()
  }

  /** Reads again what could not be read. */
  retry(): void {
    for (const catchUp of this.#retrying) catchUp.resume()
    this.#retrying.clear()
  }

  /** Makes all catch-ups compare their cursors with the store, because it has lost messages. */
  verify(): void {
    for (const catchUp of this.#byMember.values()) catchUp.verify()
  }

  close(): void {
    for (const member of [...this.#byMember.keys()]) this.left(member)
  }

  #end(member: HistoryMember, how: 'ended' | 'replaced'): void {
    const catchUp = this.#byMember.get(member)
    if (catchUp === undefined) return
    this.delete(catchUp)
    catchUp.end(how)
  }
}
