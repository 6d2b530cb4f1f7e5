import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { BlinkOptions, BlinkResult } from './blinking-load.ts'
import { type RecoveryPeer, recoveryPeer } from './peers.ts'
import { RedisServer } from './redis-server.ts'
import type { Result, Row } from './result.ts'
import type { ResumeScenario } from './scenario.ts'
import { Subprocess } from './subprocess.ts'

const SERVER_CORE = 0
const LOAD_CORE = 1

/** The process that is killed in the middle. */
export type Killed = 'nothing' | 'node' | 'redis'

export function readKilled(name: string | undefined): Killed {
  if (name === undefined) return 'nothing'
  if (name === 'node' || name === 'redis') return name
  throw new Error(`--kill is node or redis, not ${name}`)
}

/** Counts what clients get that are cut and come back. Each contestant runs by itself. */
export async function runResume(
  name: string,
  scenario: ResumeScenario,
  killed: Killed,
  seconds: number,
): Promise<Result> {
  const peers = scenario.peers.map(recoveryPeer).filter((peer) => killed === 'nothing' || peer.isClustered)
  const rows: Row[] = []
  for (const peer of peers) {
    try {
      rows.push(await read(peer, { ...scenario, seconds }, killed))
    } catch (error) {
      // A process may end with Redis: that is a result too, but not for wshub.
      if (peer.name.startsWith('wshub') || !(error instanceof Error)) throw error
      rows.push({ name: peer.name, version: '', figures: [], note: error.message })
    }
  }
  const kill =
    killed === 'nothing' ? '' : `; kill -9 of ${killed === 'node' ? 'a node' : 'Redis'} in the middle`
  return {
    scenario: name,
    title: `${scenario.title}, for ${seconds} s${kill}`,
    figure: 'deliveries; lost are those that the client was not told about',
    columns: [
      { label: '% delivered', digits: 2 },
      { label: 'lost', digits: 0 },
      { label: 'told missing', digits: 0 },
      { label: 'twice', digits: 0 },
      { label: 'out of order', digits: 0 },
      { label: 'complete: false', digits: 0 },
      { label: 'cuts', digits: 0 },
      { label: 'messages', digits: 0 },
      { label: 'refused', digits: 0 },
    ],
    rows,
    isCheck: true,
  }
}

async function read(peer: RecoveryPeer, scenario: ResumeScenario, killed: Killed): Promise<Row> {
  const { clients, payloadBytes, messageEveryMs, seconds, cutEveryMs, awayMs, downMs } = scenario
  const redis = peer.isClustered ? await RedisServer.start({ isPersistent: true }) : undefined
  const load = subprocess(`${peer.name} clients`, LOAD_CORE, [
    '--import',
    'tsx',
    fileURLToPath(new URL('blinking-load.ts', import.meta.url)),
  ])
  const nodes = Array.from({ length: peer.isClustered ? scenario.nodes : 1 }, () =>
    subprocess(`${peer.name} node`, SERVER_CORE, [peer.file]),
  )
  try {
    const options = { ...peer.options, redis: redis?.url }
    const listening = await Promise.all(
      nodes.map((node) => node.call<{ port: number; version: string }>('listen', options)),
    )
    const blinking: BlinkOptions = {
      ports: listening.map(({ port }) => port),
      dialect: peer.dialect,
      clients,
      everyMs: cutEveryMs,
      awayMs,
    }
    await load.call('connect', blinking)
    await load.call('blink')
    const messages = Math.floor((seconds * 1_000) / messageEveryMs)
    const kill = async () => {
      await sleep((seconds * 1_000) / 2)
      if (killed === 'node') await nodes.at(-1)?.stop()
      if (killed === 'redis') await redis?.crash(downMs)
    }
    const feed = { messages, everyMs: messageEveryMs, payloadBytes }
    const [fed] = await Promise.all([nodes[0]?.call<{ refused: number[] }>('feed', feed), kill()])
    const refused = fed?.refused ?? []
    const result = await load.call<BlinkResult>('finish', { total: messages, refused })
    return rowOf(peer, listening[0]?.version ?? '', result, messages, refused.length)
  } finally {
    await Promise.all([load, ...nodes, redis].map((process) => process?.stop()))
  }
}

function rowOf(
  peer: RecoveryPeer,
  version: string,
  { received, lost, reported, twice, outOfOrder, incomplete, cuts }: BlinkResult,
  messages: number,
  refused: number,
): Row {
  const delivered = (100 * received) / (received + lost + reported)
  return {
    name: peer.name,
    version,
    figures: [delivered, lost, reported, twice, outOfOrder, incomplete, cuts, messages, refused],
    ...(peer.name.startsWith('wshub') && {
      comparison: { value: lost + twice + outOfOrder, unit: ' wrong', atMost: 0 },
    }),
  }
}

function subprocess(name: string, core: number, args: readonly string[]): Subprocess {
  return new Subprocess(name, process.execPath, args, core)
}
