import type { PresenceChange, PresenceMember } from './presence-options.ts'
import type { RoomMember } from './room-member.ts'
import type { Roster } from './roster.ts'

/** The changes of a room that the application does not know yet. */
export class RoomChanges {
  readonly #roster: Roster
  /** Users who have left, until the application knows. */
  readonly #left = new Map<string, RoomMember>()
  #toldCount = 0
  #isToldComplete = true

  constructor(roster: Roster) {
    this.#roster = roster
  }

  /**
   * Returns the changes that the application does not know yet; `undefined` = none.
   * @param isCurrent whether what is known of the other nodes is complete
   * @param most members to examine; the others wait for the next call
   * @param leaving receives the members whose grace period begins
   */
  take(
    isCurrent: boolean,
    most: number,
    leavesAt: number,
    leaving: RoomMember[],
  ): PresenceChange | undefined {
    const { members, touched } = this.#roster
    if (this.#roster.isOverflown) this.#forgetAbsent(most)
    this.#checkOverflow()
    const joined: PresenceMember[] = []
    const updated: PresenceMember[] = []
    let looked = 0
    for (const member of this.#roster.isOverflown ? [] : touched) {
      if (++looked > most) break
      touched.delete(member)
      if (members.get(member.user) !== member) continue
      if (member.connections === 0) {
        if (!member.isTold) this.#roster.forget(member)
        else if (member.leavesAt === 0) {
          member.leavesAt = leavesAt
          leaving.push(member)
        }
        continue
      }
      this.#back(member)
      member.leavesAt = 0
      if (!member.isTold) joined.push(member.show())
      else if (member.info !== member.toldInfo) updated.push(member.show())
      member.isTold = true
      member.toldInfo = member.info
    }
    const left = [...this.#left.keys()]
    this.#left.clear()
    const count = this.#count
    const isComplete = isCurrent && !this.#roster.isOverflown
    const isSame = count === this.#toldCount && isComplete === this.#isToldComplete
    if (isSame && joined.length + left.length + updated.length === 0) return undefined
    this.#toldCount = count
    this.#isToldComplete = isComplete
    return { joined, left, updated, count, isComplete }
  }

  /** The grace period of a member has ended. @returns whether the member has left */
  leave(member: RoomMember, leavesAt: number): boolean {
    const { members } = this.#roster
    if (members.get(member.user) !== member || member.leavesAt !== leavesAt) return false
    member.leavesAt = 0 // a user who came back and left once more has another one
    if (!member.isTold || member.connections > 0) return false
    this.#roster.forget(member)
    this.#left.set(member.user, member)
    return true
  }

  /** A user is there. If the application was not told of the leave before, nothing has happened for it. */
  #back(member: RoomMember): void {
    const before = this.#left.get(member.user)
    if (before === undefined) return
    this.#left.delete(member.user)
    member.isTold = before.isTold
    member.toldInfo = before.toldInfo
  }

  get #count(): number {
    const { mode, count, anonymous, members } = this.#roster
    return this.#roster.isOverflown || mode === 'count' ? count : anonymous + members.size
  }

  /**
   * Drops users without a connection, without a grace period: when there are too many members, none is named.
   */
  #forgetAbsent(most: number): void {
    const { members, touched } = this.#roster
    let looked = 0
    for (const member of touched) {
      if (++looked > most) return
      touched.delete(member)
      const isHere = members.get(member.user) === member
      if (isHere && member.connections === 0) this.#roster.forget(member)
    }
  }

  /** Switches to numbers only, or back to names. */
  #checkOverflow(): void {
    const { members, isTooLarge } = this.#roster
    if (isTooLarge === this.#roster.isOverflown) return
    this.#roster.isOverflown = isTooLarge
    if (isTooLarge) this.#left.clear()
    for (const member of members.values()) {
      member.isTold = !isTooLarge && member.connections > 0
      member.toldInfo = member.info
      member.leavesAt = 0
      if (member.connections === 0) this.#roster.forget(member)
    }
  }
}
