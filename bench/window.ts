import { findPeer, type PeerName } from './peers.ts'
import { type Comparison, median, type Result, type Row } from './result.ts'
import type { WindowScenario } from './scenario.ts'
import { compete, costOf, type Entrant, newEntrant, ratioOf } from './traffic.ts'

/** A peer with settings of its compression, in its own words. */
interface Setting {
  name: string
  peer: PeerName
  settings: string | object | undefined
}

const SHARED: Setting = {
  name: 'wshub, shared window',
  peer: 'wshub',
  settings: { window: 'shared' },
}
const ALONE: Setting = {
  name: 'wshub, each by itself',
  peer: 'wshub',
  settings: { thresholdBytes: 0 },
}
const WS: Setting = { name: 'ws, a window for each client', peer: 'ws', settings: undefined }
const OTHERS: readonly Setting[] = [
  { name: 'wshub, by default plain', peer: 'wshub', settings: undefined },
  { name: 'uWebSockets.js, each by itself', peer: 'uWebSockets.js', settings: 'SHARED_COMPRESSOR' },
  {
    name: 'uWebSockets.js, a window for each client',
    peer: 'uWebSockets.js',
    settings: 'DEDICATED_COMPRESSOR',
  },
  { name: 'Bun, each by itself', peer: 'Bun', settings: { compress: 'shared' } },
  { name: 'Bun, a window for each client', peer: 'Bun', settings: { compress: 'dedicated' } },
]

/** Compares the bytes and the CPU time of a feed with a shared window with those of other compression. */
export async function runWindow(name: string, scenario: WindowScenario): Promise<Result> {
  const { title, clients, feed, inFlight, maxBytesRatio, maxCpuRatio, maxWsCpuRatio } = scenario
  const missing: Row[] = []
  const enter = ({ name, peer: peerName, settings }: Setting): Entrant[] => {
    const peer = findPeer(peerName)
    if (peer === undefined) {
      missing.push({ name, version: '', figures: [], note: 'not installable here' })
      return []
    }
    const traffic = { traffic: 'broadcast', rooms: 1, roomsPerMember: 1, payloadBytes: 0 } as const
    const messages = { messagesPerTurn: 1, compression: true, clients, inFlight }
    return [newEntrant(name, peer, { ...traffic, ...messages, settings, feed })]
  }
  const entrants = [SHARED, ALONE, WS, ...OTHERS].flatMap(enter)
  await compete(entrants)
  const shared = entrants.find((entrant) => entrant.name === SHARED.name)
  const comparisonWith = (other: Entrant): Comparison | undefined => {
    if (other === shared) {
      const alone = entrants.find((entrant) => entrant.name === ALONE.name)
      return { value: bytesOf(other) / bytesOf(alone), unit: '×', atMost: maxBytesRatio }
    }
    const value = ratioOf(shared, other)
    if (other.name === ALONE.name) return { value, unit: '×', atMost: maxCpuRatio }
    if (other.name === WS.name) return { value, unit: '×', atMost: maxWsCpuRatio }
    return { value, unit: '×' }
  }
  const rows = entrants.map((entrant) => {
    const costs = entrant.rounds.map(costOf)
    const comparison = comparisonWith(entrant)
    return {
      name: entrant.name,
      version: entrant.version,
      figures: [median(costs), Math.min(...costs), Math.max(...costs), bytesOf(entrant)],
      ...(comparison && { comparison }),
    }
  })
  return {
    scenario: name,
    title,
    figure:
      'server CPU per delivery, µs; the first row compares bytes per delivery with messages compressed by themselves',
    columns: [
      { label: 'µs CPU', digits: 2 },
      { label: 'lowest', digits: 2 },
      { label: 'highest', digits: 2 },
      { label: 'bytes', digits: 1 },
    ],
    rows: [...rows, ...missing],
  }
}

/** Bytes of a frame, over all rounds. */
function bytesOf(entrant: Entrant | undefined): number {
  const rounds = entrant?.rounds ?? []
  const sum = (of: (round: (typeof rounds)[number]) => number) =>
    rounds.reduce((total, round) => total + of(round), 0)
  return sum(({ bytes }) => bytes) / sum(({ deliveries }) => deliveries)
}
