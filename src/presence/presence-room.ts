import type { MemberState, RoomCounts, RoomDelta, RoomSnapshot } from '../cluster/wire/presence-message.ts'
import type { Identity } from './identity.ts'
import { NodeShare } from './node-share.ts'
import type { PresenceChange, PresenceMember, PresenceMode } from './presence-options.ts'
import { hashOf } from './room-hash.ts'
import { RoomMember } from './room-member.ts'

/** The most members of other nodes that a room has here, whatever their nodes say. */
const MOST_REMOTE_MEMBERS = 100_000
/** A node names its users again when they are at most this share of the limit, so that it does not flap. */
const LIST_AGAIN_SHARE = 3 / 4

/** The presence of a room: who is there on this node, and on each of the others as far as it has said. */
export class PresenceRoom {
  readonly name: string
  readonly hash: number
  readonly mode: PresenceMode
  readonly #maxMembers: number
  readonly #members = new Map<string, RoomMember>()
  readonly #shares = new Map<string, NodeShare>()
  readonly #own: NodeShare
  /** Members of whom the application may have to be told something. */
  readonly #touched = new Set<RoomMember>()
  /** Members of this node of whom the other nodes have to be told something. */
  readonly #unsent = new Set<RoomMember>()
  /** Whether the counts of this node have changed since they were published. */
  #isUnsent = false
  /** Whether the other nodes know that nobody is on this one. */
  #wasEmpty = true
  readonly #left: string[] = []
  #toldCount = 0
  #isToldComplete = true
  /** Whether the application is told numbers only, because there are too many members. */
  #isOverflown = false
  /** Whether all other nodes have answered, and all that they have was received once. */
  isSettled = true
  /** Whether all other nodes have answered. */
  isAnswered = true
  /** Whether changes are held back until the other nodes have answered for the first time. */
  isHeld = false
  /** When the room has to be given up if nobody is here, in ms of `performance.now()`. */
  idleSince = 0

  constructor(name: string, mode: PresenceMode, node: string, maxMembers: number) {
    this.name = name
    this.hash = hashOf(name)
    this.mode = mode
    this.#maxMembers = maxMembers
    this.#own = new NodeShare(node)
    this.#shares.set(node, this.#own)
  }

  /** The version of the part of this node; 0 = nothing was published. */
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

  /** The number of members of whom the application may have to be told something. */
  get touched(): number {
    return this.#touched.size
  }

