import { setTimeout as sleep } from 'node:timers/promises'
import { ClusterContestant, type ClusterSpent } from './cluster-contestant.ts'
import {
  type Activity,
  type Cost,
  costOf,
  expectedSpread,
  meanSpread,
  type Placement,
} from './cluster-model.ts'
import type { PredictionScenario, ProjectionScenario } from './cluster-scenario.ts'
import { clusterPeer } from './peers.ts'
import { median, type Result, type Row } from './result.ts'
import { nodesOfRoom } from './room-spread.ts'
import { roundsOf } from './rounds.ts'
import { seededRandom } from './servers/payload.mjs'

const ROUNDS = roundsOf(5)
const HEARTBEAT_MS = 5_000
const NAMESPACE = 'wshub'

/** Compares the model with a run of nodes and Redis. */
export async function runPrediction(name: string, scenario: PredictionScenario): Promise<Result> {
  const rows: Row[] = []
  for (const [what, pace] of Object.entries(scenario.runs)) {
    const { nodes, clients, spread, payloadBytes } = scenario
    const { beatMs = HEARTBEAT_MS, messagesPerSecond = 0, calls = 0, seconds } = pace
    const cluster = { heartbeatIntervalMs: beatMs, heartbeatTimeoutMs: Math.max(beatMs * 3, 15_000) }
    const contestant = await ClusterContestant.start(clusterPeer('wshub/redis'), nodes, { cluster })
    try {
      await contestant.connect({ clients, rooms: scenario.rooms, roomsPerMember: 2, spread, payloadBytes })
      const work = async () => {
        const jobs: Promise<unknown>[] = [sleep(seconds * 1000)]
        if (messagesPerSecond > 0) {
          const perTurn = 5
          const everyMs = (perTurn * nodes * 1000) / messagesPerSecond
          const messages = (messagesPerSecond * seconds) / nodes
          const publishers = Array.from({ length: nodes }, (_, node) => node)
          jobs.push(contestant.publish({ messages, perTurn, everyMs, publishers, payloadBytes }))
        }
        if (calls > 0) jobs.push(contestant.nodes[0]?.call('ask', { calls }) ?? Promise.resolve())
        await Promise.all(jobs)
        return {}
      }
      await work()
      const measured: Measured[] = []
      while (measured.length < ROUNDS) {
        const before = await received(contestant)
        const spent = await contestant.measure(work)
        measured.push(read(spent, (await received(contestant)) - before))
      }
      const wall = median(measured.map(({ seconds }) => seconds))
      const predicted = costOf({
        nodes,
        namespace: NAMESPACE,
        roomNameBytes: 1,
        payloadBytes,
        messagesPerSecond: (messagesPerSecond * seconds) / wall,
        rooms: Array.from({ length: scenario.rooms }, (_, room) => nodesOfRoom(room, nodes, spread)),
        occupiedNodes: nodes,
        heartbeatsPerSecond: 1000 / beatMs,
        callsPerSecond: calls / wall,
        subscriptionsPerSecond: 0,
      })
      rows.push(...compared(what, predicted, measured, scenario.maxDifference))
    } finally {
      await contestant.stop()
    }
  }
  return {
    scenario: name,
    title: scenario.title,
    figure: 'a second',
    columns: [
      { label: 'predicted', digits: 0 },
      { label: 'measured', digits: 0 },
    ],
    rows,
    isCheck: true,
  }
}

