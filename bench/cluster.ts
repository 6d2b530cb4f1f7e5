import { ClusterContestant, type ClusterRound, type Publishing } from './cluster-contestant.ts'
import type { ClusterScenario } from './cluster-scenario.ts'
import { clusterPeer } from './peers.ts'
import { type Column, median, type Result, type Row } from './result.ts'
import { roundsOf } from './rounds.ts'

const ROUNDS = roundsOf(5)
const WARM_UPS = roundsOf(2)

const COLUMNS: readonly Column[] = [
  { label: 'µs CPU', digits: 2 },
  { label: 'lowest', digits: 2 },
  { label: 'highest', digits: 2 },
  { label: 'µs a message', digits: 0 },
  { label: 'engine bytes', digits: 0 },
  { label: 'engine µs', digits: 1 },
  { label: 'p50 ms', digits: 1 },
  { label: 'p99 ms', digits: 1 },
  { label: 'loop p99 ms', digits: 1 },
]

/** A contestant in a scenario, and its result. */
interface Entrant {
  contestant: ClusterContestant
  rounds: ClusterRound[]
  loopDelayP99Ms: number
}

/** Compares nodes that share their rooms. */
export async function runCluster(name: string, scenario: ClusterScenario): Promise<Result> {
  const entrants = await compete(scenario)
  const [subject, ...others] = entrants
  if (subject === undefined) throw new Error('nobody to measure')
  const rows: Row[] = [rowOf(subject)]
  for (const other of others) {
    if (other.contestant.peer.name.startsWith('wshub')) {
      rows.push(rowOf(other))
      continue
    }
    const compare = (of: (round: ClusterRound) => number, atMost: number | undefined) => ({
      value: ratioOf(subject, other, of),
      unit: '×',
      ...(atMost && { atMost }),
    })
    const { name } = other.contestant.peer
    rows.push({ ...rowOf(other), comparison: compare(cpuPerDelivery, scenario.maxCpuRatio) })
    if (scenario.maxBytesRatio !== undefined) {
      rows.push(remark(`${name}: engine bytes`, compare(engineBytes, scenario.maxBytesRatio)))
    }
    if (scenario.maxLatencyRatio !== undefined) {
      rows.push(
        remark(
          `${name}: p99`,
          compare(({ p99Ms }) => p99Ms, scenario.maxLatencyRatio),
        ),
      )
    }
  }
  return {
    scenario: name,
    title: scenario.title,
    figure: 'CPU of all nodes per delivery, µs',
    columns: COLUMNS,
    rows,
  }
}

/** Rounds in turns, every second one in reverse order, as for the other traffic. */
async function compete(scenario: ClusterScenario): Promise<Entrant[]> {
  const { clients, rooms, roomsPerMember, spread, nodes, payloadBytes } = scenario
  const entrants: Entrant[] = []
  const pace: Publishing = {
    messages: scenario.turns * scenario.messagesPerTurn,
    perTurn: scenario.messagesPerTurn,
    everyMs: scenario.turnMs,
    publishers: Array.from({ length: nodes }, (_, node) => node),
    payloadBytes,
  }
  try {
    for (const name of [scenario.subject, ...scenario.peers]) {
      const contestant = await ClusterContestant.start(clusterPeer(name), nodes)
      entrants.push({ contestant, rounds: [], loopDelayP99Ms: Number.NaN })
      await contestant.connect({ clients, rooms, roomsPerMember, spread, payloadBytes })
    }
    for (let round = -WARM_UPS; round < ROUNDS; round++) {
      for (const entrant of round % 2 === 0 ? entrants : entrants.toReversed()) {
        const { contestant, rounds } = entrant
        const result = await contestant.measure(() => contestant.publish(pace))
        if (round >= 0) rounds.push(result)
      }
    }
    for (const entrant of entrants) {
      const { contestant } = entrant
      const { nodes } = await contestant.measure(() => contestant.publish(pace), { sampleLoopDelay: true })
      entrant.loopDelayP99Ms = Math.max(...nodes.map(({ loopDelayP99Ms = Number.NaN }) => loopDelayP99Ms))
    }
    return entrants
  } finally {
    await Promise.all(entrants.map(({ contestant }) => contestant.stop()))
  }
}

function rowOf({ contestant, rounds, loopDelayP99Ms }: Entrant): Row {
  const costs = rounds.map(cpuPerDelivery)
  return {
    name: contestant.peer.name,
    version: contestant.version,
    figures: [
      median(costs),
      Math.min(...costs),
      Math.max(...costs),
      median(rounds.map((round) => cpuOf(round) / round.messages)),
      contestant.engine && median(rounds.map(engineBytes)),
      engineMicros(rounds),
      median(rounds.map(({ p50Ms }) => p50Ms)),
      median(rounds.map(({ p99Ms }) => p99Ms)),
      loopDelayP99Ms,
    ],
  }
}

function remark(name: string, comparison: NonNullable<Row['comparison']>): Row {
  return { name, version: '', figures: [], comparison }
}

/** The median over the rounds, each compared with the round that ran beside it. */
function ratioOf(subject: Entrant, other: Entrant, of: (round: ClusterRound) => number): number {
  const others = other.rounds.map(of)
  return median(subject.rounds.map((round, index) => of(round) / (others[index] ?? Number.NaN)))
}

/** Of the nodes and their primary, which does the work of a broker. */
function cpuOf({ nodes, primary }: ClusterRound): number {
  return nodes.reduce((sum, { cpuMicros }) => sum + cpuMicros, primary?.cpuMicros ?? 0)
}

function cpuPerDelivery(round: ClusterRound): number {
  return cpuOf(round) / round.deliveries
}

/** In and out, for each message. */
function engineBytes({ engine, messages }: ClusterRound): number {
  return (engine.receivedBytes + engine.sentBytes) / messages
}

/**
 * The cost of each message for the engine itself: Redis, NATS, or the primary. Over all rounds, because it
 * may be counted coarsely.
 */
function engineMicros(rounds: readonly ClusterRound[]): number {
  const micros = rounds.reduce((sum, { engine, primary }) => sum + (primary ?? engine).cpuMicros, 0)
  return micros / rounds.reduce((sum, { messages }) => sum + messages, 0)
}
