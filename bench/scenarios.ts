import type { ClusterPeerName, PeerName, RecoveryPeerName } from './peers.ts'
import type { RoomSpread } from './room-spread.ts'
import type { FeedName } from './servers/feeds.mjs'

/**
 * The largest accepted ratio of wshub's figure to that of each peer; `undefined` compares without a target.
 */
export type RatioTargets = Partial<Record<PeerName, number | undefined>>

/** Messages to many clients: the CPU time of the server for each. */
export interface TrafficScenario {
  kind: 'traffic'
  title: string
  /**
   * `broadcast`: the server sends, a batch in each turn of its event loop. `chat`: each client sends when it
   * has received all of the last turn, and all receive all. `echo`: each client sends as soon as its last
   * message is back.
   */
  traffic: 'broadcast' | 'chat' | 'echo'
  clients: number
  payloadBytes: number
  rooms: number
  roomsPerMember: number
  compression: boolean
  messagesPerTurn: number
  /** The number of messages on their way before the server waits for the clients. */
  inFlight: number
  targets: RatioTargets
  /** The longest time that wshub may block its event loop. */
  maxLoopDelayMs?: number
}

/**
 * A broadcast to a few members of a large hub, compared with the same in a hub that has no other connections.
 */
export interface SparseScenario {
  kind: 'sparse'
  title: string
  clients: number
  members: number
  payloadBytes: number
  inFlight: number
  maxRatio: number
}

/** A broadcast to a room with a history, compared with the same to a room without one. */
export interface HistoryScenario {
  kind: 'history'
  title: string
  clients: number
  payloadBytes: number
  messagesPerTurn: number
  inFlight: number
  maxRatio: number
}

/** The memory that a history takes for each message. */
export interface KeptScenario {
  kind: 'kept'
  title: string
  messages: number
  payloadBytes: number
  /** Limit for the bytes of each message beside its frame. */
  maxExtraBytes: number
}

/** Clients that come back all at once, each of which has missed messages. */
export interface ReturnsScenario {
  kind: 'returns'
  title: string
  clients: number
  /** The time in which all of them connect. */
  withinMs: number
  /** The number of messages that each has missed. */
  missed: number
  payloadBytes: number
  /** Limit for the CPU time of a client beyond one that only connects. */
  maxExtraMicros: number
  maxLoopDelayMs: number
}

/** A client that stops reading for a time, and then gets what it has missed. */
export interface ResyncScenario {
  kind: 'resync'
  title: string
  seconds: number
  messagesPerSecond: number
  payloadBytes: number
  maxHeldBytes: number
  /** Limit for the time from reading again to live; the loopback interface itself needs next to none. */
  maxLiveSeconds: number
}

/** Messages that Redis stores and publishes, compared with a plain PUBLISH. */
export interface StoredScenario {
  kind: 'stored'
  title: string
  messages: number
  payloadBytes: number
  /** Most messages that the room keeps. */
  maxMessages: number
  /** The numbers of messages on their way at the same time: a row for each. */
  inFlight: readonly number[]
  maxRatio: number
}

/** Clients that are cut and come back, while messages are published: what they get. */
export interface ResumeScenario {
  kind: 'resume'
  title: string
  peers: readonly RecoveryPeerName[]
  /** The number of nodes of those that share Redis. */
  nodes: number
  clients: number
  payloadBytes: number
  messageEveryMs: number
  seconds: number
  /** Each client is cut once in every interval of so many ms. */
  cutEveryMs: number
  awayMs: number
  /** How long Redis is down, if it is killed. */
  downMs: number
}

/** A feed of small messages to all clients, compressed in several ways. */
export interface WindowScenario {
  kind: 'window'
  title: string
  feed: FeedName
  clients: number
  inFlight: number
  /** Limit for the bytes with a shared window, over messages compressed by themselves. */
  maxBytesRatio: number
  /** Limit for the CPU time, over the same. */
  maxCpuRatio: number
  /** Limit for the CPU time, over `ws`, which keeps a window for each client. */
  maxWsCpuRatio: number
}

/** Resident memory per idle connection. */
export interface MemoryScenario {
  kind: 'memory'
  title: string
  clients: number
  rooms: number
  roomsPerMember: number
  maxExtraBytes: number
}

