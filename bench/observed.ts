import { fileURLToPath } from 'node:url'
import { Contestant, type Memory } from './contestant.ts'
import type { Peer } from './peers.ts'
import { median, type Result, type Row } from './result.ts'
import { roundsOf } from './rounds.ts'
import type { ObservedScenario } from './scenario.ts'

/** How the metrics of a hub are used in a round. */
const MODES = ['without metrics', 'with metrics', 'scraped ten times a second'] as const

type Mode = (typeof MODES)[number]

/** Many short rounds in turns: what else the machine does meets all modes. */
const ROUNDS = roundsOf(41)
/** The CPU time of the server in a round, in which it is scraped once: ten times in a second of CPU time. */
const ROUND_CPU_MICROS = 0.1e6
const SCRAPES = 9
/** Opened before the first reading of the memory, so that code and pools are not counted as connections. */
const FIRST_CLIENTS = 1_000
const MEASURED_CLIENTS = 5_000

/** A server with metrics, and the messages that are sent through it. */
interface Runner {
  readonly contestant: Contestant
  readonly scenario: ObservedScenario
  messages: number
}

/**
 * Compares the CPU time of a delivery with and without metrics, in turns within one process, since two of
 * them may differ by more. Compares the memory of a connection in two processes, one of which has an
 * inspector as well.
 */
export async function runObserved(name: string, scenario: ObservedScenario): Promise<Result> {
  const { maxMountedRatio, maxScrapedRatio, maxScrapeMs, maxExtraBytes, clients } = scenario
  const [plainBytes, bytes] = [await memoryOf(scenario, false), await memoryOf(scenario, true)]
  const observed = await start(scenario)
  try {
    await connect(observed, clients)
    const costs = await deliver(observed)
    const scrapes = await observed.contestant.server.call<number[]>('scrape', { count: SCRAPES })
    const rows = MODES.map((mode): Row => {
      const own = costs[mode]
      const figures = [median(own), Math.min(...own), Math.max(...own)]
      const row: Row = { name: mode, version: observed.contestant.version, figures }
      if (mode === 'without metrics') return row
      const value = median(own.map((cost, round) => cost / (costs['without metrics'][round] ?? Number.NaN)))
      const atMost = mode === 'with metrics' ? maxMountedRatio : maxScrapedRatio
      return { ...row, comparison: { value, unit: '×', atMost } }
    })
    const scrapeMs = median(scrapes)
    return {
      scenario: name,
      title: scenario.title,
      figure: 'server CPU per delivery, µs',
      columns: [
        { label: 'µs CPU', digits: 3 },
        { label: 'lowest', digits: 3 },
        { label: 'highest', digits: 3 },
        { label: 'ms a scrape', digits: 1 },
        { label: 'heap bytes a connection', digits: 0 },
      ],
      rows: [
        ...rows,
        {
          name: `a scrape of ${clients} connections`,
          version: '',
          figures: [undefined, undefined, undefined, scrapeMs],
          comparison: { value: scrapeMs, unit: ' ms', atMost: maxScrapeMs },
        },
        {
          name: 'memory',
          version: '',
          figures: [undefined, undefined, undefined, undefined, bytes],
          comparison: { value: bytes - plainBytes, unit: ' B', atMost: maxExtraBytes },
        },
      ],
    }
  } finally {
    await observed.contestant.stop()
  }
}

async function start(scenario: ObservedScenario): Promise<Runner> {
  const file = fileURLToPath(new URL('servers/wshub-observed.mjs', import.meta.url))
  const peer: Peer = { name: 'wshub', file, runtime: process.execPath, dialect: 'plain' }
  const options = { answer: 'nothing', rooms: 1, compression: false } as const
  return { contestant: await Contestant.start(peer, options, ['--expose-gc']), scenario, messages: 10 }
}

function connect({ contestant, scenario }: Runner, clients: number): Promise<void> {
  const rooms = { rooms: 1, roomsPerMember: 1 }
  const { payloadBytes } = scenario
  return contestant.connect({ clients, members: clients, ...rooms, compression: false, payloadBytes })
}

/** Resolves with the heap of a connection: with an inspector and metrics that are read once, or without. */
async function memoryOf(scenario: ObservedScenario, isMounted: boolean): Promise<number> {
  const runner = await start(scenario)
  const { server } = runner.contestant
  const readWith = async (clients: number) => {
    await connect(runner, clients)
    if (isMounted) await server.call('scrape', { count: 1 })
    return (await server.call<Memory>('memory')).heapBytes
  }
  try {
    if (isMounted) {
      await server.call('mount')
      await server.call('inspect')
    }
    const before = await readWith(FIRST_CLIENTS)
    const after = await readWith(FIRST_CLIENTS + MEASURED_CLIENTS)
    return (after - before) / MEASURED_CLIENTS
  } finally {
    await runner.contestant.stop()
  }
}

/** Sends in all modes in turns, every second time in reverse order; resolves with the costs of the rounds. */
async function deliver(runner: Runner): Promise<Record<Mode, number[]>> {
  for (let pass = 0; pass < 3; pass++) {
    const { cpuMicros } = await round(runner, 'scraped ten times a second')
    runner.messages = Math.max(1, Math.round((runner.messages * ROUND_CPU_MICROS) / cpuMicros))
  }
  const costs: Record<Mode, number[]> = {
    'without metrics': [],
    'with metrics': [],
    'scraped ten times a second': [],
  }
  for (let count = 0; count < ROUNDS; count++) {
    for (const mode of count % 2 === 0 ? MODES : MODES.toReversed()) {
      const { cpuMicros, deliveries } = await round(runner, mode)
      costs[mode].push(cpuMicros / deliveries)
    }
  }
  return costs
}

async function round({ contestant, scenario, messages }: Runner, mode: Mode) {
  await contestant.server.call(mode === 'without metrics' ? 'unmount' : 'mount')
  const { payloadBytes, inFlight } = scenario
  const { deliveries, spent } = await contestant.measure(async () => {
    const sent = contestant.broadcast({ messages, perTurn: 1, inFlight, rooms: 1, payloadBytes })
    if (mode === 'scraped ten times a second') await scrape(contestant.port)
    return sent
  })
  return { deliveries, cpuMicros: spent.cpuMicros }
}

/** Reads the metrics over HTTP, as Prometheus does. */
async function scrape(port: number): Promise<void> {
  const text = await fetch(`http://127.0.0.1:${port}/metrics`).then((response) => response.text())
  if (!text.includes('wshub_connections')) throw new Error('a scrape has no metrics of the hub')
}
