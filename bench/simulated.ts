import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Traffic } from './cluster-model.ts'
import type { Memory, Spent } from './contestant.ts'
import { presenceTraffic } from './presence-model.ts'
import type { Result, Row } from './result.ts'
import type { SimulatedScenario } from './scenario.ts'
import { Subprocess } from './subprocess.ts'

const HEAP_MB = 11_000
const ROOMS_PER_CALL = 50
const LONGEST_WAIT_MS = 300_000

/** Compares the model of presence with many connections on many nodes, all in one process without sockets. */
export async function runSimulated(name: string, scenario: SimulatedScenario): Promise<Result> {
  const { nodes, connections, roomSize, beatMs, seconds } = scenario
  const rooms = Math.round(connections / roomSize)
  const perNode = Math.round(roomSize / nodes)
  if (!(rooms > 0 && perNode > 0 && perNode < Number.POSITIVE_INFINITY)) {
    throw new Error(`${nodes} nodes cannot have ${connections} connections in rooms of ${roomSize}`)
  }
  const users = rooms * perNode * nodes
  const file = fileURLToPath(new URL('servers/presence-nodes.mjs', import.meta.url))
  const args = ['--expose-gc', `--max-old-space-size=${HEAP_MB}`, file]
  const process_ = new Subprocess('the nodes', process.execPath, args, 0)
  const heap = async () => (await process_.call<Memory>('memory')).heapBytes
  try {
    await process_.call('listen', { nodes, connections: users, beatMs })
    const emptyHeap = await heap()
    for (let left = rooms; left > 0; left -= ROOMS_PER_CALL) {
      await process_.call('fill', { rooms: Math.min(left, ROOMS_PER_CALL), perNode })
    }
    await allComplete(process_, nodes)
    const fullHeap = await heap()

    const measure = async (act: () => Promise<unknown>) => {
      await process_.call('beginRound', {})
      const before = await process_.call<Traffic>('traffic')
      await act()
      const after = await process_.call<Traffic>('traffic')
      const { cpuMicros, wallMs } = await process_.call<Spent>('endRound')
      return { seconds: wallMs / 1_000, cpuMicros, traffic: perSecond(before, after, wallMs / 1_000) }
    }
    const idle = await measure(() => sleep(seconds * 1_000))
    const changes = scenario.changesPerSecond * seconds
    const churn = await measure(() => process_.call('churn', { changes, seconds }))
    await allComplete(process_, nodes)
    const repairs = await process_.call<number>('repairs')

    const model = { nodes, rooms, beatsPerSecond: 1_000 / beatMs, version: rooms }
    const rate = changes / churn.seconds
    const idleMicros = (idle.cpuMicros / idle.seconds) * churn.seconds
    return {
      scenario: name,
      title: `${users.toLocaleString('en-US')} connections on ${nodes} nodes in rooms of ${perNode * nodes}`,
      figure: `a second, by the model and measured; ${repairs} questions for lost changes`,
      columns: [
        { label: 'predicted', digits: 0 },
        { label: 'measured', digits: 0 },
      ],
      rows: [
        ...compared('idle', presenceTraffic({ ...model, changesPerSecond: 0 }), idle.traffic, scenario),
        ...compared(
          `${rate.toFixed()} changes`,
          presenceTraffic({ ...model, changesPerSecond: rate }),
          churn.traffic,
          scenario,
        ),
        figure('CPU of all nodes for a change, µs', (churn.cpuMicros - idleMicros) / changes),
        figure('CPU of all idle nodes, ms a second', idle.cpuMicros / 1_000 / idle.seconds),
        figure('heap of a node, MB', (fullHeap - emptyHeap) / nodes / 1e6),
        figure('heap of all nodes for a connection, bytes', (fullHeap - emptyHeap) / users),
      ],
      isCheck: true,
    }
  } finally {
    await process_.stop()
  }
}

function compared(
  what: string,
  predicted: Traffic,
  measured: Traffic,
  { nodes, maxDifference }: SimulatedScenario,
): Row[] {
  const pairs = [
    ['messages into the engine', predicted.messagesIn, measured.messagesIn],
    ['messages out of it', predicted.messagesOut, measured.messagesOut],
    ['bytes into it', predicted.bytesIn, measured.bytesIn],
    ['bytes out of it', predicted.bytesOut, measured.bytesOut],
    ['messages to a node', predicted.messagesOut / nodes, measured.messagesOut / nodes],
    ['bytes to a node', predicted.bytesOut / nodes, measured.bytesOut / nodes],
  ] as const
  return pairs.map(([label, expected, actual]) => ({
    name: `${what}: ${label}`,
    version: '',
    figures: [expected, actual],
    comparison: { value: Math.abs(expected / actual - 1) * 100, unit: ' % off', atMost: maxDifference },
  }))
}

function figure(name: string, value: number): Row {
  return { name, version: '', figures: [undefined, value] }
}

function perSecond(before: Traffic, after: Traffic, seconds: number): Traffic {
  return {
    messagesIn: (after.messagesIn - before.messagesIn) / seconds,
    bytesIn: (after.bytesIn - before.bytesIn) / seconds,
    messagesOut: (after.messagesOut - before.messagesOut) / seconds,
    bytesOut: (after.bytesOut - before.bytesOut) / seconds,
  }
}

/** Resolves when each node knows of all users. */
async function allComplete(process_: Subprocess, nodes: number): Promise<void> {
  const end = performance.now() + LONGEST_WAIT_MS
  for (;;) {
    const complete = await process_.call<number>('complete')
    if (complete === nodes) return
    if (performance.now() > end) throw new Error(`${complete} of ${nodes} nodes know of all users`)
    await sleep(200)
  }
}
