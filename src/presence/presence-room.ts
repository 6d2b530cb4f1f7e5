import {
  type MemberState,
  memberBytes,
  type RoomCounts,
  type RoomDelta,
  type RoomSnapshot,
} from '../cluster/wire/presence-message.ts'
import type { Identity } from './identity.ts'
import type { NodeShare } from './node-share.ts'
import type { PresenceChange, PresenceMember, PresenceMode } from './presence-options.ts'
import { RoomChanges } from './room-changes.ts'
import { hashOf } from './room-hash.ts'
import type { Holding, RoomMember } from './room-member.ts'
import { type MemberTally, NAME_AGAIN_SHARE, Roster } from './roster.ts'

/** The presence of a room: its users on this node, and on the other nodes as far as they are known. */
export class PresenceRoom {
  readonly name: string
  readonly hash: number
  readonly mode: PresenceMode
  readonly #maxMembers: number
  readonly #roster: Roster
  readonly #own: NodeShare
  readonly #changes: RoomChanges
  /** Members of this node whose changes the other nodes do not know yet. */
  readonly #unsent = new Set<RoomMember>()
  /** Whether the counts of this node have changed since they were published. */
  #isUnsent = false
  /** Whether the other nodes know that this one has nobody in the room. */
  #wasEmpty = true
  /** Whether all other nodes have answered, and everything that they announced has been received since. */
  isSettled = true
  /** Whether all other nodes have answered. */
  isAnswered = true
  /** Whether changes are held back until the other nodes have answered for the first time. */
  isHeld = false
  /** For how many reasons changes are held back besides. */
  #holds = 0
  /** Shares of other nodes that are being changed bit by bit. */
  #moving = 0
  /** When the room is dropped, in ms of `performance.now()`; 0 = it is needed. */
  idleUntil = 0

  /** @param tally counts the members of the room with those of others */
  constructor(name: string, mode: PresenceMode, node: string, maxMembers: number, tally?: MemberTally) {
    this.name = name
    this.hash = hashOf(name)
    this.mode = mode
    this.#maxMembers = maxMembers
    this.#roster = new Roster(mode, node, maxMembers, tally)
    this.#own = this.#roster.own
    this.#changes = new RoomChanges(this.#roster)
  }

  /** The version of this node's share; 0 = nothing was published. */
  get version(): number {
    return this.#own.version
  }

  /** The number of connections, or of users and connections without one, on this node. */
  get ownCount(): number {
    return this.#own.count
  }

  /** Whether something of this node has not been published. */
  get isUnsent(): boolean {
    return this.#isUnsent
  }

  /** The number of members whose changes the application may not know yet. */
  get touched(): number {
    return this.#roster.touched.size
  }

  /** Takes the members out of the tally: the room is not followed any more. */
  uncount(): void {
    this.#roster.uncount()
  }

  /** Whether what is known of another node is being changed bit by bit, so that some of it is missing. */
  get isPartial(): boolean {
    return this.#moving > 0
  }

  /** Whether no change is told now. */
  get isQuiet(): boolean {
    return this.isHeld || this.#holds > 0 || this.isPartial
  }

  /** Tells no changes until {@link release}. */
  hold(): void {
    this.#holds++
  }

  release(): void {
    this.#holds--
  }

