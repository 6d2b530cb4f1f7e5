import { setTimeout as sleep } from 'node:timers/promises'
import { ClusterContestant } from './cluster-contestant.ts'
import type { ChurnScenario } from './cluster-scenario.ts'
import type { Engine } from './engine.ts'
import { clusterPeer } from './peers.ts'
import { median, type Result, type Row } from './result.ts'
import { roundsOf } from './rounds.ts'

const ROUNDS = roundsOf(5)
const PING_EVERY_MS = 10

interface Reading {
  perSecond: number
  nodeShare: number
  loopDelayP99Ms: number
  commandsPerSecond: number
  engineShare: number
  pingP99Ms: number
  deliveryP50Ms: number
  deliveryP99Ms: number
}

const FIGURES: readonly { key: keyof Reading; label: string; digits: number }[] = [
  { key: 'nodeShare', label: '% node CPU', digits: 0 },
  { key: 'loopDelayP99Ms', label: 'loop p99 ms', digits: 1 },
  { key: 'engineShare', label: '% engine CPU', digits: 1 },
  { key: 'commandsPerSecond', label: 'commands/s', digits: 0 },
  { key: 'pingP99Ms', label: 'PING p99 ms', digits: 1 },
  { key: 'deliveryP50Ms', label: 'delivery p50 ms', digits: 1 },
  { key: 'deliveryP99Ms', label: 'delivery p99 ms', digits: 1 },
  { key: 'perSecond', label: 'rooms/s', digits: 0 },
]

/**
 * Measures how responsive a node and its engine are while rooms come and go. All messages that another node
 * publishes must arrive.
 */
export async function runChurn(name: string, scenario: ChurnScenario): Promise<Result> {
  const entrants: { contestant: ClusterContestant; readings: Reading[] }[] = []
  try {
    for (const peerName of scenario.peers) {
      const contestant = await ClusterContestant.start(clusterPeer(peerName), 2)
      entrants.push({ contestant, readings: [] })
      await prepare(contestant, scenario)
    }
    for (let round = 0; round < ROUNDS; round++) {
      for (const { contestant, readings } of entrants) readings.push(await read(contestant, scenario))
    }
  } finally {
    await Promise.all(entrants.map(({ contestant }) => contestant.stop()))
  }
  const rows = entrants.map(({ contestant, readings }): Row => {
    const figures = FIGURES.map(({ key }) => {
      const figure = median(readings.map((reading) => reading[key]))
      return Number.isNaN(figure) ? undefined : figure // NATS does not count commands
    })
    const value = median(readings.map(({ engineShare }) => engineShare))
    return {
      name: contestant.peer.name,
      version: contestant.version,
      figures,
      ...(contestant.peer.name === 'wshub/redis' && {
        comparison: { value, unit: ' % Redis', atMost: scenario.maxRedisShare },
      }),
    }
  })
  return {
    scenario: name,
    title: scenario.title,
    figure: 'share of a core, and how long one waits meanwhile',
    columns: FIGURES,
    rows,
  }
}

/** Room 0 has its members on the first node, and the second node publishes. The first round is a warm-up. */
async function prepare(contestant: ClusterContestant, scenario: ChurnScenario): Promise<void> {
  const { clients, payloadBytes } = scenario
  await contestant.connect({
    clients,
    rooms: 1,
    roomsPerMember: 1,
    spread: { least: 1, most: 1 },
    payloadBytes,
  })
  await read(contestant, scenario)
}

async function read(contestant: ClusterContestant, scenario: ChurnScenario): Promise<Reading> {
  const { payloadBytes, roomsPerSecond, seconds, holdMs, messageEveryMs } = scenario
  const { engine } = contestant
  if (engine === undefined) throw new Error('the churn is measured at an engine')
  const messages = (seconds * 1000) / messageEveryMs
  const round = await contestant.measure(
    async () => {
      const pings = new Pings(engine)
      const [received, perSecond] = await Promise.all([
        contestant.publish({ messages, perTurn: 1, everyMs: messageEveryMs, publishers: [1], payloadBytes }),
        contestant.nodes[0]?.call<number>('churn', { roomsPerSecond, seconds, holdMs }),
      ])
      return { ...received, perSecond: perSecond ?? Number.NaN, pingP99Ms: await pings.stop() }
    },
    { sampleLoopDelay: true },
  )
  const [node] = round.nodes
  if (node === undefined) throw new Error('there is no node')
  return {
    perSecond: round.perSecond,
    nodeShare: node.cpuMicros / node.wallMs / 10,
    loopDelayP99Ms: node.loopDelayP99Ms ?? Number.NaN,
    commandsPerSecond: round.engine.commands / (node.wallMs / 1000),
    engineShare: round.engine.cpuMicros / node.wallMs / 10,
    pingP99Ms: round.pingP99Ms,
    deliveryP50Ms: round.p50Ms,
    deliveryP99Ms: round.p99Ms,
  }
}

/** Measures repeatedly how long the engine takes to answer. */
class Pings {
  readonly #engine: Engine
  readonly #millis: number[] = []
  readonly #done: Promise<void>
  #isStopped = false

  constructor(engine: Engine) {
    this.#engine = engine
    this.#done = this.#run()
  }

  /** Resolves with the p99. */
  async stop(): Promise<number> {
    this.#isStopped = true
    await this.#done
    const sorted = this.#millis.sort((a, b) => a - b)
    return sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      this.#millis.push(await this.#engine.ping())
      await sleep(PING_EVERY_MS)
    }
  }
}
