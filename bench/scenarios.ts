import type { PeerName } from './peers.ts'

/** By how much of each peer's figure wshub may get along with, at most; `undefined` compares without a target. */
export type RatioTargets = Partial<Record<PeerName, number | undefined>>

/** Messages to many: what they cost the server in CPU time, each. */
export interface TrafficScenario {
  kind: 'traffic'
  title: string
  /** `broadcast`: the server sends, a batch in each turn of its event loop. `chat`: each client sends whenever it has
   * all of the last turn, and all get all. `echo`: each client sends as soon as its last message is back. */
  traffic: 'broadcast' | 'chat' | 'echo'
  clients: number
  payloadBytes: number
  rooms: number
  roomsPerMember: number
  compression: boolean
  messagesPerTurn: number
  /** How many messages may be under way before the server waits for the clients. */
  inFlight: number
  targets: RatioTargets
  /** For how long wshub may keep its event loop from other work, at most. */
  maxLoopDelayMs?: number
}

/** A broadcast to a few members of a large hub, over the same in a hub that has nobody else. */
export interface SparseScenario {
  kind: 'sparse'
  title: string
  clients: number
  members: number
  payloadBytes: number
  inFlight: number
  maxRatio: number
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

/** The CPU time that idle connections take, with keepalive. */
export interface IdleScenario {
  kind: 'idle'
  title: string
  clients: number
  windowMs: number
  maxCpuShare: number
}

/** One client that stops reading, while much is broadcast. */
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

/** Messages broadcast all in one go: how much memory that takes until the clients have them. */
export interface BurstScenario {
  kind: 'burst'
  title: string
  clients: number
  payloadBytes: number
  messages: number
  maxGrowthBytes: number
}

export type Scenario =
  | TrafficScenario
  | SparseScenario
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
}
