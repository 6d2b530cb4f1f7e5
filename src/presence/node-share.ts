/** The part of a room that is on one node. */
export class NodeShare {
  readonly node: string
  /** The version that is known here: of this node, the latest that was published. */
  version = 0
  /** The latest version that is known to exist. */
  latest = 0
  users = 0
  anonymous = 0
  isListed = true

  constructor(node: string) {
    this.node = node
  }

  get count(): number {
    return this.users + this.anonymous
  }
}
