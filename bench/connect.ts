import { fileURLToPath } from 'node:url'
import type { ComeAndGoOptions, Handshakes, StormOptions } from './connect-load.ts'
import type { ConnectScenario, StormScenario } from './connect-scenarios.ts'
import type { Spent } from './contestant.ts'
import { findPeer } from './peers.ts'
import { type Column, median, type Result, type Row } from './result.ts'
import { roundsOf } from './rounds.ts'
import { Subprocess } from './subprocess.ts'

const ROUNDS = roundsOf(7)
const WARM_UP_ROUNDS = roundsOf(2)
const SERVER_CORE = 0
const LOAD_CORE = 1

const FRAMEWORKS = { node: 'node:http', fastify: 'Fastify', express: 'Express', koa: 'Koa' } as const

/** A round of an entrant. */
interface Reading extends Handshakes {
  /** For each client, and for a request to the empty route if that is part of it. */
  cpuMicros: number
  /** The part of the empty route; 0 without one. */
  routeMicros: number
  perSecond: number
}

/** The rounds of one server process. */
interface Entrant {
  name: string
  version: string
  port: number
  server: Subprocess
  readings: Reading[]
}

const COLUMNS: readonly (Column & { key: keyof Reading })[] = [
  { key: 'routeMicros', label: 'empty route', digits: 1 },
  { key: 'perSecond', label: 'per second', digits: 0 },
  { key: 'p50Ms', label: 'p50 ms', digits: 1 },
  { key: 'p99Ms', label: 'p99 ms', digits: 1 },
  { key: 'refused', label: 'refused', digits: 0 },
]

/**
 * Compares the server's CPU time for a client that connects and leaves. With a framework, its share in an
 * upgrade of wshub is that of an empty route, which is added to the CPU time of ws.
 */
export async function runConnect(name: string, scenario: ConnectScenario): Promise<Result> {
  const { framework, clients, atOnce, maxRatio } = scenario
  const label = FRAMEWORKS[framework]
  const isPlain = framework === 'node'
  const { entrants, load, stop } = await start([
    [`wshub, ${label}`, 'wshub', framework],
    [isPlain ? 'ws' : `ws, and an empty route of ${label}`, 'ws', framework],
    ...(isPlain ? ([['uWebSockets.js', 'uWebSockets.js', framework]] as const) : []),
  ])
  try {
    await compete(entrants, async ({ name: entrant, port, server }) => {
      const handshakes = await measure(server, () =>
        load.call<Handshakes>('comeAndGo', { port, clients, atOnce } satisfies ComeAndGoOptions),
      )
      const route = entrant.startsWith('ws, and')
        ? await measure(server, () => load.call('request', { port, requests: clients, atOnce }))
        : undefined
      const routeMicros = (route?.cpuMicros ?? 0) / clients
      return {
        ...handshakes.result,
        cpuMicros: handshakes.cpuMicros / clients + routeMicros,
        routeMicros,
        perSecond: clients / (handshakes.wallMs / 1000),
      }
    })
  } finally {
    await stop()
  }
  const [subject] = entrants
  const rows = entrants.map((entrant, index): Row => {
    if (index === 0) return rowOf(entrant)
    const value = ratioOf('cpuMicros', subject, entrant)
    return rowOf(entrant, { value, unit: '×', ...(index === 1 && { atMost: maxRatio }) })
  })
  return resultOf(name, scenario, 'server CPU for a client that connects and leaves, µs', rows)
}

