import { setTimeout as sleep } from 'node:timers/promises'
import type { Spent } from './contestant.ts'
import { type PresencePeerName, presencePeer } from './peers.ts'
import { RedisServer } from './redis-server.ts'
import type { Result, Row } from './result.ts'
import type { PresenceScenario } from './scenario.ts'
import { Subprocess } from './subprocess.ts'

const CORES = 2
const SETTLE_MS = 3_000
const LONGEST_WAIT_MS = 60_000

/** The work of Redis and of all nodes together in a time. */
interface Work {
  seconds: number
  commands: number
  /** Into Redis. */
  bytes: number
  cpuMicros: number
  turnMaxCpuMs: number
}

/** The nodes of a contestant, each in a process of its own, and their Redis. */
class Nodes {
  readonly nodes: readonly Subprocess[]
  readonly redis: RedisServer

  private constructor(nodes: readonly Subprocess[], redis: RedisServer) {
    this.nodes = nodes
    this.redis = redis
  }

  static async start(peer: PresencePeerName, { nodes, beatMs }: PresenceScenario): Promise<Nodes> {
    const file = presencePeer(peer)
    const redis = await RedisServer.start()
    const all = Array.from({ length: nodes }, (_, node) => {
      return new Subprocess(`${peer} ${node}`, process.execPath, [file, `${node}`], node % CORES)
    })
    const started = new Nodes(all, redis)
    await started.all('listen', { redis: redis.url, beatMs })
    return started
  }

  async all<Answer>(call: string, options: unknown = {}): Promise<Answer[]> {
    return Promise.all(this.nodes.map((node) => node.call<Answer>(call, options)))
  }

  /** Measures what happens while something is done. */
  async measure(act: () => Promise<unknown>, sampleLoopDelay = false): Promise<Work> {
    await this.all('beginRound', { sampleLoopDelay })
    const before = await this.redis.counts()
    const start = performance.now()
    await act()
    const after = await this.redis.counts()
    const seconds = (performance.now() - start) / 1_000
    const spent = await this.all<Spent>('endRound')
    return {
      seconds,
      commands: after.commands - before.commands - 1, // INFO itself
      bytes: after.receivedBytes - before.receivedBytes,
      cpuMicros: spent.reduce((sum, { cpuMicros }) => sum + cpuMicros, 0),
      turnMaxCpuMs: Math.max(...spent.map(({ turnMaxCpuMs = 0 }) => turnMaxCpuMs)),
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop())) // before they miss their Redis
    await this.redis.stop()
  }
}

/** Measures what presence costs when users come and go, when none does, and when very many come at once. */
export async function runPresence(name: string, scenario: PresenceScenario): Promise<Result> {
  const { users, rooms, storm, beatMs, nodes: count } = scenario
  const rows: Row[] = []
  const seconds = scenario.gatherSeconds
  const gathering = { users: users / count, rooms, seconds, name: 'room', isQuiet: true }
  for (const contestant of scenario.peers) {
    const nodes = await Nodes.start(contestant, scenario)
    const stormUsers = contestant === 'Socket.IO, fetchSockets' ? storm.fetchedUsers : storm.users
    try {
      await nodes.all('gather', gathering)
      await sleep(SETTLE_MS)
      const idle = await nodes.measure(() => sleep(scenario.seconds * 1_000))
      const changes = scenario.changesPerSecond * scenario.seconds
      const churning = { changes: changes / count, seconds: scenario.seconds }
      const churn = await nodes.measure(() => nodes.all('churn', churning))
      const idleRate = idle.cpuMicros / idle.seconds
      const micros = (churn.cpuMicros - idleRate * churn.seconds) / changes
      const beats = (idle.seconds * 1_000 * count) / beatMs
      const idleRow: Row = { name: `${contestant}: idle`, version: '', figures: figuresOf(idle) }
      if (contestant === 'wshub') {
        // A heartbeat, its probes of two other channels, the digest; and the pings of the clients of Redis.
        idleRow.comparison = { value: idle.commands / beats, unit: ' commands a heartbeat', atMost: 4.5 }
      }
      rows.push(idleRow, {
        name: `${contestant}: ${(changes / churn.seconds).toFixed()} changes a second`,
        version: '',
        figures: [...figuresOf(churn), micros],
      })
      const storming = { users: stormUsers / count, rooms: 1, seconds: storm.seconds, name: 'storm' }
      const stormed = await nodes.measure(async () => {
        await nodes.all('gather', storming)
        if (contestant === 'wshub') await allThere(nodes, storm.users)
      }, true)
      rows.push({
        name: `${contestant}: ${stormUsers} users join a room`,
        version: '',
        figures: [...figuresOf(stormed), stormed.cpuMicros / stormUsers],
        ...(contestant === 'wshub' && {
          comparison: { value: stormed.bytes / storm.users, unit: ' bytes a user', atMost: storm.maxBytes },
        }),
      })
      if (contestant === 'wshub') {
        rows.push({
          name: `${contestant}: the longest turn of it`,
          version: '',
          figures: [undefined, undefined, stormed.turnMaxCpuMs],
          comparison: { value: stormed.turnMaxCpuMs, unit: ' ms CPU', atMost: storm.maxStallMs },
        })
      }
    } finally {
      await nodes.stop()
    }
  }
  return {
    scenario: name,
    title: scenario.title,
    figure: 'commands and bytes into Redis a second, CPU of all nodes',
    columns: [
      { label: 'commands/s', digits: 1 },
      { label: 'bytes/s', digits: 0 },
      { label: 'ms CPU/s', digits: 1 },
      { label: 'µs a change', digits: 0 },
    ],
    rows,
  }
}

function figuresOf({ commands, bytes, cpuMicros, seconds }: Work): number[] {
  return [commands / seconds, bytes / seconds, cpuMicros / 1_000 / seconds]
}

/** Resolves when all nodes tell the number of users who have joined. */
async function allThere(nodes: Nodes, users: number): Promise<void> {
  const end = performance.now() + LONGEST_WAIT_MS
  for (;;) {
    const counts = await nodes.all<number>('count', { room: 'storm-0' })
    if (counts.every((count) => count === users)) return
    if (performance.now() > end) throw new Error(`the nodes tell of ${counts} users, not of ${users}`)
    await sleep(20)
  }
}
