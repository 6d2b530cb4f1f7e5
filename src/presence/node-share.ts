import type { Holding, MemberShare, RoomMember } from './room-member.ts'

/** One node's share of a room: its users, as far as they are known here. */
export class NodeShare implements MemberShare {
  readonly node: string
  /** The latest version that is known here; for this node, the latest that was published. */
  version = 0
  /**
   * The latest version of the node, over all of its rooms, at which this room is known to be as it is here.
   * Later than `version` once the node has answered a question: what it had announced until then belongs to
   * another room with the same hash.
   */
  knownAt = 0
  /** The latest version that the node has announced. */
  latest = 0
  users = 0
  anonymous = 0
  isListed = true
  /** Whether users that the node has named were not kept here, because there were too many. */
  isCut = false
  /** Whether what the node has said is being taken over, so that what it announces is not missing yet. */
  isMoving = false
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