/** The CPU time of idle connections, with keepalive. */
export interface IdleScenario {
  kind: 'idle'
  title: string
  clients: number
  windowMs: number
  maxCpuShare: number
}

/** One client that stops reading during many broadcasts. */
export interface StalledScenario {
  kind: 'stalled'
  title: string
  clients: number
  payloadBytes: number
  totalBytes: number
  inFlight: number
  peers: readonly PeerName[]
  maxGrowthBytes: number
}

/** Messages broadcast all at once: the memory they take until the clients have them. */
export interface BurstScenario {
  kind: 'burst'
  title: string
  clients: number
  payloadBytes: number
  messages: number
  maxGrowthBytes: number
}

/** Messages to rooms with members on several nodes, at the same rate for all contestants. */
export interface ClusterScenario {
  kind: 'cluster'
  title: string
  subject: ClusterPeerName
  /** The contestants that the subject is compared with. The limits apply to those that are not wshub. */
  peers: readonly ClusterPeerName[]
  /** The number of nodes; each publishes. */
  nodes: number
  clients: number
  rooms: number
  roomsPerMember: number
  spread: RoomSpread
  payloadBytes: number
  messagesPerTurn: number
  turnMs: number
  turns: number
  /** Limit for the CPU time per delivery, of all nodes together. */
  maxCpuRatio?: number
  /** Limit for the bytes through the engine. */
  maxBytesRatio?: number
  /** Limit for the time from publishing to delivery, p99. */
  maxLatencyRatio?: number
}

/** Messages to a room whose members are all on the publishing node: the cost for the other nodes. */
export interface BystandersScenario {
  kind: 'bystanders'
  title: string
  peers: readonly ClusterPeerName[]
  nodes: number
  clients: number
  payloadBytes: number
  messagesPerTurn: number
  turnMs: number
  turns: number
  /**
   * Limit for the CPU time of all other nodes together, for each message, in addition to that without
   * publishing.
   */
  maxExtraMicros: number
  /** Limit for the bytes that each of the other nodes reads, for each message. */
  maxBytes: number
}

/** Clients join and leave rooms without other members, while another node publishes to one of their rooms. */
export interface ChurnScenario {
  kind: 'churn'
  title: string
  peers: readonly ClusterPeerName[]
  clients: number
  payloadBytes: number
  /** The number of rooms that are joined in a second; as many are left. */
  roomsPerSecond: number
  seconds: number
  /** The time that each room has its member. */
  holdMs: number
  messageEveryMs: number
  /** Limit for wshub's share of the core that Redis has, in per cent. */
  maxRedisShare: number
}

/** The prediction of the cluster's cost model, beside the measurement. */
export interface PredictionScenario {
  kind: 'prediction'
  title: string
  nodes: number
  clients: number
  rooms: number
  spread: RoomSpread
  payloadBytes: number
  runs: Record<string, { seconds: number; beatMs?: number; messagesPerSecond?: number; calls?: number }>
  /** Limit for the difference of the two, in per cent. */
  maxDifference: number
}

/** The model's figures for clusters that are too large to run here. */
export interface ProjectionScenario {
  kind: 'projection'
  title: string
  connectionsPerNode: number
  /** The number of messages that each connection gets in a second. */
  messagesPerConnection: number
  payloadBytes: number
  /** `keptOn`: the number of nodes on which the members of a room are. */
  deployments: readonly { nodes: number; members: number; keptOn?: number }[]
}

export type Scenario =
  | PredictionScenario
  | ProjectionScenario
  | ClusterScenario
  | BystandersScenario
  | ChurnScenario
  | TrafficScenario
  | SparseScenario
  | HistoryScenario
  | KeptScenario
  | ResumeScenario
  | StoredScenario
  | ReturnsScenario
  | ResyncScenario
  | WindowScenario
  | MemoryScenario
  | IdleScenario
  | StalledScenario
  | BurstScenario

const broadcastToOneRoom = {
  kind: 'traffic',
  traffic: 'broadcast',
  rooms: 1,
  roomsPerMember: 1,
  compression: false,
} as const

const overFourNodes = {
  kind: 'cluster',
  nodes: 4,
  clients: 400,
  roomsPerMember: 2,
  spread: { least: 2, most: 4 },
  payloadBytes: 120,
  maxCpuRatio: 0.5,
  maxLatencyRatio: 1,
} as const

