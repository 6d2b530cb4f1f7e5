import type { ConnectScenario, StormScenario } from './connect-scenarios.ts'
import type { ClusterPeerName, PeerName, PresencePeerName, RecoveryPeerName } from './peers.ts'
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

/** Users without sockets who come and go on several nodes over Redis, and a storm of them. */
export interface PresenceScenario {
  kind: 'presence'
  title: string
  peers: readonly PresencePeerName[]
  nodes: number
  users: number
  rooms: number
  gatherSeconds: number
  /** Joins and leaves of all nodes together. */
  changesPerSecond: number
  /** How long users come and go, and how long nobody does. */
  seconds: number
  beatMs: number
  storm: {
    users: number
    /** Of Socket.IO, each of whose users costs as many answers as there are users. */
    fetchedUsers: number
    seconds: number
    /** Limit for the bytes into Redis for each user. */
    maxBytes: number
    maxStallMs: number
  }
}

/** The model of presence beside many connections without sockets, on nodes that are all in one process. */
export interface SimulatedScenario {
  kind: 'simulated'
  title: string
  nodes: number
  connections: number
  /** The connections of a room: as many on each node. */
  roomSize: number
  /** Joins and leaves of all nodes together. */
  changesPerSecond: number
  /** How long users come and go, and how long nobody does. */
  seconds: number
  beatMs: number
  /** Limit for the difference of the two, in per cent. */
  maxDifference: number
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
  | PresenceScenario
  | SimulatedScenario
  | StoredScenario
  | ReturnsScenario
  | ResyncScenario
  | WindowScenario
  | MemoryScenario
  | ConnectScenario
  | StormScenario
  | IdleScenario
  | StalledScenario
  | BurstScenario
