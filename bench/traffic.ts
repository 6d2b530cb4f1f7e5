import { Contestant, type Spent } from './contestant.ts'
import type { Received } from './load.ts'
import { findPeer, type Peer, type PeerName } from './peers.ts'
import { type Column, type Comparison, median, type Result, type Row } from './result.ts'
import { IS_TRIAL, roundsOf } from './rounds.ts'
import type { HistoryScenario, SparseScenario, TrafficScenario } from './scenario.ts'
import type { FeedName } from './servers/feeds.mjs'

/**
 * Each heat uses fresh processes, because two of the same program may differ. Few entrants get more heats.
 */
const HEATS_OF_MANY = 1
const HEATS_OF_FEW = roundsOf(3)
const ROUNDS_OF_MANY = roundsOf(7)
const ROUNDS_OF_FEW = roundsOf(5)
const WARM_UPS = roundsOf(3)
/** The CPU time of the server in a round. */
const ROUND_CPU_MICROS = IS_TRIAL ? 0.1e6 : 0.2e6
const FIRST_DELIVERIES = 20_000
/** Messages of a round where their pace is given, since a round does not take less time with less work. */
const PACED_MESSAGES = IS_TRIAL ? 50 : 250

export const COLUMNS: readonly Column[] = [
  { label: 'µs CPU', digits: 2 },
  { label: 'lowest', digits: 2 },
  { label: 'highest', digits: 2 },
  { label: 'per second', digits: 0 },
  { label: 'p50 ms', digits: 1 },
  { label: 'p99 ms', digits: 1 },
  { label: 'loop p99 ms', digits: 1 },
  { label: 'loop max ms', digits: 1 },
]

type Measured = Received & { spent: Spent }

/** A peer in a scenario: its work and its results. */
export interface Entrant {
  name: string
  peer: Peer
  traffic: Traffic
  version: string
  rounds: Measured[]
  /** One for each heat. */
  loopDelays: Spent[]
}

/** An entrant's processes, with all clients connected. */
interface Runner {
  contestant: Contestant
  entrant: Entrant
  /** Gives the server `amount` of work: messages, or turns of all clients. */
  work(amount: number): Promise<Received>
  amount: number
  amountStep: number
}

/** Compares wshub's CPU time per message with that of its peers. */
export async function runTraffic(name: string, scenario: TrafficScenario): Promise<Result> {
  const entrants: Entrant[] = []
  const missing: Row[] = []
  for (const peerName of ['wshub', ...Object.keys(scenario.targets)] as PeerName[]) {
    const peer = findPeer(peerName)
    if (peer) entrants.push(newEntrant(peerName, peer, scenario))
    else missing.push({ name: peerName, version: '', figures: [], note: 'not installable here' })
  }
  await compete(entrants)
  const figure = `server CPU per ${scenario.traffic === 'echo' ? 'echoed message' : 'delivery'}, µs`
  const rows = entrants.map((entrant, index) => {
    if (index === 0) return rowOf(entrant, loopDelayBound(entrant, scenario.maxLoopDelayMs))
    const atMost = scenario.targets[entrant.peer.name]
    return rowOf(entrant, { value: ratioOf(entrants[0], entrant), unit: '×', ...(atMost && { atMost }) })
  })
  return { scenario: name, title: scenario.title, figure, columns: COLUMNS, rows: [...rows, ...missing] }
}

/** Compares a broadcast in a large hub with the same broadcast in a hub that has no other connections. */
export async function runSparse(name: string, scenario: SparseScenario): Promise<Result> {
  const peer = findPeer('wshub')
  if (!peer) throw new Error('wshub is missing')
  const entrants = [scenario.clients, scenario.members].map((clients) =>
    newEntrant(`wshub, ${scenario.members} of ${clients}`, peer, {
      ...scenario,
      clients,
      traffic: 'broadcast',
      rooms: 1,
      roomsPerMember: 1,
      compression: false,
      messagesPerTurn: 1,
    }),
  )
  return compare(name, scenario, entrants)
}

/** Compares a room with a history with a room without one. */
export async function runHistory(name: string, scenario: HistoryScenario): Promise<Result> {
  const peer = findPeer('wshub')
  if (!peer) throw new Error('wshub is missing')
  const entrants = [true, false].map((history) =>
    newEntrant(`wshub, ${history ? 'with' : 'without'} a history`, peer, {
      ...scenario,
      traffic: 'broadcast',
      rooms: 1,
      roomsPerMember: 1,
      compression: false,
      history,
    }),
  )
  return compare(name, scenario, entrants)
}

/** Runs the first entrant against the second. */
async function compare(
  name: string,
  { title, maxRatio }: SparseScenario | HistoryScenario,
  entrants: readonly Entrant[],
): Promise<Result> {
  await compete(entrants)
  const value = ratioOf(entrants[0], entrants[1])
  const rows = entrants.map((entrant, index) =>
    rowOf(entrant, index === 0 ? undefined : { value, unit: '×', atMost: maxRatio }),
  )
  return { scenario: name, title, figure: 'server CPU per delivery, µs', columns: COLUMNS, rows }
}

type Traffic = Omit<TrafficScenario, 'kind' | 'title' | 'targets'> & {
  members?: number
  history?: boolean
  /** Settings of the compression, in the words of the peer. */
  settings?: string | object | undefined
  feed?: FeedName
  /** How long messages wait for others before they are written. */
  writeDelayMs?: number
  /** The interval of broadcasts, in ms; otherwise they follow each other as fast as clients take them. */
  everyMs?: number
}

