// What a cluster over Redis costs, in messages and bytes, as a function of its nodes, rooms and traffic.
// Nothing in here is fitted: the sizes are those of the envelope and of the Redis protocol, and
// bench/prediction.ts checks them against a run.

/** Where the members of a room are: the numbers of the nodes. */
export type Placement = readonly number[]

/** What happens in a cluster, each rate over the whole of it. */
export interface Activity {
  nodes: number
  namespace: string
  /** The length of a room's name as its channel has it. */
  roomNameBytes: number
  payloadBytes: number
  /** Every node publishes as much, to every room as much. */
  messagesPerSecond: number
  rooms: readonly Placement[]
  /** Nodes that have connections. */
  occupiedNodes: number
  heartbeatsPerSecond: number
  /** `roomSize`, and what else asks all nodes. */
  callsPerSecond: number
  /**
   * Rooms that get their first member on a node, or that a node leaves after the grace period: changes of
   * subscription.
   */
  subscriptionsPerSecond: number
}

/** Messages and bytes a second. */
export interface Traffic {
  /** What the engine is sent: by each publisher once, whoever listens. */
  messagesIn: number
  bytesIn: number
  /** What it sends: once to each node that listens. */
  messagesOut: number
  bytesOut: number
}

/** What a cluster costs in all, and one node of it in the mean. */
export interface Cost {
  engine: Traffic
  /** Of the engine's, what nodes tell each other when nobody says anything. */
  heartbeats: Traffic
  node: {
    /** Messages for its members that come from other nodes. */
    received: number
    /** What it reads from the engine. */
    bytesIn: number
    bytesOut: number
  }
}

const NODE_ID_BYTES = 12
/** Version, kind, the node's id and its length, the number of the count. */
const STAMP_BYTES = 2 + 1 + NODE_ID_BYTES + 1
/** A count below 128 takes one byte, below 16,384 two. */
const NUMBER_BYTES = 2
const FLAG_BYTES = 1
/** Redis answers each PUBLISH with `:1\r\n`. */
const REPLY_BYTES = 4
const TEST_INTERVAL_S = 5
/** `wshub:test:`, a UUID and an attempt. */
const TEST_CHANNEL_BYTES = 49

/** The price of each kind of message, then how many there are. */
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
  // A node proves its own channel with each beat, and that of one of its rooms: one is everyone's.
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
    // An id, the question, one room; the answers have an id, a part, whether it is the last, and a count.
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
      // The publisher is one of the listening nodes as often as any other.
      received: (activity.messagesPerSecond * spread * (1 - 1 / nodes)) / nodes,
      bytesIn: engine.bytesOut / nodes,
      bytesOut: engine.bytesIn / nodes,
    },
  }
}

/** On how many nodes a room has members, in the mean. */
export function meanSpread(rooms: readonly Placement[]): number {
  return rooms.length === 0 ? 0 : rooms.reduce((total, { length }) => total + length, 0) / rooms.length
}

/** On how many nodes `members` are that come to any node alike: N(1 - (1 - 1/N)^m). */
export function expectedSpread(nodes: number, members: number): number {
  return nodes * (1 - (1 - 1 / nodes) ** members)
}

/** A room that is on many nodes is probed by each of them. */
function spreadSeenByNode(rooms: readonly Placement[]): number {
  const total = rooms.reduce((sum, { length }) => sum + length, 0)
  return total === 0 ? 0 : rooms.reduce((sum, { length }) => sum + length ** 2, 0) / total
}

/**
 * What PUBLISH costs, and what comes of it: each listening node gets the message, the publisher itself if it
 * listens.
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
