import type { Holding, MemberShare, RoomMember } from './room-member.ts'

/** The share that one node has of a room. */
export class NodeShare implements MemberShare {
  readonly node: string
  /** The version that is known here: of this node, the latest that was published. */
  version = 0
  /**
   * The latest version of any room of the node at which this one was as it is known here. It is later than
   * `version` when the node was asked: what it has announced before was of another room with the same hash.
   */
  knownAt = 0
  /** The latest version that the node has announced. */
  latest = 0
  users = 0
  anonymous = 0
  isListed = true
  /** Whether users that the node has named were not kept here, since there were too many. */
  isCut = false
  readonly holdings = new Map<RoomMember, Holding>()

  constructor(node: string) {
    this.node = node
  }

  /** Whether the node has announced something that has not arrived. */
  get isBehind(): boolean {
    return this.knownAt < this.latest
  }

  get count(): number {
    return this.users + this.anonymous
  }
}
