import type { Scenario } from './scenario.ts'

/** The scenarios of rooms with a history. */
export const HISTORY_SCENARIOS: Record<string, Scenario> = {
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
    seconds: 30,
    cutEveryMs: 10_000,
    awayMs: 2_000,
    downMs: 1_000,
  },
}
