import { fileURLToPath } from 'node:url'
import type { ConnectOptions, Received } from './load.ts'
import type { Peer } from './peers.ts'
import type { FeedName } from './servers/feeds.mjs'
import { Subprocess } from './subprocess.ts'

const SERVER_CORE = 0
const LOAD_CORE = 1

export interface ListenOptions {
  /** The server's reaction to a client's message. */
  answer: 'echo' | 'broadcast' | 'nothing'
  rooms: number
  /** Whether messages are compressed; or settings of that, in the words of the peer. */
  compression: boolean | string | object
  /** Whether rooms have a history in memory. Only for wshub. */
  history?: boolean
  /** How long messages wait for others. Only for wshub. */
  writeDelayMs?: number | undefined
}

export interface Spent {
  cpuMicros: number
  wallMs: number
  loopDelayP99Ms?: number
  loopDelayMaxMs?: number
  /** The most CPU time between two chances for a timer. */
  turnMaxCpuMs?: number
  /** Bytes that the process has read from its sockets, if the system counts them. */
  readBytes?: number
}

export interface Memory {
  rssBytes: number
  heapBytes: number
  /** The heap, and buffers outside of it. */
  heldBytes: number
}

/** A peer's server in its own process, with its load process. */
export class Contestant {
  readonly peer: Peer
  readonly server: Subprocess
  readonly load: Subprocess
  version = ''
  port = 0

  private constructor(peer: Peer, nodeOptions: readonly string[]) {
    this.peer = peer
    const args = peer.runtime === process.execPath ? [...nodeOptions, peer.file] : [peer.file]
    this.server = new Subprocess(`${peer.name} server`, peer.runtime, args, SERVER_CORE)
    const loadFile = fileURLToPath(new URL('load.ts', import.meta.url))
    this.load = new Subprocess(
      `${peer.name} load`,
      process.execPath,
      ['--import', 'tsx', loadFile],
      LOAD_CORE,
    )
    this.load.onAcknowledged = (count) => this.server.acknowledge(count)
  }

  static async start(
    peer: Peer,
    options: ListenOptions,
    nodeOptions: readonly string[] = [],
  ): Promise<Contestant> {
    const contestant = new Contestant(peer, nodeOptions)
    const { port, version } = await contestant.server.call<{ port: number; version: string }>(
      'listen',
      options,
    )
    contestant.version = version
    contestant.port = port
    return contestant
  }

  connect(options: Omit<ConnectOptions, 'ports' | 'dialect'>): Promise<void> {
    return this.load.call('connect', { ...options, ports: [this.port], dialect: this.peer.dialect })
  }

  /** Broadcasts from the server and waits until all clients have received everything. */
  async broadcast(options: {
    messages: number
    perTurn: number
    inFlight: number
    rooms: number
    payloadBytes: number
    feed?: FeedName | undefined
  }): Promise<Received> {
    const received = this.load.call<Received>('receive', {
      messages: options.messages,
      acknowledgeEvery: Math.ceil(options.inFlight / 2),
    })
    await this.load.call('begun')
    const [result] = await Promise.all([received, this.server.call('broadcast', options)])
    return result
  }

  /** Broadcasts from the server at intervals, and waits until all clients have received everything. */
  async publish(options: {
    messages: number
    perTurn: number
    everyMs: number
    rooms: number
    payloadBytes: number
  }): Promise<Received> {
    const { messages } = options
    const received = this.load.call<Received>('receive', { messages, acknowledgeEvery: messages })
    await this.load.call('begun')
    const [result] = await Promise.all([received, this.server.call('publish', { ...options, publisher: 0 })])
    return result
  }

  /** The resources that the server spends while `work` runs. */
  async measure<Result>(
    work: () => Promise<Result>,
    { sampleLoopDelay = false } = {},
  ): Promise<Result & { spent: Spent }> {
    await this.server.call('beginRound', { sampleLoopDelay })
    const result = await work()
    const spent = await this.server.call<Spent>('endRound')
    return { ...result, spent }
  }

  async stop(): Promise<void> {
    await Promise.all([this.server.stop(), this.load.stop()])
  }
}