const toFiveHundred = {
  kind: 'window',
  clients: 500,
  inFlight: 16,
  maxBytesRatio: 0.28,
  maxCpuRatio: 1.15,
  maxWsCpuRatio: 0.3,
} as const

/** Rooms of 100: messages of one turn to a client share a write. */
const inTurnsOfTen = { rooms: 8, messagesPerTurn: 10, turnMs: 100, turns: 25 } as const

export const SCENARIOS: Record<string, Scenario> = {
  echo: {
    ...broadcastToOneRoom,
    title: 'echo: 1,000 clients, 120 bytes, each sends again as soon as its last message is back',
    traffic: 'echo',
    clients: 1_000,
    payloadBytes: 120,
    messagesPerTurn: 1,
    inFlight: 0,
    targets: { ws: 1.0 },
  },
  'echo-compressed': {
    ...broadcastToOneRoom,
    title: 'echo: 200 clients, 1,000 bytes, back with permessage-deflate',
    traffic: 'echo',
    clients: 200,
    payloadBytes: 1_000,
    compression: true,
    messagesPerTurn: 1,
    inFlight: 0,
    targets: { ws: 1.0 },
  },
  memory: {
    kind: 'memory',
    title: 'resident memory per idle connection, in no room',
    clients: 10_000,
    rooms: 0,
    roomsPerMember: 0,
    maxExtraBytes: 1_024,
  },
  turn1: {
    ...broadcastToOneRoom,
    title: 'one message a turn to 1,000 clients, 120 bytes',
    clients: 1_000,
    payloadBytes: 120,
    messagesPerTurn: 1,
    inFlight: 16,
    targets: {
      ws: 0.78,
      'Socket.IO': 0.68,
      crossws: undefined,
      '@fastify/websocket': undefined,
      'uWebSockets.js': 1.4,
      Bun: 1.6,
    },
  },
  'turn1-alone': {
    ...broadcastToOneRoom,
    title: 'one message at a time to 1,000 clients, 120 bytes: the next one when all have it',
    clients: 1_000,
    payloadBytes: 120,
    messagesPerTurn: 1,
    inFlight: 1,
    targets: { ws: 0.78, 'Socket.IO': 0.68, 'uWebSockets.js': 1.4, Bun: 1.6 },
  },
  turn10: {
    ...broadcastToOneRoom,
    title: 'ten messages a turn to 1,000 clients, 120 bytes',
    clients: 1_000,
    payloadBytes: 120,
    messagesPerTurn: 10,
    inFlight: 60,
    targets: {
      ws: 0.1,
      'Socket.IO': 0.1,
      crossws: undefined,
      '@fastify/websocket': undefined,
      'uWebSockets.js': 1.1,
      Bun: 1.1,
    },
  },
  turn50: {
    ...broadcastToOneRoom,
    title: 'fifty messages a turn to 500 clients, 120 bytes',
    clients: 500,
    payloadBytes: 120,
    messagesPerTurn: 50,
    inFlight: 200,
    targets: { ws: 0.04, 'uWebSockets.js': 0.8, Bun: 0.9 },
  },
  chat: {
    ...broadcastToOneRoom,
    title: 'chat: 300 clients, each sends 120 bytes whenever it has all of the last turn, and all get all',
    traffic: 'chat',
    clients: 300,
    payloadBytes: 120,
    messagesPerTurn: 1,
    inFlight: 0,
    targets: { ws: 0.25, 'uWebSockets.js': 1.1, Bun: 1.1 },
  },
  rooms: {
    ...broadcastToOneRoom,
    title: 'ten messages a turn to random rooms, 1,000 clients in 3 of 20 rooms each, 120 bytes',
    clients: 1_000,
    payloadBytes: 120,
    rooms: 20,
    roomsPerMember: 3,
    messagesPerTurn: 10,
    inFlight: 100,
    targets: { ws: 0.75 },
  },
  compressed: {
    ...broadcastToOneRoom,
    title: 'one message a turn to 500 clients, 1,000 bytes, permessage-deflate',
    clients: 500,
    payloadBytes: 1_000,
    compression: true,
    messagesPerTurn: 1,
    inFlight: 16,
    targets: { ws: 0.11, 'uWebSockets.js': 0.45, Bun: 0.6 },
  },
  'window-trades': {
    ...toFiveHundred,
    title: 'trades, one message a turn to 500 clients, permessage-deflate',
    feed: 'trades',
  },
  'window-chat': {
    ...toFiveHundred,
    title: 'chat, one message a turn to 500 clients, permessage-deflate',
    feed: 'chat',
  },
  'window-positions': {
    ...toFiveHundred,
    title: 'positions on a map, one message a turn to 500 clients, permessage-deflate',
    feed: 'positions',
  },
  large: {
    ...broadcastToOneRoom,
    title: 'one message a turn to 500 clients, 16 KiB',
    clients: 500,
    payloadBytes: 16_384,
    messagesPerTurn: 1,
    inFlight: 8,
    targets: { ws: 0.6 },
  },
  fanout: {
    ...broadcastToOneRoom,
    title: 'one message at a time to 10,000 clients, 120 bytes',
    clients: 10_000,
    payloadBytes: 120,
    messagesPerTurn: 1,
    inFlight: 1,
    targets: { ws: undefined },
    maxLoopDelayMs: 20,
  },
  sparse: {
    kind: 'sparse',
    title: 'one message a turn to 100 of 15,000 connections, over the same to 100 of 100, 120 bytes',
    clients: 15_000,
    members: 100,
    payloadBytes: 120,
    inFlight: 200,
    maxRatio: 1.1,
  },
  idle: {
    kind: 'idle',
    title: '15,000 idle connections with keepalive at 30 s',
    clients: 15_000,
    windowMs: 60_000,
    maxCpuShare: 0.02,
  },
  'memory-rooms': {
    kind: 'memory',
    title: 'resident memory per idle connection, in 3 of 20 rooms; ws has none',
    clients: 10_000,
    rooms: 20,
    roomsPerMember: 3,
    maxExtraBytes: 1_229, // 1.2 KB
  },
  stalled: {
    kind: 'stalled',
    title: 'one client stops reading while 100 MB are broadcast to 100, in messages of 64 KiB',
    clients: 100,
    payloadBytes: 65_536,
    totalBytes: 100e6,
    inFlight: 8,
    peers: ['wshub', 'ws', 'Socket.IO', 'crossws'],
    maxGrowthBytes: 10e6,
  },
  burst: {
    kind: 'burst',
    title: '100,000 messages of 120 bytes to 20 clients, broadcast in one synchronous loop',
    clients: 20,
    payloadBytes: 120,
    messages: 100_000,
    maxGrowthBytes: 30e6,
  },
  history: {
    kind: 'history',
    title:
      'ten messages a turn to 1,000 clients, 120 bytes: a room with a history in memory over one without',
    clients: 1_000,
    payloadBytes: 120,
    messagesPerTurn: 10,
    inFlight: 60,
    maxRatio: 1.1,
  },
  'history-kept': {
    kind: 'kept',
    title: 'memory of a history of 100,000 messages of 120 bytes: what each takes beside its frame',
    messages: 100_000,
    payloadBytes: 120,
    maxExtraBytes: 64,
  },
  'history-redis': {
    kind: 'stored',
    title: 'a message of 120 bytes stored in Redis and published to one node, over a plain PUBLISH',
    messages: 10_000,
    payloadBytes: 120,
    maxMessages: 1_000,
    inFlight: [1, 16],
    maxRatio: 3,
  },
  returns: {
    kind: 'returns',
    title: '9,000 clients connect within 2.25 s, each has missed 20 messages of 120 bytes (memory)',
    clients: 9_000, // a process may have 20,000 files open on the machine of the figures
    withinMs: 2_250,
    missed: 20,
    payloadBytes: 120,
    maxExtraMicros: 60,
    maxLoopDelayMs: 20,
  },
  resync: {
    kind: 'resync',
    title:
      "a client does not read, under slowConsumer: 'resync'; 2,000 messages a second of 120 bytes (memory)",
    seconds: 60,
    messagesPerSecond: 2_000,
    payloadBytes: 120,
    maxHeldBytes: 1_048_576,
    maxLiveSeconds: 1,
  },
  resume: {
    kind: 'resume',
    title: '200 clients, 50 messages a second to one room; every client is cut for 2 s once in 10 s',
    peers: [
      'wshub, memory',
      'wshub, Redis',
      'Socket.IO',
      'Socket.IO recovery, memory',
      'Socket.IO recovery, Redis Streams',
    ],
    nodes: 2,
    clients: 200,
    payloadBytes: 120,
    messageEveryMs: 20,
    seconds: 60,
    cutEveryMs: 10_000,
    awayMs: 2_000,
    downMs: 1_000,
  },
  'cluster-redis': {
    ...overFourNodes,
    ...inTurnsOfTen,
    title: '4 nodes, each publishes 10 messages every 100 ms to rooms of 100 on 2 to 4 of them, 120 bytes',
    subject: 'wshub/redis',
    peers: ['Socket.IO redis-adapter', 'Socket.IO redis-adapter, sharded', 'wshub/nats'],
    maxBytesRatio: 0.6,
  },
  'cluster-redis-alone': {
    ...overFourNodes,
    title: '4 nodes, each publishes 1 message every 8 ms to rooms of 20 on 2 to 4 of them, 120 bytes',
    subject: 'wshub/redis',
    peers: ['Socket.IO redis-adapter', 'Socket.IO redis-adapter, sharded', 'wshub/nats'],
    rooms: 40,
    messagesPerTurn: 1,
    turnMs: 8,
    turns: 300,
    maxBytesRatio: 0.6,
  },
  'cluster-one': {
    kind: 'bystanders',
    title: 'a room on 1 of 4 nodes, which publishes 10 messages every 10 ms: what the 3 others have of each',
    peers: ['wshub/redis', 'wshub/nats', 'Socket.IO redis-adapter', 'Socket.IO redis-adapter, sharded'],
    nodes: 4,
    clients: 40,
    payloadBytes: 120,
    messagesPerTurn: 10,
    turnMs: 10,
    turns: 500, // as long as a heartbeat's interval: with messages and without, there is one in each
    maxExtraMicros: 1,
    maxBytes: 1,
  },
  'cluster-churn': {
    kind: 'churn',
    title:
      '10,000 rooms a second are joined, and as many left, on one node; another publishes to its clients',
    peers: ['wshub/redis', 'wshub/nats', 'Socket.IO redis-adapter', 'Socket.IO redis-adapter, sharded'],
    clients: 200,
    payloadBytes: 120,
    roomsPerSecond: 10_000,
    seconds: 5,
    holdMs: 100,
    messageEveryMs: 50,
    maxRedisShare: 10,
  },
  'cluster-ipc': {
    ...overFourNodes,
    ...inTurnsOfTen,
    title: '4 workers, each publishes 10 messages every 100 ms to rooms of 100 on 2 to 4 of them, 120 bytes',
    subject: 'wshub/node-cluster',
    peers: ['Socket.IO cluster-adapter'],
  },
  'cluster-model': {
    kind: 'prediction',
    title: 'the cost model beside a run of 4 nodes over Redis',
    nodes: 4,
    clients: 80,
    rooms: 8,
    spread: { least: 2, most: 4 },
    payloadBytes: 120,
    runs: {
      messages: { seconds: 3, messagesPerSecond: 1_000 },
      heartbeats: { seconds: 3, beatMs: 50 },
      calls: { seconds: 3, calls: 300 },
    },
    maxDifference: 20,
  },
  'cluster-projection': {
    kind: 'projection',
    title: '100,000 connections a node, each in one room, each gets a message of 120 bytes every 10 s',
    connectionsPerNode: 100_000,
    messagesPerConnection: 0.1,
    payloadBytes: 120,
    deployments: [
      { nodes: 4, members: 10 },
      { nodes: 4, members: 100 },
      { nodes: 4, members: 10_000 },
      { nodes: 10, members: 10 },
      { nodes: 10, members: 100 },
      { nodes: 10, members: 10_000 },
      { nodes: 30, members: 100 },
      { nodes: 100, members: 10 },
      { nodes: 100, members: 10, keptOn: 2 },
      { nodes: 100, members: 100 },
      { nodes: 100, members: 100, keptOn: 2 },
      { nodes: 100, members: 10_000 },
    ],
  },
}