/** The model's figures for larger clusters, with each connection placed individually. */
export async function runProjection(name: string, scenario: ProjectionScenario): Promise<Result> {
  const rows = scenario.deployments.map(({ nodes, members, keptOn }): Row => {
    const connections = nodes * scenario.connectionsPerNode
    const rooms = place(connections, nodes, members, keptOn ?? nodes)
    // Each connection is in one room, and gets that many messages a second.
    const messagesPerSecond = (connections * scenario.messagesPerConnection) / members
    const activity: Activity = {
      nodes,
      namespace: NAMESPACE,
      roomNameBytes: 8,
      payloadBytes: scenario.payloadBytes,
      messagesPerSecond,
      rooms,
      occupiedNodes: nodes,
      heartbeatsPerSecond: 1000 / HEARTBEAT_MS,
      callsPerSecond: 0,
      subscriptionsPerSecond: 0,
    }
    const { engine, heartbeats, node } = costOf(activity)
    const spread = meanSpread(rooms)
    const formula = expectedSpread(Math.min(nodes, keptOn ?? nodes), members)
    if (Math.abs(spread / formula - 1) > 0.02) throw new Error(`the spread is ${spread}, not ${formula}`)
    const name = `${count(connections)} on ${nodes}, rooms of ${count(members)}`
    return {
      name: keptOn === undefined ? name : `${name} kept on ${keptOn}`,
      version: '',
      figures: [
        spread,
        engine.messagesIn,
        engine.messagesOut,
        (engine.bytesIn + engine.bytesOut) / 1e6,
        heartbeats.messagesOut,
        node.received,
        (node.bytesIn + node.bytesOut) / 1e6,
        (connections * scenario.messagesPerConnection) / nodes,
      ],
    }
  })
  return {
    scenario: name,
    title: scenario.title,
    figure: 'a second, by the model; a heartbeat every 5 s',
    columns: [
      { label: 'nodes a room', digits: 1 },
      { label: 'engine in', digits: 0 },
      { label: 'engine out', digits: 0 },
      { label: 'engine MB', digits: 1 },
      { label: 'of it heartbeats', digits: 0 },
      { label: 'a node receives', digits: 0 },
      { label: 'node MB', digits: 2 },
      { label: 'node delivers', digits: 0 },
    ],
    rows,
  }
}

interface Measured {
  seconds: number
  received: number
  bytesIn: number
  bytesOut: number
  nodeBytesIn: number
}

function read({ nodes, engine }: ClusterSpent, received: number): Measured {
  const seconds = Math.max(...nodes.map(({ wallMs }) => wallMs)) / 1000
  const nodeBytes = nodes.reduce((sum, { readBytes = Number.NaN }) => sum + readBytes, 0) / nodes.length
  return {
    seconds,
    received: received / nodes.length / seconds,
    bytesIn: engine.receivedBytes / seconds,
    bytesOut: engine.sentBytes / seconds,
    nodeBytesIn: nodeBytes / seconds,
  }
}

async function received(contestant: ClusterContestant): Promise<number> {
  const all = await Promise.all(contestant.nodes.map((node) => node.call<{ received: number }>('stats')))
  return all.reduce((sum, { received }) => sum + received, 0)
}

function compared(
  what: string,
  { engine, node }: Cost,
  measured: readonly Measured[],
  atMost: number,
): Row[] {
  const pairs = [
    ['bytes into Redis', engine.bytesIn, 'bytesIn'],
    ['bytes out of Redis', engine.bytesOut, 'bytesOut'],
    ['bytes into a node', node.bytesIn, 'nodeBytesIn'],
    ['messages to a node', node.received, 'received'],
  ] as const
  return pairs
    .filter(([, predicted]) => predicted > 0)
    .map(([label, predicted, key]) => {
      const actual = median(measured.map((round) => round[key]))
      const value = Math.abs(predicted / actual - 1) * 100
      return {
        name: `${what}: ${label}`,
        version: '',
        figures: [predicted, actual],
        comparison: { value, unit: ' % off', atMost },
      }
    })
}

/**
 * Puts each connection on a random node, into rooms of the given size; the members of a room are on the given
 * number of nodes, beginning with its own.
 */
function place(connections: number, nodes: number, members: number, keptOn: number): Placement[] {
  const random = seededRandom(connections + members)
  const rooms: Placement[] = []
  for (let room = 0; room < connections / members; room++) {
    const taken = new Set<number>()
    for (let member = 0; member < members; member++) {
      taken.add((room + Math.floor(random() * keptOn)) % nodes)
    }
    rooms.push([...taken])
  }
  return rooms
}

function count(value: number): string {
  return value.toLocaleString('en-US')
}
