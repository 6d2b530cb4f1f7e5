// The cost of a cluster over Redis, in messages and bytes, as a function of its nodes, rooms and traffic. No
// parameter is fitted: the sizes are those of the envelope and of the Redis protocol, and bench/prediction.ts
// checks them against a run.

/** The nodes that have members of a room, by number. */
export type Placement = readonly number[]

/** The traffic of a cluster; each rate is for the whole cluster. */
export interface Activity {
  nodes: number
  namespace: string
  /** The length of a room's name in its channel. */
  roomNameBytes: number
  payloadBytes: number
  /** Every node publishes the same amount, to every room equally. */
  messagesPerSecond: number
  rooms: readonly Placement[]
  /** Nodes that have connections. */
  occupiedNodes: number
  heartbeatsPerSecond: number
  /** `roomSize`, and other calls to all nodes. */
  callsPerSecond: number
  /**
   * Subscription changes: rooms that get their first member on a node, or that a node leaves after the grace
   * period.
   */
  subscriptionsPerSecond: number
}

/** Messages and bytes a second. */
export interface Traffic {
  /** Received by the engine: once from each publisher, however many nodes are subscribed. */
  messagesIn: number
  bytesIn: number
  /** Sent by the engine: once to each subscribed node. */
  messagesOut: number
  bytesOut: number
}

/** The cost of a cluster in total, and of one node on average. */
export interface Cost {
  engine: Traffic
  /** The part of the engine's traffic that nodes cause without any message. */
  heartbeats: Traffic
  node: {
    /** Messages from other nodes for its members. */
    received: number
    /** Bytes that it reads from the engine. */
    bytesIn: number
    bytesOut: number
  }
}

const NODE_ID_BYTES = 12
/** Version, kind, the node's id and its length, the epoch. */
const STAMP_BYTES = 2 + 1 + NODE_ID_BYTES + 1
/** A varint below 128 takes one byte, below 16,384 two. */
const NUMBER_BYTES = 2
const FLAG_BYTES = 1
/** Redis answers each PUBLISH with `:1\r\n`. */
const REPLY_BYTES = 4
const TEST_INTERVAL_S = 5
/** `wshub:test:`, a UUID and the number of the attempt. */
const TEST_CHANNEL_BYTES = 49

/** The cost of each kind of message, then how many there are. */
export function costOf(activity: Activity): Cost {
  const { nodes, rooms } = activity
  const channel = {
    room: activity.namespace.length + 3 + activity.roomNameBytes, // wshub.r.news
    control: activity.namespace.length + 2, // wshub.c
    node: activity.namespace.length + 3 + NODE_ID_BYTES, // wshub.n.kXbQ2v9LwPzA
  }
  const spread = meanSpread(rooms)
  const messages = published(
    activity.messagesPerSecond,
    spread,
    channel.room,
    STAMP_BYTES + NUMBER_BYTES + FLAG_BYTES + activity.payloadBytes,
  )

  const beats = activity.heartbeatsPerSecond * nodes
  // With each heartbeat a node tests its own channel and that of one of its rooms; one of these is
  // everyone's.
  const roomsOfNode = (rooms.length * spread) / nodes + 1
  const probedSpread = (spreadSeenByNode(rooms) * (roomsOfNode - 1) + activity.occupiedNodes) / roomsOfNode
  const mark = STAMP_BYTES + NUMBER_BYTES + 1
  const heartbeats = sum(
    published(beats, nodes, channel.control, STAMP_BYTES + 1 + 2),
    published(beats, 1, channel.node, mark),
    published((beats * activity.occupiedNodes) / nodes, probedSpread, channel.room, mark),
    published(nodes / TEST_INTERVAL_S, 1, TEST_CHANNEL_BYTES, 0),
  )

  const { callsPerSecond } = activity
  const calls = sum(
    // A request has an id, the question and one room; the answers have an id, a part, a flag for the last
    // part, and a count.
    published(
      callsPerSecond,
      nodes,
      channel.control,
      STAMP_BYTES + NUMBER_BYTES + 5 + activity.roomNameBytes,
    ),
    published(callsPerSecond * (nodes - 1), 1, channel.node, STAMP_BYTES + NUMBER_BYTES + 6),
  )

  const { subscriptionsPerSecond } = activity
  const subscriptions: Traffic = {
    messagesIn: subscriptionsPerSecond,
    bytesIn: subscriptionsPerSecond * bulk(channel.room), // hundreds go in one command
    messagesOut: subscriptionsPerSecond,
    bytesOut: subscriptionsPerSecond * (4 + 5 + 15 + bulk(channel.room)),
  }

  const engine = sum(messages, heartbeats, calls, subscriptions)
  return {
    engine,
    heartbeats,
    node: {
      // The publisher is one of the subscribed nodes as often as any other.
      received: (activity.messagesPerSecond * spread * (1 - 1 / nodes)) / nodes,
      bytesIn: engine.bytesOut / nodes,
      bytesOut: engine.bytesIn / nodes,
    },
  }
}

/** The average number of nodes on which a room has members. */
export function meanSpread(rooms: readonly Placement[]): number {
  return rooms.length === 0 ? 0 : rooms.reduce((total, { length }) => total + length, 0) / rooms.length
}

/** The number of nodes on which `members` are, if each chooses any node: N(1 - (1 - 1/N)^m). */
export function expectedSpread(nodes: number, members: number): number {
  return nodes * (1 - (1 - 1 / nodes) ** members)
}

/** A room on several nodes is tested by each of them. */
function spreadSeenByNode(rooms: readonly Placement[]): number {
  const total = rooms.reduce((sum, { length }) => sum + length, 0)
  return total === 0 ? 0 : rooms.reduce((sum, { length }) => sum + length ** 2, 0) / total
}

/**
 * The cost of a PUBLISH: each subscribed node receives the message, also the publisher if it is subscribed.
 */
function published(
  perSecond: number,
  listeners: number,
  channelBytes: number,
  envelopeBytes: number,
): Traffic {
  const arguments_ = bulk(channelBytes) + bulk(envelopeBytes)
  const command = 4 + bulk('PUBLISH'.length) + arguments_
  const push = 4 + bulk('message'.length) + arguments_
  return {
    messagesIn: perSecond,
    bytesIn: perSecond * command,
    messagesOut: perSecond * listeners,
    bytesOut: perSecond * (REPLY_BYTES + listeners * push),
  }
}

/** A string in the Redis protocol: `$5\r\nhello\r\n`. */
function bulk(bytes: number): number {
  return 1 + String(bytes).length + 2 + bytes + 2
}

function sum(...all: Traffic[]): Traffic {
  const total: Traffic = { messagesIn: 0, bytesIn: 0, messagesOut: 0, bytesOut: 0 }
  for (const traffic of all) {
    total.messagesIn += traffic.messagesIn
    total.bytesIn += traffic.bytesIn
    total.messagesOut += traffic.messagesOut
    total.bytesOut += traffic.bytesOut
  }
  return total
}
