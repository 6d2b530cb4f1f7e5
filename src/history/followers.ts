import type { HistoryMember } from './history-member.ts'
import type { Mark } from './history-store.ts'

/** How a member follows a room. */
interface Following {
  /** Whether it receives, or has received, everything from before it joined. */
  hasPast: boolean
  /** The latest message of the room when the member joined; `undefined` until that is known. */
  joined: Mark | undefined
  /** Rooms whose copies of messages were left out for the member, because it receives those of this room. */
  readonly relying: Set<string>
}

/**
 * The members of a room that called `resumeRoom`, and so receive this room's copy of a message to several.
 */
export class Followers {
  readonly #followings = new Map<HistoryMember, Following>()

  /** A member joins. @param hasPast whether it receives what it missed */
  came(member: HistoryMember, joined: Mark | undefined, hasPast: boolean): void {
    this.#followings.set(member, { hasPast, joined, relying: new Set() })
  }

  /** Sets the latest message before a member, and whether the member has everything up to it. */
  began(member: HistoryMember, joined: Mark, hasPast: boolean): void {
    const following = this.#followings.get(member)
    if (following === undefined) return
    following.joined = joined
    following.hasPast = hasPast
  }

  /** @see MemberRooms.isFollowing */
  has(member: HistoryMember, isPast: boolean): boolean {
    const following = this.#followings.get(member)
    return following !== undefined && (!isPast || following.hasPast)
  }

  /** Whether a message was in the room before the member joined. */
  isPast(member: HistoryMember, { epoch, offset }: Mark): boolean {
    const joined = this.#followings.get(member)?.joined
    return joined !== undefined && joined.epoch === epoch && offset <= joined.offset
  }

  /**
   * Returns the rooms in which copies of messages were left out for a member, because it receives those of
   * this room; `undefined` for a member that does not follow this room.
   */
  relying(member: HistoryMember): Set<string> | undefined {
    return this.#followings.get(member)?.relying
  }

  /** A member leaves. @returns the rooms in which it relied on this one */
  left(member: HistoryMember): ReadonlySet<string> {
    const relying = this.#followings.get(member)?.relying ?? new Set()
    this.#followings.delete(member)
    return relying
  }
}
