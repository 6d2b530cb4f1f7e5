import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'
import { Contestant } from './contestant.ts'
import type { Peer } from './peers.ts'
import { median, type Result, type Row } from './result.ts'
import { roundsOf } from './rounds.ts'
import type { InspectedScenario } from './scenario.ts'

/** The questions of a page; none where no page is open. */
const MODES = {
  'nobody looks': undefined,
  'a page': {},
  'a page that searches': { search: '42', clientOrder: 'newest' },
} as const

const ROUNDS = roundsOf(5)
/** A round begins when the latest snapshot is as old as this, in ms: what an earlier page left is over. */
const SETTLE_MS = 1_000
const COMPARISON = { rounds: roundsOf(41), clients: 1_200, messages: 20 }

/**
 * Measures the share of a core that a hub takes while an inspector's page is open, and what an inspector that
 * nobody looks at adds to a delivery and to the memory of a connection.
 */
export async function runInspected(name: string, scenario: InspectedScenario): Promise<Result> {
  const { clients, rooms, windowMs, maxCpuShare, maxMountedRatio, maxExtraBytes } = scenario
  const file = fileURLToPath(new URL('servers/wshub-inspected.mjs', import.meta.url))
  const peer: Peer = { name: 'wshub', file, runtime: process.execPath, dialect: 'plain' }
  const contestant = await Contestant.start(peer, { answer: 'nothing', rooms, compression: false }, [
    '--expose-gc',
  ])
  try {
    const { cpuMicros, heapBytes } = await contestant.server.call<{
      cpuMicros: [plain: number[], inspected: number[]]
      heapBytes: [plain: number, inspected: number]
    }>('compare', COMPARISON)
    const [plain, inspected] = cpuMicros
    await contestant.connect({
      clients,
      members: clients,
      rooms,
      roomsPerMember: 3,
      compression: false,
      payloadBytes: 0,
    })
    const shares = await watch(contestant, windowMs)
    const { version } = contestant
    return {
      scenario: name,
      title: scenario.title,
      figure: 'share of one core, %',
      columns: [
        { label: '% of a core', digits: 2 },
        { label: 'µs CPU a delivery', digits: 3 },
        { label: 'heap bytes a connection', digits: 0 },
      ],
      rows: [
        ...Object.entries(shares).map(([mode, share]): Row => {
          const row = { name: mode, version, figures: [median(share)] }
          if (mode === 'nobody looks') return row
          return { ...row, comparison: { value: median(share), unit: ' %', atMost: maxCpuShare * 100 } }
        }),
        { name: 'without an inspector', version: '', figures: [undefined, median(plain)] },
        {
          name: 'with one',
          version: '',
          figures: [undefined, median(inspected)],
          comparison: {
            value: median(inspected.map((cost, round) => cost / (plain[round] ?? Number.NaN))),
            unit: '×',
            atMost: maxMountedRatio,
          },
        },
        {
          name: 'memory',
          version: '',
          figures: [undefined, undefined, heapBytes[1]],
          comparison: { value: heapBytes[1] - heapBytes[0], unit: ' B', atMost: maxExtraBytes },
        },
      ],
    }
  } finally {
    await contestant.stop()
  }
}

/** Returns the shares of a core of each round, in each mode. */
async function watch(contestant: Contestant, windowMs: number): Promise<Record<string, number[]>> {
  const shares: Record<string, number[]> = {}
  for (let round = 0; round < ROUNDS; round++) {
    for (const [mode, query] of Object.entries(MODES)) {
      const socket = query === undefined ? undefined : new WebSocket(`ws://127.0.0.1:${contestant.port}/hub`)
      if (socket !== undefined) {
        await once(socket, 'open')
        socket.send(JSON.stringify({ type: 'view', token: 't', query, follow: null }))
        await once(socket, 'message')
      }
      await sleep(SETTLE_MS)
      const { snapshots, spent } = await contestant.measure(async () => {
        let snapshots = 0
        socket?.on('message', () => snapshots++)
        await sleep(windowMs)
        return { snapshots }
      })
      if (socket !== undefined && snapshots < windowMs / 1_000 - 1) {
        throw new Error(`a page got only ${snapshots} snapshots in ${windowMs} ms`)
      }
      socket?.terminate()
      shares[mode] ??= []
      shares[mode].push((spent.cpuMicros / 1_000 / spent.wallMs) * 100)
    }
  }
  return shares
}
