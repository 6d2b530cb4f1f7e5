/** The CPU time of clients that connect and leave again. */
export interface ConnectScenario {
  kind: 'connect'
  title: string
  framework: 'node' | 'fastify' | 'express' | 'koa'
  /** The number of clients in a round, and of those that are there at the same time. */
  clients: number
  atOnce: number
  /** Limit for the CPU time, over that of `ws`, and of an empty route of the framework if there is one. */
  maxRatio: number
}

/** The time until clients are connected that all come within a short time. */
export interface StormScenario {
  kind: 'storm'
  title: string
  clients: number
  withinMs: number
  /** Limit for the p99, over that of `ws`. */
  maxP99Ratio: number
}

const fiftyAtOnce = { kind: 'connect', clients: 2_000, atOnce: 50 } as const

/** The scenarios of clients that connect. */
export const CONNECT_SCENARIOS = {
  connect: {
    ...fiftyAtOnce,
    title: 'clients connect and leave with a close frame, 50 at a time, node:http',
    framework: 'node',
    maxRatio: 1.05,
  },
  'connect-fastify': {
    ...fiftyAtOnce,
    title: 'the same with Fastify, over ws and an empty route',
    framework: 'fastify',
    maxRatio: 1.15,
  },
  'connect-express': {
    ...fiftyAtOnce,
    title: 'the same with Express, over ws and an empty route',
    framework: 'express',
    maxRatio: 1.15,
  },
  'connect-koa': {
    ...fiftyAtOnce,
    title: 'the same with Koa, over ws and an empty route',
    framework: 'koa',
    maxRatio: 1.15,
  },
  'connect-storm': {
    kind: 'storm',
    title: '10,000 clients connect within 2 s, node:http',
    clients: 10_000,
    withinMs: 2_000,
    maxP99Ratio: 1.1,
  },
} as const satisfies Record<string, ConnectScenario | StormScenario>
