import { setTimeout as sleep } from 'node:timers/promises'
import { ClusterContestant, type ClusterSpent } from './cluster-contestant.ts'
import type { BystandersScenario } from './cluster-scenario.ts'
import { clusterPeer } from './peers.ts'
import { median, type Result, type Row } from './result.ts'
import { roundsOf } from './rounds.ts'

const ROUNDS = roundsOf(5)

interface Reading {
  /** CPU time of the nodes that have no member in the room. */
  othersMicros: number
  idleMicros: number
  ownMicros: number
  /** Bytes that each of them reads. */
  bytes: number
  engineMicros: number
}

/**
 * Measures the cost of messages for nodes without a member in the room, and their cost in the same time
 * without any messages.
 */
export async function runBystanders(name: string, scenario: BystandersScenario): Promise<Result> {
  const rows: Row[] = []
  for (const peerName of scenario.peers) {
    const contestant = await ClusterContestant.start(clusterPeer(peerName), scenario.nodes)
    try {
      const readings = await readRounds(contestant, scenario)
      const of = (key: keyof Reading) => median(readings.map((reading) => reading[key]))
      const extra = Math.max(0, of('othersMicros') - of('idleMicros'))
      const isSubject = peerName.startsWith('wshub')
      if (isSubject) await assertNothingReceived(contestant)
      rows.push({
        name: peerName,
        version: contestant.version,
        figures: [
          extra,
          of('othersMicros'),
          of('idleMicros'),
          of('bytes'),
          of('ownMicros'),
          of('engineMicros'),
        ],
        ...(isSubject && { comparison: { value: extra, unit: ' µs', atMost: scenario.maxExtraMicros } }),
      })
      if (isSubject) {
        const comparison = { value: of('bytes'), unit: ' B', atMost: scenario.maxBytes }
        rows.push({ name: `${peerName}: bytes each`, version: '', figures: [], comparison })
      }
    } finally {
      await contestant.stop()
    }
  }
  return {
    scenario: name,
    title: scenario.title,
    figure: 'CPU of the other nodes per message, over that when nobody publishes, µs',
    columns: [
      { label: 'µs more', digits: 2 },
      { label: 'µs others', digits: 2 },
      { label: 'µs idle', digits: 2 },
      { label: 'bytes each', digits: 2 },
      { label: 'µs publisher', digits: 1 },
      { label: 'engine µs', digits: 1 },
    ],
    rows,
  }
}

async function readRounds(contestant: ClusterContestant, scenario: BystandersScenario): Promise<Reading[]> {
  const { clients, payloadBytes, messagesPerTurn, turnMs, turns } = scenario
  const messages = turns * messagesPerTurn
  await contestant.connect({
    clients,
    rooms: 1,
    roomsPerMember: 1,
    spread: { least: 1, most: 1 },
    payloadBytes,
  })
  const publish = () =>
    contestant.publish({ messages, perTurn: messagesPerTurn, everyMs: turnMs, publishers: [0], payloadBytes })
  const idle = async () => {
    await sleep(turns * turnMs)
    return {}
  }
  await publish()
  const readings: Reading[] = []
  while (readings.length < ROUNDS) {
    const round = await contestant.measure(publish)
    const pause = await contestant.measure(idle)
    const [own, ...others] = round.nodes
    readings.push({
      othersMicros: othersMicros(round) / messages,
      idleMicros: othersMicros(pause) / messages,
      ownMicros: (own?.cpuMicros ?? Number.NaN) / messages,
      bytes: Math.max(...others.map(({ readBytes = Number.NaN }) => readBytes)) / messages,
      engineMicros: round.engine.cpuMicros / messages,
    })
  }
  return readings
}

function othersMicros({ nodes }: ClusterSpent): number {
  return nodes.slice(1).reduce((sum, { cpuMicros }) => sum + cpuMicros, 0)
}

async function assertNothingReceived(contestant: ClusterContestant): Promise<void> {
  const [first, ...others] = contestant.nodes
  const published = (await first?.call<{ published: number }>('stats'))?.published
  if (!published) throw new Error('nothing was published')
  for (const node of others) {
    const { received } = await node.call<{ received: number }>('stats')
    if (received > 0) throw new Error(`a node without members received ${received} messages`)
  }
}
