import type { CatchUp } from './catch-up.ts'
import type { HistoryMember } from './history-member.ts'

/** The catch-ups of each member of a hub, in all its rooms. */
export class MemberCatchUps {
  readonly #byMember = new Map<HistoryMember, Set<CatchUp>>()

  add(catchUp: CatchUp): void {
    const catchUps = this.#byMember.get(catchUp.member)
    if (catchUps === undefined) this.#byMember.set(catchUp.member, new Set([catchUp]))
    else catchUps.add(catchUp)
  }

  delete(catchUp: CatchUp): void {
    const catchUps = this.#byMember.get(catchUp.member)
    if (catchUps?.delete(catchUp) === true && catchUps.size === 0) this.#byMember.delete(catchUp.member)
  }

  /** A member has joined a room, which does not bring it what was there before. */
  joined(member: HistoryMember, room: string): void {
    for (const catchUp of this.#byMember.get(member) ?? []) catchUp.joined(room)
  }

  /** A member has left a room. */
  left(member: HistoryMember, room: string): void {
    for (const catchUp of this.#byMember.get(member) ?? []) catchUp.left(room)
  }
}