/** Compares how long clients wait that all connect within a short time. Nobody may be refused. */
export async function runStorm(name: string, scenario: StormScenario): Promise<Result> {
  const { clients, withinMs, maxP99Ratio } = scenario
  const { entrants, load, stop } = await start([
    ['wshub, node:http', 'wshub', 'node'],
    ['ws', 'ws', 'node'],
    ['uWebSockets.js', 'uWebSockets.js', 'node'],
  ])
  try {
    await compete(entrants, async ({ port, server }) => {
      const { result, cpuMicros, wallMs } = await measure(server, () =>
        load.call<Handshakes>('storm', { port, clients, withinMs } satisfies StormOptions),
      )
      const perSecond = clients / (wallMs / 1000)
      return { ...result, cpuMicros: cpuMicros / clients, routeMicros: 0, perSecond }
    })
  } finally {
    await stop()
  }
  const [subject] = entrants
  const refused = Math.max(...(subject?.readings ?? []).map((reading) => reading.refused))
  const rows = entrants.map((entrant, index): Row => {
    if (index === 0) return rowOf(entrant, { value: refused, unit: ' refused', atMost: 0 })
    const value = ratioOf('p99Ms', subject, entrant)
    return rowOf(entrant, { value, unit: '×', ...(index === 1 && { atMost: maxP99Ratio }) })
  })
  return resultOf(name, scenario, 'server CPU for each client, µs; the comparison is that of p99', rows)
}

/** Starts the servers, and one process of clients for all. A peer that cannot be installed is left out. */
async function start(
  specs: readonly (readonly [name: string, library: 'wshub' | 'ws' | 'uWebSockets.js', framework: string])[],
) {
  const load = new Subprocess(
    'clients',
    process.execPath,
    ['--import', 'tsx', fileURLToPath(new URL('connect-load.ts', import.meta.url))],
    LOAD_CORE,
  )
  const servers: Subprocess[] = []
  const stop = async () => void (await Promise.all([load, ...servers].map((each) => each.stop())))
  const entrants: Entrant[] = []
  try {
    for (const [name, library, framework] of specs) {
      const file =
        library === 'uWebSockets.js'
          ? findPeer(library)?.file
          : fileURLToPath(new URL('servers/connect.mjs', import.meta.url))
      if (file === undefined) continue
      const server = new Subprocess(name, process.execPath, [file], SERVER_CORE)
      servers.push(server)
      const options = { library, framework, answer: 'nothing', compression: false }
      const { port, version } = await server.call<{ port: number; version: string }>('listen', options)
      entrants.push({ name, version: library === 'ws' ? '' : version, port, server, readings: [] })
    }
  } catch (error) {
    await stop()
    throw error
  }
  return { entrants, load, stop }
}

/** Measures the entrants in turns; every second round goes in reverse order. */
async function compete(
  entrants: readonly Entrant[],
  read: (entrant: Entrant) => Promise<Reading>,
): Promise<void> {
  for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round++) {
    for (const entrant of round % 2 === 0 ? entrants : entrants.toReversed()) {
      const reading = await read(entrant)
      if (round >= 0) entrant.readings.push(reading)
    }
  }
}

async function measure<Outcome>(server: Subprocess, work: () => Promise<Outcome>) {
  await server.call('beginRound', { sampleLoopDelay: false })
  const result = await work()
  return { result, ...(await server.call<Spent>('endRound')) }
}

/** Returns the median of the ratios of the rounds. */
function ratioOf(key: keyof Reading, subject: Entrant | undefined, other: Entrant): number {
  const ratios = other.readings.map(
    (reading, round) => (subject?.readings[round]?.[key] ?? Number.NaN) / reading[key],
  )
  return median(ratios)
}

function rowOf({ name, version, readings }: Entrant, comparison?: Row['comparison']): Row {
  const costs = readings.map(({ cpuMicros }) => cpuMicros)
  const others = COLUMNS.map(({ key }) => median(readings.map((reading) => reading[key])))
  const figures = [median(costs), Math.min(...costs), Math.max(...costs), ...others]
  return { name, version, figures, ...(comparison && { comparison }) }
}

function resultOf(scenario: string, { title }: { title: string }, figure: string, rows: Row[]): Result {
  const cost = ['µs CPU', 'lowest', 'highest'].map((label) => ({ label, digits: 1 }))
  return { scenario, title, figure, columns: [...cost, ...COLUMNS], rows }
}