export function newEntrant(name: string, peer: Peer, traffic: Traffic): Entrant {
  return { name, peer, traffic, version: '', rounds: [], loopDelays: [] }
}

/**
 * Runs the heats. In each, the entrants are measured in turns, so that a noisy neighbour affects all of them;
 * every second round goes in reverse order, so that none gains from its position.
 */
export async function compete(entrants: readonly Entrant[]): Promise<void> {
  const areMany = entrants.length > 3
  const [heats, rounds] = areMany ? [HEATS_OF_MANY, ROUNDS_OF_MANY] : [HEATS_OF_FEW, ROUNDS_OF_FEW]
  for (let heat = 0; heat < heats; heat++) {
    const runners: Runner[] = []
    try {
      for (const entrant of entrants) runners.push(await start(entrant))
      for (const runner of runners) await warmUp(runner)
      for (let round = 0; round < rounds; round++) {
        for (const runner of round % 2 === 0 ? runners : runners.toReversed()) {
          runner.entrant.rounds.push(await measure(runner))
        }
      }
      for (const runner of runners) {
        runner.entrant.loopDelays.push((await measure(runner, true)).spent)
      }
    } finally {
      await Promise.all(runners.map((runner) => runner.contestant.stop()))
    }
  }
}

async function start(entrant: Entrant): Promise<Runner> {
  const { traffic, clients, rooms, roomsPerMember, compression, payloadBytes, inFlight, ...rest } =
    entrant.traffic
  const members = rest.members ?? clients
  const perTurn = rest.messagesPerTurn
  const answer = ({ broadcast: 'nothing', chat: 'broadcast', echo: 'echo' } as const)[traffic]
  const { history = false, settings = compression, feed, writeDelayMs, everyMs } = rest
  const listening = { answer, rooms, compression: settings, history, writeDelayMs }
  const contestant = await Contestant.start(entrant.peer, listening)
  entrant.version = contestant.version
  try {
    await contestant.connect({
      clients,
      members,
      rooms,
      roomsPerMember,
      compression,
      payloadBytes,
      feed,
    })
  } catch (error) {
    await contestant.stop()
    throw error
  }
  const work = {
    broadcast: (messages: number) =>
      everyMs === undefined
        ? contestant.broadcast({ messages, perTurn, inFlight, rooms, payloadBytes, feed })
        : contestant.publish({ messages, perTurn, everyMs, rooms, payloadBytes }),
    chat: (turns: number) => contestant.load.call<Received>('chat', { turns }),
    echo: (count: number) => contestant.load.call<Received>('echo', { count, inFlight }),
  }[traffic]
  const deliveriesPerAmount = {
    broadcast: (members * roomsPerMember) / rooms,
    chat: clients ** 2,
    echo: clients,
  }
  const isPaced = everyMs !== undefined
  const amount = isPaced ? PACED_MESSAGES : Math.ceil(FIRST_DELIVERIES / deliveriesPerAmount[traffic])
  return { contestant, entrant, work, amount, amountStep: traffic === 'broadcast' ? perTurn : 1 }
}

/** Runs until the code is compiled, and determines the amount of work of a round. */
async function warmUp(runner: Runner): Promise<void> {
  for (let pass = 0; pass < WARM_UPS; pass++) {
    const { spent } = await measure(runner)
    if (runner.entrant.traffic.everyMs !== undefined) continue
    const amount = (runner.amount * ROUND_CPU_MICROS) / spent.cpuMicros
    runner.amount = Math.max(1, Math.round(amount / runner.amountStep)) * runner.amountStep
  }
}

function measure({ contestant, work, amount }: Runner, sampleLoopDelay = false): Promise<Measured> {
  return contestant.measure(() => work(amount), { sampleLoopDelay })
}

/** Returns the figures of {@link COLUMNS}. */
export function rowOf(entrant: Entrant, comparison: Comparison | undefined): Row {
  const { name, version, rounds } = entrant
  const costs = rounds.map(costOf)
  return {
    name,
    version,
    figures: [
      median(costs),
      Math.min(...costs),
      Math.max(...costs),
      median(rounds.map((round) => round.deliveries / (round.spent.wallMs / 1000))),
      median(rounds.map((round) => round.p50Ms)),
      median(rounds.map((round) => round.p99Ms)),
      loopDelayOf(entrant, 'loopDelayP99Ms'),
      loopDelayOf(entrant, 'loopDelayMaxMs'),
    ],
    ...(comparison && { comparison }),
  }
}

/** The median over the rounds, each compared with the round that ran beside it. */
export function ratioOf(subject: Entrant | undefined, other: Entrant | undefined): number {
  const others = other?.rounds.map(costOf) ?? []
  return median(subject?.rounds.map((round, index) => costOf(round) / (others[index] ?? Number.NaN)) ?? [])
}

/** The median over the heats; `undefined` for a runtime without the figure. */
function loopDelayOf({ loopDelays }: Entrant, key: 'loopDelayP99Ms' | 'loopDelayMaxMs'): number | undefined {
  const known = loopDelays.flatMap((spent) => spent[key] ?? [])
  return known.length > 0 ? median(known) : undefined
}

function loopDelayBound(entrant: Entrant, atMost: number | undefined): Comparison | undefined {
  if (atMost === undefined) return undefined
  return { value: loopDelayOf(entrant, 'loopDelayMaxMs') ?? Number.NaN, unit: ' ms loop max', atMost }
}

export function costOf({ spent, deliveries }: Measured): number {
  return spent.cpuMicros / deliveries
}
