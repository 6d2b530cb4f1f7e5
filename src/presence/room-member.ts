import { MAX_STAMP } from '../cluster/wire/presence-message.ts'
import { parseInfo } from './identity.ts'
import type { PresenceMember } from './presence-options.ts'

/** A node's share of a room, as its users use it. */
export interface MemberShare {
  readonly node: string
  /** The users who have connections on the node, as far as it has named them. */
  readonly holdings: Map<RoomMember, Holding>
}

/** The connections that a user has on one node. */
export interface Holding {
  readonly share: MemberShare
  connections: number
  /** When the info was given, in ms since 1970, or later; counts from 1 on nodes of older versions. */
  stamp: number
  info: string
  /** Whether the other nodes know `info`; of the holding of this node. */
  isInfoSent: boolean
}

/** A user in a room: the connections on each node, and what the application knows of the user. */
export class RoomMember {
  readonly user: string
  readonly holdings: Holding[] = []
  /** The latest info, as JSON; without a connection, that of the last one. */
  info = ''
  /** Whether the application knows that the user is there. */
  isTold = false
  /** The info that the application knows. */
  toldInfo = ''
  /** When the user counts as having left, in ms of `performance.now()`; 0 = has a connection. */
  leavesAt = 0
  #shown: PresenceMember | undefined
  #shownInfo = ''

  constructor(user: string) {
    this.user = user
  }

  /** The number of connections on all nodes. */
  get connections(): number {
    let connections = 0
    for (const holding of this.holdings) connections += holding.connections
    return connections
  }

  /** Returns the connections on one node; `undefined` = none. */
  on(share: MemberShare): Holding | undefined {
    return share.holdings.get(this)
  }

  /** Adds the first connection on a node. */
  add(share: MemberShare): Holding {
    const holding = { share, connections: 0, stamp: 0, info: '', isInfoSent: false }
    this.holdings.push(holding)
    share.holdings.set(this, holding)
    return holding
  }

  /** The last connection on a node has left. */
  drop(holding: Holding): void {
    this.holdings.splice(this.holdings.indexOf(holding), 1)
    holding.share.holdings.delete(this)
    this.refresh()
  }

  /** Takes over the latest info of all nodes. */
  refresh(): void {
    const latest = this.#latest()
    if (latest !== undefined) this.info = latest.info
  }

  /**
   * Sets the info of a holding of this node, as the latest of all. Its stamp is the time, because this node
   * may not know the holdings on other nodes yet; and above all known stamps, because other clocks may be
   * ahead.
   */
  renew(holding: Holding, info: string): void {
    holding.stamp = Math.min(Math.max(Date.now(), (this.#latest()?.stamp ?? 0) + 1), MAX_STAMP)
    if (holding.info !== info) {
      holding.info = info
      holding.isInfoSent = false
    }
    this.refresh()
  }

  /** Returns the user as the application sees it. */
  show(): PresenceMember {
    const { connections } = this
    if (this.#shown?.connections !== connections || this.#shownInfo !== this.info) {
      const info =
        this.#shown !== undefined && this.#shownInfo === this.info ? this.#shown.info : parseInfo(this.info)
      this.#shown = Object.freeze({ user: this.user, info, connections })
      this.#shownInfo = this.info
    }
    return this.#shown
  }

  /** Returns the holding with the highest stamp; among equal stamps, the one with the highest node id. */
  #latest(): Holding | undefined {
    let latest: Holding | undefined
    for (const holding of this.holdings) {
      if (latest === undefined || isLater(holding, latest)) latest = holding
    }
    return latest
  }
}

function isLater(a: Holding, b: Holding): boolean {
  return a.stamp > b.stamp || (a.stamp === b.stamp && a.share.node > b.share.node)
}
