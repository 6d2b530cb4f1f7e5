import { fileURLToPath } from 'node:url'
import type { Spent } from './contestant.ts'
import type { Engine, EngineCounts } from './engine.ts'
import type { ConnectOptions, Received } from './load.ts'
import { NatsServer } from './nats-server.ts'
import type { ClusterPeer } from './peers.ts'
import { RedisServer } from './redis-server.ts'
import type { RoomSpread } from './room-spread.ts'
import { Subprocess } from './subprocess.ts'

const NODES_CORE = 0
const LOAD_CORE = 1

/** A process that answers calls, directly or through its primary. */
interface Node {
  call<Result>(call: string, options?: unknown): Promise<Result>
}

export interface Publishing {
  /** The number of messages of each publisher. */
  messages: number
  perTurn: number
  everyMs: number
  /** The nodes that publish. */
  publishers: readonly number[]
  payloadBytes: number
}

/** The resources that something took. */
export interface ClusterSpent {
  nodes: Spent[]
  /** The resources of the primary, if there is one. */
  primary: Spent | undefined
  /** The work of the engine in the same time; zeros if there is none. */
  engine: EngineCounts
}

/** The result of a round and the resources it took. */
export interface ClusterRound extends ClusterSpent, Received {
  messages: number
}

const NOTHING: EngineCounts = { receivedBytes: 0, sentBytes: 0, commands: 0, cpuMicros: 0 }

/** Several nodes in a process each, their engine, and the load process of their clients. */
export class ClusterContestant {
  readonly peer: ClusterPeer
  readonly nodes: readonly Node[]
  readonly engine: Engine | undefined
  readonly load: Subprocess
  readonly version: string
  readonly #ports: readonly number[]
  readonly #primary: Subprocess | undefined
  readonly #processes: readonly Subprocess[]
  #rooms = 0

  private constructor(
    peer: ClusterPeer,
    processes: readonly Subprocess[],
    nodes: readonly Node[],
    started: readonly { port: number; version: string }[],
    engine: Engine | undefined,
  ) {
    this.peer = peer
    this.nodes = nodes
    this.engine = engine
    this.version = started[0]?.version ?? ''
    this.#ports = started.map(({ port }) => port)
    this.#primary = peer.engine === 'primary' ? processes[0] : undefined
    const file = fileURLToPath(new URL('load.ts', import.meta.url))
    this.load = new Subprocess(`${peer.name} load`, process.execPath, ['--import', 'tsx', file], LOAD_CORE)
    this.#processes = processes
  }

  static async start(
    peer: ClusterPeer,
    count: number,
    listenOptions: object = {},
  ): Promise<ClusterContestant> {
    const engine = await startEngine(peer.engine)
    const processes: Subprocess[] = []
    const spawn = (...args: string[]) => {
      const all = [peer.file, ...args]
      const subprocess = new Subprocess(`${peer.name} node`, process.execPath, all, NODES_CORE)
      processes.push(subprocess)
      return subprocess
    }
    try {
      const nodes: Node[] = []
      if (engine === undefined) {
        const primary = spawn('primary')
        await primary.call('start', { workers: count })
        for (let index = 0; index < count; index++) {
          nodes.push({ call: (call, options) => primary.call('worker', { index, call, options }) })
        }
      } else {
        while (nodes.length < count) nodes.push(spawn())
      }
      const options = { ...peer.options, ...listenOptions, [peer.engine]: engine?.url }
      const started = await Promise.all(
        nodes.map((node) => node.call<{ port: number; version: string }>('listen', options)),
      )
      return new ClusterContestant(peer, processes, nodes, started, engine)
    } catch (error) {
      await Promise.all([...processes, engine].map((process) => process?.stop()))
      throw error
    }
  }

  /** Connects clients, to each node in turn, and waits until the nodes are subscribed to their rooms. */
  async connect(
    options: Pick<ConnectOptions, 'clients' | 'rooms' | 'roomsPerMember' | 'payloadBytes'> & {
      spread: RoomSpread
    },
  ): Promise<void> {
    this.#rooms = options.rooms
    await this.load.call('connect', {
      ...options,
      members: options.clients,
      compression: false,
      ports: this.#ports,
      publishers: this.nodes.length,
      dialect: this.peer.dialect,
    } satisfies ConnectOptions)
    await Promise.all(this.nodes.map((node) => node.call('settle')))
  }

  /** Publishes, and waits until all members have received everything. */
  async publish({ publishers, messages, ...pace }: Publishing): Promise<Received & { messages: number }> {
    const all = messages * publishers.length
    const received = this.load.call<Received>('receive', { messages: all, acknowledgeEvery: all })
    await this.load.call('begun')
    const published = publishers.map((publisher) =>
      this.nodes[publisher]?.call('publish', { ...pace, messages, publisher, rooms: this.#rooms }),
    )
    const [result] = await Promise.all([received, ...published])
    return { ...result, messages: all }
  }

  /** The resources that the nodes spend while `work` runs. */
  async measure<Result>(
    work: () => Promise<Result>,
    { sampleLoopDelay = false } = {},
  ): Promise<Result & ClusterSpent> {
    const before = await this.engine?.counts()
    await Promise.all([
      this.#primary?.call('beginRound'),
      ...this.nodes.map((node) => node.call('beginRound', { sampleLoopDelay })),
    ])
    const result = await work()
    const [primary, ...nodes] = await Promise.all([
      this.#primary?.call<Spent>('endRound'),
      ...this.nodes.map((node) => node.call<Spent>('endRound')),
    ])
    const after = await this.engine?.counts()
    return { ...result, nodes, primary, engine: before && after ? minus(after, before) : NOTHING }
  }

  async stop(): Promise<void> {
    await Promise.all([this.load, ...this.#processes, this.engine].map((process) => process?.stop()))
  }
}

async function startEngine(name: ClusterPeer['engine']): Promise<Engine | undefined> {
  switch (name) {
    case 'redis':
      return RedisServer.start()
    case 'nats':
      return NatsServer.start()
    case 'primary':
      return undefined
  }
}

function minus(after: EngineCounts, before: EngineCounts): EngineCounts {
  return {
    receivedBytes: after.receivedBytes - before.receivedBytes,
    sentBytes: after.sentBytes - before.sentBytes,
    commands: after.commands - before.commands,
    cpuMicros: after.cpuMicros - before.cpuMicros,
  }
}
