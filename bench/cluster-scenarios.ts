import type { Scenario } from './scenario.ts'

const overFourNodes = {
  kind: 'cluster',
  nodes: 4,
  clients: 400,
  roomsPerMember: 2,
  spread: { least: 2, most: 4 },
  payloadBytes: 120,
  maxCpuRatio: 0.5,
} as const

/** Rooms of 100: messages of one turn to a client share a write. */
const inTurnsOfTen = { rooms: 8, messagesPerTurn: 10, turnMs: 100, turns: 25, maxLatencyRatio: 1 } as const

/** Rooms of 20: a client gets a message every 40 ms. */
const alone = { rooms: 40, messagesPerTurn: 1, turnMs: 8, turns: 300, maxBytesRatio: 0.6 } as const

/** The scenarios of several nodes. */
export const CLUSTER_SCENARIOS: Record<string, Scenario> = {
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
    ...alone,
    title: '4 nodes, each publishes 1 message every 8 ms to rooms of 20 on 2 to 4 of them, 120 bytes',
    subject: 'wshub/redis',
    peers: ['Socket.IO redis-adapter', 'Socket.IO redis-adapter, sharded', 'wshub/nats'],
    maxLatencyRatio: 1,
  },
  'cluster-redis-alone-delayed': {
    ...overFourNodes,
    ...alone,
    title: 'the same with a writeDelayMs of 5',
    subject: 'wshub/redis, writeDelayMs 5',
    peers: ['Socket.IO redis-adapter', 'wshub/redis'],
    maxCpuRatio: 0.35,
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
    seconds: 3,
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