  /** A connection of this node has joined. */
  add({ user, info }: Identity): void {
    this.#isUnsent = true
    if (user === undefined || this.mode === 'count') {
      this.#own.anonymous++
      return
    }
    const member = this.#roster.member(user)
    let holding = member.on(this.#own)
    if (holding === undefined) {
      holding = member.add(this.#own)
      this.#own.users++
    }
    holding.connections++
    member.renew(holding, info)
    this.#changed(member)
  }

  /** A connection of this node has left. */
  remove({ user }: Identity): void {
    this.#isUnsent = true
    if (user === undefined || this.mode === 'count') {
      this.#own.anonymous--
      return
    }
    const member = this.#roster.members.get(user)
    const holding = member?.on(this.#own)
    if (member === undefined || holding === undefined) return
    holding.connections--
    if (holding.connections === 0) {
      member.drop(holding)
      this.#own.users--
    }
    this.#changed(member)
  }

  /** The info of a user has changed on this node. */
  update({ user, info }: Identity): void {
    const member = user === undefined ? undefined : this.#roster.members.get(user)
    const holding = member?.on(this.#own)
    if (member === undefined || holding === undefined) return
    member.renew(holding, info)
    this.#isUnsent = true
    this.#changed(member)
  }

  /** Returns the members as of now. */
  show(isConnected: boolean): { members: PresenceMember[]; count: number; isComplete: boolean } {
    const { isTooLarge, count, anonymous } = this.#roster
    const isComplete = isConnected && this.isSettled && !this.isPartial && !isTooLarge
    if (isTooLarge) return { members: [], count, isComplete }
    const members: PresenceMember[] = []
    for (const member of this.#roster.members.values()) {
      if (member.isTold || member.connections > 0) members.push(member.show())
    }
    return { members, count: anonymous + members.length, isComplete }
  }

  /**
   * Returns the changes that the application does not know yet; `undefined` = none.
   * @param most members to examine; the others wait for the next call
   * @param leaving receives the members whose grace period begins
   */
  takeChange(
    isConnected: boolean,
    most: number,
    leavesAt: number,
    leaving: RoomMember[],
  ): PresenceChange | undefined {
    if (this.isQuiet) return undefined
    return this.#changes.take(isConnected && this.isSettled, most, leavesAt, leaving)
  }

  /** The grace period of a member has ended. @returns whether the member has left */
  leave(member: RoomMember, leavesAt: number): boolean {
    return this.#changes.leave(member, leavesAt)
  }

  /**
   * Returns the changes of this node that the others do not know yet, and counts them as published;
   * `undefined` = none.
   * @param version higher than all before
   * @param mostBytes how much its members may take on the wire; the others wait for the next call
   */
  takeDelta(version: number, mostBytes: number): RoomDelta | undefined {
    if (!this.#isUnsent) return undefined
    const own = this.#own
    const wasListed = own.isListed
    own.isListed = own.users <= (wasListed ? this.#maxMembers : this.#maxMembers * NAME_AGAIN_SHARE)
    const members: MemberState[] = []
    let bytes = 0
    if (!own.isListed || !wasListed) this.#unsent.clear()
    for (const member of this.#unsent) {
      const holding = member.on(own)
      const state = stateOf(member.user, holding)
      bytes += memberBytes(state)
      if (bytes > mostBytes && members.length > 0) break
      this.#unsent.delete(member)
      if (holding !== undefined) holding.isInfoSent = true
      members.push(state)
    }
    this.#isUnsent = this.#unsent.size > 0
    // When a node names its users again, the others have to ask for them: none has this base version.
    const base = own.isListed && !wasListed ? version : this.#wasEmpty ? 0 : own.version
    own.version = version
    this.#wasEmpty = own.count === 0 && !this.#isUnsent
    return { base, version, ...countsOf(own), members }
  }

  /** The number of users on this node that it names. */
  get namedCount(): number {
    return this.#own.isListed ? this.#own.holdings.size : 0
  }

  /** The version and the counts of this node. */
  get counts(): RoomCounts & { readonly version: number } {
    return { version: this.#own.version, ...countsOf(this.#own) }
  }

  /** Returns the users on this node that it names. */
  named(): readonly RoomMember[] {
    return this.#own.isListed ? [...this.#own.holdings.keys()] : []
  }

  /** Returns what this node knows of a user now; `undefined` for one who has left. */
  stateOf(member: RoomMember): MemberState | undefined {
    const holding = member.on(this.#own)
    if (holding === undefined) return undefined
    const { connections, stamp, info } = holding
    return { user: member.user, connections, stamp, info }
  }

  /** Returns whether members of another node are missing here that it can be asked for. */
  isBehind(node: string): boolean {
    const share = this.#roster.shares.get(node)
    if (share === undefined || share.isMoving) return false
    return share.isBehind || this.#roster.hasSpaceFor(share)
  }

  /** Whether any other node has announced a version that has not arrived. */
  get isBehindAny(): boolean {
    for (const { isBehind } of this.#roster.shares.values()) if (isBehind) return true
    return false
  }

  /** Returns whether anything is known of another node. */
  knows(node: string): boolean {
    return this.#roster.shares.has(node)
  }

  /** Another node has announced a version. @returns whether something of it is missing here */
  announced(node: string, version: number): boolean {
    const share = this.#roster.share(node)
    share.latest = Math.max(share.latest, version)
    return !share.isMoving && (share.knownAt < version || this.#roster.hasSpaceFor(share))
  }

  /** Something that a node has said begins to be taken over bit by bit. */
  begin(node: string): void {
    this.#roster.share(node).isMoving = true
    this.#moving++
  }

  /** All that a node has said was taken over. */
  end(node: string): void {
    const share = this.#roster.shares.get(node)
    if (share !== undefined) share.isMoving = false
    this.#moving--
  }

  /**
   * Applies the changes of another node, in steps that tell how many members they have visited.
   * @returns `false` when earlier ones are missing
   */
  *applying(node: string, delta: RoomDelta): Generator<number, boolean> {
    const share = this.#roster.share(node)
    if (delta.version <= share.version) return true // it arrived late
    if (delta.base !== 0 && delta.base !== share.version) {
      share.latest = Math.max(share.latest, delta.version)
      return false
    }
    if (delta.base === 0 && share.version > 0) yield* this.#roster.dropping(share)
    yield* this.#roster.putting(share, delta)
    return true
  }

  /**
   * Takes over the members of another node, in steps that tell how many members they have visited.
   * @param clock the latest version of any room of that node at that time
   * @returns `false` when it has announced a later one
   */
  *replacing(node: string, snapshot: RoomSnapshot, clock: number): Generator<number, boolean> {
    const share = this.#roster.share(node)
    if (snapshot.version < share.version) return true // it arrived late
    yield* this.#roster.replacing(share, snapshot, clock)
    return !share.isBehind
  }

  /** Removes a node that has left, with its members. @returns what the last step has visited */
  *forgetting(node: string): Generator<number, number> {
    const share = this.#roster.shares.get(node)
    if (share === undefined || share === this.#own) return 0
    const visited = yield* this.#roster.dropping(share)
    this.#roster.shares.delete(node)
    return visited
  }

  /** A member of this node has changed. */
  #changed(member: RoomMember): void {
    this.#roster.touched.add(member)
    this.#unsent.add(member)
  }
}

function countsOf({ users, anonymous, isListed }: NodeShare): RoomCounts {
  return { users, anonymous, isListed }
}

/** Returns what the other nodes do not know yet of a user on this one. */
function stateOf(user: string, holding: Holding | undefined): MemberState {
  if (holding === undefined) return { user, connections: 0, stamp: 0, info: undefined }
  const { connections, stamp, info, isInfoSent } = holding
  return { user, connections, stamp, info: isInfoSent ? undefined : info }
}
