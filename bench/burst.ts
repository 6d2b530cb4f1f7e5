import { Contestant, type Memory, type Spent } from './contestant.ts'
import { findPeer, type PeerName } from './peers.ts'
import { median, type Result } from './result.ts'
import { roundsOf } from './rounds.ts'
import type { BurstScenario } from './scenario.ts'

const ROUNDS = roundsOf(3)
const MEGABYTE = 1e6
/** Broadcast a few at a time before the burst, to allocate the memory that the server needs anyway. */
const WARM_UP_MESSAGES = 10_000

interface Reading {
  version: string
  growthBytes: number
  spent: Spent
}

/**
 * Measures the peak growth of the server's memory in a burst. All clients must get everything. ws writes each
 * message at once, so its clients read while its event loop is blocked; its growth is no basis for a target.
 */
export async function runBurst(name: string, scenario: BurstScenario): Promise<Result> {
  const wshub = await readRounds('wshub', scenario)
  const ws = await readRounds('ws', scenario)
  const [growth = Number.NaN] = wshub.figures
  const [growthOfWs = Number.NaN] = ws.figures
  return {
    scenario: name,
    title: scenario.title,
    figure: 'growth of resident memory at its peak, MB',
    columns: [
      { label: 'MB', digits: 1 },
      { label: 'lowest', digits: 1 },
      { label: 'highest', digits: 1 },
      { label: 'µs CPU', digits: 2 },
      { label: 'loop max ms', digits: 0 },
      { label: 'seconds', digits: 2 },
    ],
    rows: [
      { ...wshub, comparison: { value: growth, unit: ' MB', atMost: scenario.maxGrowthBytes / MEGABYTE } },
      { ...ws, comparison: { value: growth / growthOfWs, unit: '×' } },
    ],
  }
}

async function readRounds(name: PeerName, scenario: BurstScenario) {
  const readings: Reading[] = []
  for (let round = 0; round < ROUNDS; round++) readings.push(await readOnce(name, scenario))
  const growths = readings.map((reading) => reading.growthBytes / MEGABYTE)
  const deliveries = scenario.messages * scenario.clients
  return {
    name,
    version: readings[0]?.version ?? '',
    figures: [
      median(growths),
      Math.min(...growths),
      Math.max(...growths),
      median(readings.map(({ spent }) => spent.cpuMicros / deliveries)),
      median(readings.map(({ spent }) => spent.loopDelayMaxMs ?? Number.NaN)),
      median(readings.map(({ spent }) => spent.wallMs / 1000)),
    ],
  }
}

/** Uses a fresh process for each reading. */
async function readOnce(
  peerName: PeerName,
  { clients, payloadBytes, messages }: BurstScenario,
): Promise<Reading> {
  const peer = findPeer(peerName)
  if (!peer) throw new Error(`${peerName} is missing`)
  const contestant = await Contestant.start(peer, { answer: 'nothing', rooms: 1, compression: false }, [
    '--expose-gc',
  ])
  try {
    const rooms = { rooms: 1, roomsPerMember: 1 }
    await contestant.connect({ clients, members: clients, ...rooms, compression: false, payloadBytes })
    const send = (count: number, perTurn: number, inFlight: number) =>
      contestant.broadcast({ messages: count, perTurn, inFlight, rooms: 1, payloadBytes })
    await send(WARM_UP_MESSAGES, 10, 100)
    const before = await contestant.server.call<Memory>('memory')
    await contestant.server.call('beginPeak')
    const { spent } = await contestant.measure(() => send(messages, messages, messages), {
      sampleLoopDelay: true,
    })
    const peakBytes = await contestant.server.call<number>('endPeak')
    return { version: contestant.version, growthBytes: peakBytes - before.rssBytes, spent }
  } finally {
    await contestant.stop()
  }
}