  /** A connection of this node has joined. */
  add({ user, info }: Identity): void {
    this.#isUnsent = true
    if (user === undefined || this.mode === 'count') {
      this.#own.anonymous++
      return
    }
    const member = this.#member(user)
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
    const member = this.#members.get(user)
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
    const member = user === undefined ? undefined : this.#members.get(user)
    const holding = member?.on(this.#own)
    if (member === undefined || holding === undefined) return
    member.renew(holding, info)
    if (holding.isInfoSent) return
    this.#isUnsent = true
    this.#changed(member)
  }

  /** Returns who is here now. */
  show(isConnected: boolean): { members: PresenceMember[]; count: number; isComplete: boolean } {
    const isOverflown = this.#tooMany()
    const members: PresenceMember[] = []
    if (!isOverflown) {
      for (const member of this.#members.values()) {
        if (member.isTold || member.connections > 0) members.push(member.show())
      }
    }
    const count = isOverflown ? this.#sum(({ count }) => count) : this.#anonymous() + members.length
    return { members, count, isComplete: isConnected && this.isSettled && !isOverflown }
  }

  /**
   * Returns what the application has to be told; `undefined` = nothing.
   * @param most members that are looked at; the others wait for the next time
   * @param leaving receives the members whose grace period begins
   */
  takeChange(
    isConnected: boolean,
    most: number,
    leavesAt: number,
    leaving: RoomMember[],
  ): PresenceChange | undefined {
    if (this.isHeld) return undefined
    if (this.#isOverflown) this.#forgetAbsent(most)
    this.#checkOverflow()
    const joined: PresenceMember[] = []
    const updated: PresenceMember[] = []
    let looked = 0
    for (const member of this.#isOverflown ? [] : this.#touched) {
      if (++looked > most) break
      this.#touched.delete(member)
      if (this.#members.get(member.user) !== member) continue
      if (member.connections === 0) {
        if (!member.isTold) this.#members.delete(member.user)
        else if (member.leavesAt === 0) {
          member.leavesAt = leavesAt
          leaving.push(member)
        }
        continue
      }
      member.leavesAt = 0
      if (!member.isTold) joined.push(member.show())
      else if (member.info !== member.toldInfo) updated.push(member.show())
      member.isTold = true
      member.toldInfo = member.info
    }
    const left = this.#left.splice(0)
    const { count, isComplete } = this.#told(isConnected)
    const isSame = count === this.#toldCount && isComplete === this.#isToldComplete
    if (isSame && joined.length + left.length + updated.length === 0) return undefined
    this.#toldCount = count
    this.#isToldComplete = isComplete
    return { joined, left, updated, count, isComplete }
  }

  /** The grace period of a member has ended. @returns whether the member has left */
  leave(member: RoomMember, leavesAt: number): boolean {
    if (this.#members.get(member.user) !== member || member.leavesAt !== leavesAt) return false
    if (!member.isTold || member.connections > 0) return false
    this.#members.delete(member.user)
    this.#left.push(member.user)
    return true
  }

  /**
   * Returns what the other nodes have to be told of this one, and counts it as published; `undefined` =
   * nothing.
   * @param version higher than all before
   * @param maxBytes about how much it may take on the wire; the rest is for the next time
   */
  takeDelta(version: number, maxBytes: number): RoomDelta | undefined {
    if (!this.#isUnsent) return undefined
    const own = this.#own
    const wasListed = own.isListed
    own.isListed = own.users <= (wasListed ? this.#maxMembers : this.#maxMembers * LIST_AGAIN_SHARE)
    const members: MemberState[] = []
    let bytes = 0
    if (!own.isListed || !wasListed) this.#unsent.clear()
    for (const member of this.#unsent) {
      if (bytes >= maxBytes) break
      this.#unsent.delete(member)
      const state = this.#stateOf(member)
      bytes += sizeOf(state)
      members.push(state)
    }
    this.#isUnsent = this.#unsent.size > 0
    // Who has users that were not named before is asked for them: nobody has that version.
    const base = own.isListed && !wasListed ? version : this.#wasEmpty ? 0 : own.version
    own.version = version
    this.#wasEmpty = own.count === 0 && !this.#isUnsent
    return { base, version, ...countsOf(own), members }
  }

  /** Returns who is on this node, after {@link takeDelta} has returned `undefined`. */
  snapshot(): RoomSnapshot {
    const members: MemberState[] = []
    const own = this.#own
    if (own.isListed && own.users > 0) {
      for (const { user, holdings } of this.#members.values()) {
        const holding = holdings.find(({ share }) => share === own)
        if (holding === undefined) continue
        const { connections, stamp, info } = holding
        members.push({ user, connections, stamp, info })
      }
    }
    return { version: own.version, ...countsOf(own), members }
  }

  /** Returns whether another node is known to have a later version than the one that is known here. */
  isBehind(node: string): boolean {
    const share = this.#shares.get(node)
    return share !== undefined && share.version < share.latest
  }

  /** Returns whether another node is known to have a later version than the one that is known here. */
  get isBehindAny(): boolean {
    for (const share of this.#shares.values())
      if (share !== this.#own && share.version < share.latest) return true
    return false
  }

  /** Returns whether anything is known of another node. */
  knows(node: string): boolean {
    return this.#shares.has(node)
  }

  /** Another node is known to have a version. @returns whether it is unknown here */
  announced(node: string, version: number): boolean {
    const share = this.#share(node)
    share.latest = Math.max(share.latest, version)
    return share.version < version
  }

  /** Another node has told its changes. @returns `false` when some before them are missing */
  apply(node: string, delta: RoomDelta): boolean {
    const share = this.#share(node)
    if (delta.version <= share.version) return true // a late one
    if (delta.base !== 0 && delta.base !== share.version) {
      share.latest = Math.max(share.latest, delta.version)
      return false
    }
    if (delta.base === 0 && share.version > 0) this.#dropMembers(share, undefined)
    this.#assign(share, delta)
    for (const state of delta.members) this.#put(share, state)
    return true
  }

  /**
   * Another node has told who is there.
   * @returns `false` when it is known to have a later version
   */
  replace(node: string, snapshot: RoomSnapshot): boolean {
    const share = this.#share(node)
    if (snapshot.version < share.version) return true // a late one
    this.#dropMembers(share, new Set(snapshot.members.map(({ user }) => user)))
    this.#assign(share, snapshot)
    for (const state of snapshot.members) this.#put(share, state)
    return share.latest <= share.version
  }

  /** Another node is gone, with its members. @returns whether anything has changed */
  forget(node: string): boolean {
    const share = this.#shares.get(node)
    if (share === undefined || share === this.#own) return false
    this.#dropMembers(share, undefined)
    this.#shares.delete(node)
    return share.count > 0
  }

  /** Returns the other nodes of which something is known. */
  nodes(): string[] {
    return [...this.#shares.keys()].filter((node) => node !== this.#own.node)
  }

  #member(user: string): RoomMember {
    const known = this.#members.get(user)
    if (known !== undefined) return known
    const member = new RoomMember(user)
    this.#members.set(user, member)
    return member
  }

  #share(node: string): NodeShare {
    const known = this.#shares.get(node)
    if (known !== undefined) return known
    const share = new NodeShare(node)
    this.#shares.set(node, share)
    return share
  }

  /** A member of this node has changed. */
  #changed(member: RoomMember): void {
    this.#touched.add(member)
    this.#unsent.add(member)
  }

  #stateOf(member: RoomMember): MemberState {
    const holding = member.on(this.#own)
    if (holding === undefined) return { user: member.user, connections: 0, stamp: 0, info: undefined }
    const info = holding.isInfoSent ? undefined : holding.info
    holding.isInfoSent = true
    return { user: member.user, connections: holding.connections, stamp: holding.stamp, info }
  }

  #assign(share: NodeShare, { version, users, anonymous, isListed }: RoomDelta | RoomSnapshot): void {
    if (!isListed && share.isListed) this.#dropMembers(share, undefined)
    share.version = version
    share.latest = Math.max(share.latest, version)
    share.users = users
    share.anonymous = anonymous
    share.isListed = isListed
  }

  #put(share: NodeShare, { user, connections, stamp, info }: MemberState): void {
    if (connections === 0) {
      const member = this.#members.get(user)
      const holding = member?.on(share)
      if (member === undefined || holding === undefined) return
      member.drop(holding)
      this.#touched.add(member)
      return
    }
    if (!this.#members.has(user) && this.#members.size >= MOST_REMOTE_MEMBERS + this.#own.users) return
    const member = this.#member(user)
    const holding = member.on(share) ?? member.add(share)
    holding.connections = connections
    holding.stamp = stamp
    if (info !== undefined) holding.info = info
    member.refresh()
    this.#touched.add(member)
  }

  /** Drops the members of a node, without those that it still has. */
  #dropMembers(share: NodeShare, kept: ReadonlySet<string> | undefined): void {
    for (const member of this.#members.values()) {
      const holding = member.on(share)
      if (holding === undefined || kept?.has(member.user) === true) continue
      member.drop(holding)
      this.#touched.add(member)
    }
  }

  #tooMany(): boolean {
    if (this.mode === 'count') return false
    if (this.#members.size > this.#maxMembers) return true
    for (const { isListed } of this.#shares.values()) if (!isListed) return true
    return !this.#own.isListed
  }

  /** Forgets users without a connection at once: of too many members, none is named. */
  #forgetAbsent(most: number): void {
    let looked = 0
    for (const member of this.#touched) {
      if (++looked > most) return
      this.#touched.delete(member)
      const isHere = this.#members.get(member.user) === member
      if (isHere && member.connections === 0) this.#members.delete(member.user)
    }
  }

  /** Begins to tell numbers only, or names again. */
  #checkOverflow(): void {
    const isOverflown = this.#tooMany()
    if (isOverflown === this.#isOverflown) return
    this.#isOverflown = isOverflown
    if (isOverflown) this.#left.length = 0
    for (const member of this.#members.values()) {
      member.isTold = !isOverflown && member.connections > 0
      member.toldInfo = member.info
      member.leavesAt = 0
      if (member.connections === 0) this.#members.delete(member.user)
    }
  }

  #told(isConnected: boolean): { count: number; isComplete: boolean } {
    const isComplete = isConnected && this.isSettled && !this.#isOverflown
    if (this.#isOverflown || this.mode === 'count')
      return { count: this.#sum(({ count }) => count), isComplete }
    return { count: this.#anonymous() + this.#members.size, isComplete }
  }

  #anonymous(): number {
    return this.#sum(({ anonymous }) => anonymous)
  }

  #sum(of: (share: NodeShare) => number): number {
    let sum = 0
    for (const share of this.#shares.values()) sum += of(share)
    return sum
  }
}

function countsOf({ users, anonymous, isListed }: NodeShare): RoomCounts {
  return { users, anonymous, isListed }
}

/** Returns about how many bytes a member takes on the wire. */
function sizeOf({ user, info }: MemberState): number {
  return user.length + (info?.length ?? 0) + 4
}
