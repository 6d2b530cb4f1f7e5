import type { MemberState, RoomDelta, RoomSnapshot } from '../cluster/wire/presence-message.ts'
import { NodeShare } from './node-share.ts'
import type { PresenceMode } from './presence-options.ts'
import { RoomMember } from './room-member.ts'

/** The most members of other nodes that a room keeps here, whatever their nodes send. */
const MOST_REMOTE_MEMBERS = 100_000

/** Members of other nodes are visited in steps of so many. */
const MEMBERS_PER_STEP = 1_000

/**
 * A node names its users again, and a room those of all nodes, at this share of the limit: at the limit
 * itself, each user who comes or goes would switch the names on or off.
 */
export const NAME_AGAIN_SHARE = 3 / 4

/** A number of members: of all rooms that count in it. */
export interface MemberTally {
  members: number
}

/** The members of a room, and the share of each node. */
export class Roster {
  readonly mode: PresenceMode
  readonly shares = new Map<string, NodeShare>()
  /** The share of this node. */
  readonly own: NodeShare
  /** Members whose changes the application may not know yet. */
  readonly touched = new Set<RoomMember>()
  /** Whether the application was given numbers only. */
  isOverflown = false
  readonly #maxMembers: number
  readonly #members = new Map<string, RoomMember>()
  #tally: MemberTally | undefined

  constructor(mode: PresenceMode, node: string, maxMembers: number, tally?: MemberTally) {
    this.mode = mode
    this.own = this.share(node)
    this.#maxMembers = maxMembers
    this.#tally = tally
  }

  get members(): ReadonlyMap<string, RoomMember> {
    return this.#members
  }

  /** The number of connections, or of users and connections without one, on all nodes. */
  get count(): number {
    return this.#sum(({ count }) => count)
  }

  /** The number of connections without a user. */
  get anonymous(): number {
    return this.#sum(({ anonymous }) => anonymous)
  }

  /** Whether there are too many members to name them. */
  get isTooLarge(): boolean {
    if (this.mode === 'count') return false
    if (this.members.size > this.#maxMembers * (this.isOverflown ? NAME_AGAIN_SHARE : 1)) return true
    for (const { isListed, isCut } of this.shares.values()) if (!isListed || isCut) return true
    return false
  }

  /** Returns a member, who is added if need be. */
  member(user: string): RoomMember {
    const known = this.members.get(user)
    if (known !== undefined) return known
    const member = new RoomMember(user)
    this.#members.set(user, member)
    if (this.#tally !== undefined) this.#tally.members++
    return member
  }

  /** Removes a member who has no connection. */
  forget({ user }: RoomMember): void {
    if (this.#members.delete(user) && this.#tally !== undefined) this.#tally.members--
  }

  /** Takes the members out of the tally, for good. */
  uncount(): void {
    if (this.#tally !== undefined) this.#tally.members -= this.#members.size
    this.#tally = undefined
  }

  /** Returns the share of a node, which is added if need be. */
  share(node: string): NodeShare {
    const known = this.shares.get(node)
    if (known !== undefined) return known
    const share = new NodeShare(node)
    this.shares.set(node, share)
    return share
  }

  /**
   * Sets the numbers of another node, and the members that it has named. Each step tells how many members it
   * has visited, as those of the other methods do; few members take no step.
   * @param clock the latest version of any room of that node at that time
   */
  *putting(share: NodeShare, said: RoomDelta | RoomSnapshot, clock = said.version): Generator<number, void> {
    const { version, users, anonymous, isListed, members } = said
    if (!isListed && share.isListed) yield* this.dropping(share)
    share.version = version
    share.knownAt = Math.max(share.knownAt, version, clock)
    share.users = users
    share.anonymous = anonymous
    share.isListed = isListed
    let put = 0
    for (const state of members) {
      this.#putMember(share, state)
      if (++put % MEMBERS_PER_STEP === 0) yield MEMBERS_PER_STEP
    }
  }

  /** Sets all members of another node, and drops those that it had before. */
  *replacing(share: NodeShare, snapshot: RoomSnapshot, clock: number): Generator<number, void> {
    const kept = new Set<string>()
    for (const { user } of share.holdings.size > 0 ? snapshot.members : []) {
      kept.add(user)
      if (kept.size % MEMBERS_PER_STEP === 0) yield MEMBERS_PER_STEP
    }
    yield* this.dropping(share, kept)
    yield* this.putting(share, snapshot, clock)
  }

  /** Drops the members of a node, except those that it still has. @returns what the last step has visited */
  *dropping(share: NodeShare, kept?: ReadonlySet<string>): Generator<number, number> {
    share.isCut = false
    let visited = 0
    for (const [member, holding] of share.holdings) {
      if (kept?.has(member.user) !== true) {
        member.drop(holding)
        this.touched.add(member)
      }
      if (++visited % MEMBERS_PER_STEP === 0) yield MEMBERS_PER_STEP
    }
    return visited % MEMBERS_PER_STEP
  }

  /** Returns whether users of a node were not kept, for all of whom there is space now. */
  hasSpaceFor({ isCut, users, holdings }: NodeShare): boolean {
    return isCut && this.members.size + users - holdings.size <= this.#mostMembers
  }

  get #mostMembers(): number {
    return MOST_REMOTE_MEMBERS + this.own.users
  }

  #putMember(share: NodeShare, { user, connections, stamp, info }: MemberState): void {
    if (connections === 0) {
      const member = this.members.get(user)
      const holding = member?.on(share)
      if (member === undefined || holding === undefined) return
      member.drop(holding)
      this.touched.add(member)
      return
    }
    if (!this.members.has(user) && this.members.size >= this.#mostMembers) {
      share.isCut = true
      return
    }
    const member = this.member(user)
    const holding = member.on(share) ?? member.add(share)
    holding.connections = connections
    holding.stamp = stamp
    if (info !== undefined) holding.info = info
    member.refresh()
    this.touched.add(member)
  }

  #sum(of: (share: NodeShare) => number): number {
    let sum = 0
    for (const share of this.shares.values()) sum += of(share)
    return sum
  }
}
