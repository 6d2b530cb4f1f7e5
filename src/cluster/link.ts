import type { BackplaneState } from '../backplane/backplane.ts'
import type { Payload, SendOptions } from '../protocol/message.ts'
import type { Recipients } from './local-hub.ts'
import type { PresenceMessage } from './wire/presence-message.ts'
import type { NodeRequest } from './wire/request.ts'
import type { NodeResponse } from './wire/response.ts'

/** Counters of a link since it was made. */
export interface LinkStats {
  /** Messages that the backplane accepted. */
  published: number
  /** Messages that it did not accept: they reached this node's connections only. */
  unpublished: number
  /** Messages received from other nodes. */
  received: number
  /** Messages of other nodes that did not arrive, or arrived too late to be delivered once. */
  lost: number
  /** Messages that arrived again, and were not delivered again. */
  repeated: number
  /** Envelopes that were dropped because they were malformed. */
  malformed: number
  /** Envelopes that were dropped because another version of this package wrote them. */
  unknown: number
}

/** Returns the counters of a link that has done nothing yet. */
export function newLinkStats(): LinkStats {
  return { published: 0, unpublished: 0, received: 0, lost: 0, repeated: 0, malformed: 0, unknown: 0 }
}

/**
 * The connection of a node to the other nodes of its cluster. A hub without a backplane has one too, to no
 * other node.
 */
export interface Link {
  readonly stats: Readonly<LinkStats>
  /** `connected` only while messages that this node publishes come back to it. */
  readonly state: BackplaneState
  /** The other nodes that are known to be alive. */
  readonly peers: readonly string[]
  /** The number of rooms of the cluster that this node is subscribed to. */
  readonly rooms: number
  /** Whether the cluster has not been reached yet, and still may be. */
  readonly isStarting: boolean
  /**
   * Time, in ms, until every node that is alive has had the time to become known; 0 when that time is over.
   */
  readonly settlingMs: number
  /** Returns whether another node is known to be alive. */
  knows(node: string): boolean
  /** Resolves when connected. @throws {HubError} WSHUB_ERR_HUB_CLOSED, as a rejection */
  ready(): Promise<void>
  /**
   * Subscribes to a room that has its first member here, or to {@link EVERYONE} for the hub's first
   * connection.
   */
  occupied(room: string): void
  /** Ends the subscription of a room that has lost its last member, after a grace period. */
  vacated(room: string): void
  /** Resolves when messages to these rooms arrive; at once while the engine cannot be reached. */
  listening(rooms: readonly string[]): Promise<void>
  /** Publishes a message to connections of the other nodes. */
  broadcast(recipients: Recipients, data: Payload, options: SendOptions | undefined): void
  /**
   * Publishes a message to one connection of another node.
   * @returns `false` when it certainly does not arrive
   */
  direct(connectionId: string, data: Payload, options: SendOptions | undefined): boolean
  /**
   * Asks one other node, or all of them (`undefined`). A request that changes something, or may, takes effect
   * after the messages that this node published before it.
   * @returns `false` when it certainly does not arrive
   */
  ask(node: string | undefined, id: number, request: NodeRequest): boolean
  /**
   * Tells one other node, those who follow a room, or all of them (`undefined`) about the members of rooms.
   * @returns `false` when it certainly does not arrive
   */
  tell(
    to: { readonly node: string } | { readonly room: string } | undefined,
    message: PresenceMessage,
  ): boolean
  /** Has a watcher notified from now on; it may be one only. */
  watch(watcher: LinkWatcher): void
  /** Reports a call that no other node was asked, although there may be some. */
  reportUnasked(): void
  /** Answers a request of another node, in as many parts as there are responses. */
  respond(node: string, id: number, responses: readonly NodeResponse[]): void
  /**
   * Leaves the cluster and closes the backplane.
   * @param timeoutMs how long to wait for the cluster, and for the engine to receive what was published
   */
  close(timeoutMs: number): Promise<void>
}

/** Receives what other nodes ask and answer. */
export interface LinkListener {
  /** Another node asks this one. */
  asked(node: string, id: number, request: NodeRequest): void
  /** Another node has answered, or a part of its answer has arrived. */
  responded(node: string, id: number, part: number, isLast: boolean, response: NodeResponse): void
  /** The cluster was reached for the first time, or never will be. */
  started(): void
  /** Another node, which was alive before this one connected, has become known. */
  nodeFound(node: string): void
  /** Another node has left, or has been silent for too long. */
  nodeGone(node: string): void
}

/** Follows the other nodes, and receives what they tell about the members of rooms. */
export interface LinkWatcher {
  /** This node is connected: after `awayMs` without a connection, or for the first time (0). */
  connected(awayMs: number): void
  /** Called at every heartbeat while connected, before the own heartbeat is published. */
  beat(): void
  /** @param room the room on whose channel it came; `undefined` for a channel of all nodes or of this one */
  told(node: string, room: string | undefined, message: PresenceMessage): void
  /** Something that a node has published on the channel of a room, or of all nodes, did not arrive. */
  missed(node: string, room: string | undefined): void
  /** Another node has connected. It may not have received what was published before. */
  nodeConnected(node: string): void
  /** Another node has left, or has been silent for too long. */
  nodeGone(node: string): void
}
