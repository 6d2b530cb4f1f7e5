import type {
  BystandersScenario,
  ChurnScenario,
  ClusterScenario,
  PredictionScenario,
  ProjectionScenario,
} from './cluster-scenario.ts'
import type { ConnectScenario, StormScenario } from './connect-scenarios.ts'
import type { PeerName, PresencePeerName, RecoveryPeerName } from './peers.ts'
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
   * message is back, or one of the last few.
   */
  traffic: 'broadcast' | 'chat' | 'echo'
  clients: number
  payloadBytes: number
  rooms: number
  roomsPerMember: number
  compression: boolean
  messagesPerTurn: number
  /** The number of messages on their way before the server waits for the clients; of an echo, for each. */
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

/** Messages one by one to a room, whether or not they wait for each other before they are written. */
export interface DelayedScenario {
  kind: 'delayed'
  title: string
  clients: number
  payloadBytes: number
  everyMs: number
  writeDelaysMs: readonly number[]
  /** Limit for the CPU time with the longest delay, over that with none. */
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

/** A hub with an inspector, whose page is open, or not. */
export interface InspectedScenario {
  kind: 'inspected'
  title: string
  clients: number
  /** Each client is in three of them. */
  rooms: number
  windowMs: number
  /** Limit for the share of a core while a page is open. */
  maxCpuShare: number
  /** Limit for the CPU time of a delivery with an inspector that nobody looks at, over that without. */
  maxMountedRatio: number
  /** Limit for the heap of a connection that it adds. */
  maxExtraBytes: number
}

/** Deliveries over HTTP/2 beside HTTP/1.1, both with TLS. */
export interface Http2Scenario {
  kind: 'http2'
  title: string
  clients: number
  payloadBytes: number
  /** The messages of a round, one a turn. */
  messages: number
  /** Clients in one session: a figure for each. */
  perSession: readonly number[]
  maxRatio: number
}

/** Broadcasts in a hub with metrics, compared with the same hub without. */
export interface ObservedScenario {
  kind: 'observed'
  title: string
  clients: number
  payloadBytes: number
  inFlight: number
  /** Limit for the CPU time of a delivery with metrics that nobody reads, over that without. */
  maxMountedRatio: number
  /** The same, when they are read ten times a second, because once a second is lost in the noise. */
  maxScrapedRatio: number
  /** Limit for the CPU time of reading them. */
  maxScrapeMs: number
  /** Limit for the heap of a connection that metrics add. */
  maxExtraBytes: number
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

export type Scenario =
  | PredictionScenario
  | ProjectionScenario
  | ClusterScenario
  | BystandersScenario
  | ChurnScenario
  | TrafficScenario
  | SparseScenario
  | HistoryScenario
  | DelayedScenario
  | KeptScenario
  | ResumeScenario
  | PresenceScenario
  | SimulatedScenario
  | StoredScenario
  | ReturnsScenario
  | ResyncScenario
  | WindowScenario
  | MemoryScenario
  | Http2Scenario
  | ConnectScenario
  | StormScenario
  | IdleScenario
  | ObservedScenario
  | InspectedScenario
  | StalledScenario
  | BurstScenario
