import { Contestant, type Memory } from './contestant.ts'
import { findPeer, type PeerName } from './peers.ts'
import { median, type Result, type Row } from './result.ts'
import { roundsOf } from './rounds.ts'
import type { StalledScenario } from './scenario.ts'

const ROUNDS = roundsOf(5)
const MEGABYTE = 1e6
/** The amount that is broadcast while all still read, to allocate the memory that the server needs anyway. */
const WARM_UP_BYTES = 20e6

interface Growth {
  heldBytes: number
  peakBytes: number
}

/**
 * Measures the growth of the server's memory for a client that stops reading. The others must get everything.
 */
export async function runStalled(name: string, scenario: StalledScenario): Promise<Result> {
  const rows: Row[] = []
  for (const peerName of scenario.peers) {
    const growths: Growth[] = []
    let version = ''
    for (let round = 0; round < ROUNDS; round++) {
      const reading = await readOnce(peerName, scenario)
      version = reading.version
      growths.push(reading)
    }
    const held = median(growths.map((growth) => growth.heldBytes)) / MEGABYTE
    const peak = median(growths.map((growth) => growth.peakBytes)) / MEGABYTE
    rows.push({
      name: peerName,
      version,
      figures: [held, peak],
      ...(peerName === 'wshub' && {
        comparison: { value: held, unit: ' MB', atMost: scenario.maxGrowthBytes / MEGABYTE },
      }),
    })
  }
  return {
    scenario: name,
    title: scenario.title,
    figure: 'growth of resident memory, MB',
    columns: [
      { label: 'MB held', digits: 1 },
      { label: 'MB at peak', digits: 1 },
    ],
    rows,
  }
}

/** Makes two passes: in the first all clients read, in the second one has stopped. */
async function readOnce(
  peerName: PeerName,
  scenario: StalledScenario,
): Promise<Growth & { version: string }> {
  const peer = findPeer(peerName)
  if (!peer) throw new Error(`${peerName} is missing`)
  const { clients, payloadBytes, inFlight } = scenario
  const contestant = await Contestant.start(peer, { answer: 'nothing', rooms: 1, compression: false }, [
    '--expose-gc',
  ])
  try {
    await contestant.connect({
      clients,
      members: clients,
      rooms: 1,
      roomsPerMember: 1,
      compression: false,
      payloadBytes,
    })
    const pass = async (totalBytes: number) => {
      const messages = Math.ceil(totalBytes / payloadBytes)
      await contestant.server.call('beginPeak')
      await contestant.broadcast({ messages, perTurn: 1, inFlight, rooms: 1, payloadBytes })
      const peakBytes = await contestant.server.call<number>('endPeak')
      return { peakBytes, held: await contestant.server.call<Memory>('memory') }
    }
    const healthy = await pass(WARM_UP_BYTES)
    await contestant.load.call('stallOne')
    const stalled = await pass(scenario.totalBytes)
    return {
      version: contestant.version,
      heldBytes: stalled.held.rssBytes - healthy.held.rssBytes,
      peakBytes: stalled.peakBytes - healthy.peakBytes,
    }
  } finally {
    await contestant.stop()
  }
}
