import { readFileSync } from 'node:fs'
import { Contestant, type Memory } from './contestant.ts'
import { findPeer, type PeerName } from './peers.ts'
import { median, type Result } from './result.ts'
import { roundsOf } from './rounds.ts'
import type { MemoryScenario } from './scenario.ts'

const ROUNDS = roundsOf(5)
/** Opened before the first reading, so that code and pools are not counted as connections. */
const FIRST_CLIENTS = 1_000

interface PerConnection {
  rssBytes: number
  heapBytes: number
  /** Of the kernel, for both ends of a connection, and whatever else the machine does; NaN without /proc. */
  slabBytes: number
}

/**
 * Compares the memory per idle connection with that of bare ws, which has no rooms. Uses a fresh process for
 * each reading.
 */
export async function runMemory(name: string, scenario: MemoryScenario): Promise<Result> {
  const readings = new Map<PeerName, PerConnection[]>([
    ['wshub', []],
    ['ws', []],
  ])
  const versions = new Map<PeerName, string>()
  for (let round = 0; round < ROUNDS; round++) {
    for (const [peerName, list] of readings) {
      const { version, ...reading } = await readOnce(peerName, scenario)
      versions.set(peerName, version)
      list.push(reading)
    }
  }
  const rows = [...readings].map(([peerName, list]) => ({
    name: peerName as string,
    version: versions.get(peerName) ?? '',
    figures: [
      median(list.map((reading) => reading.rssBytes)),
      Math.min(...list.map((reading) => reading.rssBytes)),
      Math.max(...list.map((reading) => reading.rssBytes)),
      median(list.map((reading) => reading.heapBytes)),
      median(list.map((reading) => reading.slabBytes)),
    ],
  }))
  const [wshub, ws] = rows
  if (!wshub || !ws) throw new Error('a peer is missing')
  const extraBytes = (wshub.figures[0] ?? Number.NaN) - (ws.figures[0] ?? Number.NaN)
  return {
    scenario: name,
    title: scenario.title,
    figure: 'resident bytes per connection, after a garbage collection',
    columns: ['RSS bytes', 'lowest', 'highest', 'heap bytes', 'kernel slab, both ends'].map((label) => ({
      label,
      digits: 0,
    })),
    rows: [wshub, { ...ws, comparison: { value: extraBytes, unit: ' B', atMost: scenario.maxExtraBytes } }],
  }
}

async function readOnce(
  peerName: PeerName,
  scenario: MemoryScenario,
): Promise<PerConnection & { version: string }> {
  const peer = findPeer(peerName)
  if (!peer) throw new Error(`${peerName} is missing`)
  const { rooms, roomsPerMember } = peerName === 'ws' ? { rooms: 0, roomsPerMember: 0 } : scenario
  const contestant = await Contestant.start(peer, { answer: 'nothing', rooms, compression: false }, [
    '--expose-gc',
  ])
  try {
    const readWith = async (clients: number) => {
      await contestant.connect({
        clients,
        members: rooms > 0 ? clients : 0,
        rooms,
        roomsPerMember,
        compression: false,
        payloadBytes: 0,
      })
      const memory = await contestant.server.call<Memory>('memory')
      return { ...memory, slabBytes: readSlabBytes() }
    }
    const before = await readWith(FIRST_CLIENTS)
    const after = await readWith(FIRST_CLIENTS + scenario.clients)
    return {
      version: contestant.version,
      rssBytes: (after.rssBytes - before.rssBytes) / scenario.clients,
      heapBytes: (after.heapBytes - before.heapBytes) / scenario.clients,
      slabBytes: (after.slabBytes - before.slabBytes) / scenario.clients,
    }
  } finally {
    await contestant.stop()
  }
}

/** Returns the bytes of the kernel's own objects, sockets among them. */
function readSlabBytes(): number {
  try {
    return Number(/^Slab:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1]) * 1_024
  } catch {
    return Number.NaN
  }
}
