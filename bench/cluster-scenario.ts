import type { ClusterPeerName } from './peers.ts'
import type { RoomSpread } from './room-spread.ts'

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
