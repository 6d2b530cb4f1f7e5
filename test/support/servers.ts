/** Engines for one test: real servers on free ports of this machine, with their own folders. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from 'redis'
import { freePort } from './free-port.ts'
import { until } from './in-time.ts'
import { type ToolName, toolPath } from './tools.ts'

/** A server program that can be killed, and restarted on the same port with the same files. */
export class Engine {
  readonly port: number
  readonly #tool: ToolName
  readonly #args: readonly string[]
  readonly #folder: string
  readonly #isReady: (port: number) => Promise<boolean>
  readonly #onExit = () => this.#child?.kill('SIGKILL')
  #child: ChildProcess | undefined
  #output = ''

  constructor(
    tool: ToolName,
    port: number,
    args: (folder: string) => readonly string[],
    isReady: (port: number) => Promise<boolean>,
  ) {
    this.port = port
    this.#tool = tool
    this.#folder = mkdtempSync(join(tmpdir(), `wshub-${tool}-`))
    this.#args = args(this.#folder)
    this.#isReady = isReady
    process.once('exit', this.#onExit)
  }

  async start(): Promise<void> {
    const child = spawn(toolPath(this.#tool), this.#args, {
      cwd: this.#folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-4_000)
      })
    }
    child.once('error', (error) => {
      this.#output += `${error}`
    })
    await until(
      `${this.#tool} to be ready`,
      () => this.#isReady(this.port),
      () => this.#output,
    )
  }

  /** Ends the process at once, as a crash does. */
  async kill(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await exit
  }

  /** Stops the process: connections stay open, and nothing is answered. */
  freeze(): void {
    this.#child?.kill('SIGSTOP')
    // The signal takes effect a moment later: until then, it would still answer.
    for (let tries = 0; tries < 10_000 && this.#isRunning(); tries++);
  }

  /** Whether the process runs, where the system tells. */
  #isRunning(): boolean {
    const file = `/proc/${this.#child?.pid}/stat`
    return existsSync(file) && !/\) [Tt] /.test(readFileSync(file, 'latin1'))
  }

  thaw(): void {
    this.#child?.kill('SIGCONT')
  }

  /** Ends it permanently, and removes its folder. */
  async stop(): Promise<void> {
    await this.kill()
    process.off('exit', this.#onExit)
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** A Redis server without persistence. */
export async function startRedis(...args: readonly string[]): Promise<Engine> {
  const port = await freePort()
  const engine = new Engine('redis', port, (folder) => redisArgs(port, folder, args), answersRedis)
  await engine.start()
  return engine
}

/** A Redis Cluster of three masters, and optionally a replica of the first. */
export async function startRedisCluster({
  withReplica = false,
  args: more = [],
}: {
  withReplica?: boolean
  args?: readonly string[]
} = {}): Promise<Engine[]> {
  const engines: Engine[] = []
  for (let index = 0; index < (withReplica ? 4 : 3); index++) {
    const [port, bus] = [await freePort(), await freePort()]
    const args = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '1500', '--cluster-port', `${bus}`]
    engines.push(
      new Engine('redis', port, (folder) => redisArgs(port, folder, [...args, ...more]), answersRedis),
    )
  }
  await Promise.all(engines.map((engine) => engine.start()))
  const [first, ...others] = engines
  if (first === undefined) throw new Error('no engine')
  for (const [index, { port }] of engines.slice(0, 3).entries()) {
    const from = Math.ceil((16_384 / 3) * index)
    const to = Math.ceil((16_384 / 3) * (index + 1)) - 1
    await redis(port, 'CLUSTER', 'ADDSLOTSRANGE', `${from}`, `${to}`)
    await redis(port, 'CLUSTER', 'SET-CONFIG-EPOCH', `${index + 1}`)
  }
  for (const { port } of others) {
    const busPort = /@(\d+)/.exec(await redis(port, 'CLUSTER', 'NODES'))?.[1] ?? ''
    await redis(first.port, 'CLUSTER', 'MEET', '127.0.0.1', `${port}`, busPort)
  }
  await redisClusterFormed(engines)
  if (withReplica) {
    const replica = engines[3]?.port ?? 0
    await redis(replica, 'CLUSTER', 'REPLICATE', await redis(first.port, 'CLUSTER', 'MYID'))
    await until(
      'the replica to follow',
      async () => /master_link_status:up/.test(await redis(replica, 'INFO', 'replication')),
      () => '',
    )
  }
  return engines
}

/** Resolves when all servers of a Redis Cluster know the others, and find all slots served. */
export async function redisClusterFormed(engines: readonly Engine[]): Promise<void> {
  let info = ''
  for (const { port } of engines) {
    await until(
      `the Redis Cluster to form at ${port}`,
      async () => {
        info = await redis(port, 'CLUSTER', 'INFO')
        return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${engines.length}`)
      },
      () => info,
    )
  }
}

/** One command. */
export async function redis(port: number, ...command: string[]): Promise<string> {
  const [answer = ''] = await redisAll(port, [command])
  return answer
}

/**
 * A template for duplicates: `createClient` creates a class of 500 methods for options other than the last
 * ones, which takes 50 ms.
 */
const redisClient = createClient()

/** Commands over one connection, without waiting in between. */
export async function redisAll(port: number, commands: readonly string[][]): Promise<string[]> {
  const client = redisClient.duplicate({ socket: { host: '127.0.0.1', port, reconnectStrategy: false } })
  client.on('error', () => {}) // the promises reject
  await client.connect()
  try {
    return (await Promise.all(commands.map((command) => client.sendCommand(command)))).map(String)
  } finally {
    client.destroy()
  }
}

export async function startNats(...args: readonly string[]): Promise<Engine> {
  const port = await freePort()
  const all = ['-a', '127.0.0.1', '-p', `${port}`, ...args]
  const engine = new Engine('nats', port, () => all, answersNats)
  await engine.start()
  return engine
}

/** A NATS server with JetStream, which keeps its streams when it is killed and started again. */
export async function startJetStream(): Promise<Engine> {
  const port = await freePort()
  const args = (folder: string) => ['-a', '127.0.0.1', '-p', `${port}`, '-js', '-sd', folder]
  const engine = new Engine('nats', port, args, answersNats)
  await engine.start()
  return engine
}

/**
 * A NATS cluster of three. None of its servers tells clients about the others, so that a test can put a proxy
 * in front of each.
 */
export async function startNatsCluster(...more: readonly string[]): Promise<Engine[]> {
  const clusterPorts = [await freePort(), await freePort(), await freePort()]
  const routes = clusterPorts.map((port) => `nats://127.0.0.1:${port}`)
  const monitors: number[] = []
  const engines: Engine[] = []
  for (const route of routes) {
    const [port, monitor] = [await freePort(), await freePort()]
    const cluster = [
      '--cluster_name',
      'test',
      '--cluster',
      route,
      '--routes',
      routes.join(),
      '--no_advertise',
    ]
    const args = ['-a', '127.0.0.1', '-p', `${port}`, '-m', `${monitor}`, ...cluster, ...more]
    engines.push(new Engine('nats', port, () => args, answersNats))
    monitors.push(monitor)
  }
  await Promise.all(engines.map((engine) => engine.start()))
  await Promise.all(monitors.map((port) => natsClusterFormed(port)))
  return engines
}

async function natsClusterFormed(monitorPort: number): Promise<void> {
  let seen = ''
  await until(
    'the NATS cluster to form',
    async () => {
      seen = await (await fetch(`http://127.0.0.1:${monitorPort}/routez`)).text()
      return JSON.parse(seen).num_routes >= 2
    },
    () => seen,
  )
}

/** A TCP proxy in front of a server that can be disconnected and connected again. */
export class Cable {
  readonly port: number
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #isCut = false
  #isStalled = false
  /** Port of the server to which the next connection leads. */
  target: number

  private constructor(server: Server, port: number, target: number) {
    this.#server = server
    this.port = port
    this.target = target
    server.on('connection', (client) => {
      if (this.#isCut) return client.destroy()
      const upstream = connect(this.target, '127.0.0.1')
      for (const [from, to] of [[client, upstream] as const, [upstream, client] as const]) {
        this.#sockets.add(from)
        from.setNoDelay(true)
        from.on('data', (data) => to.write(data))
        from.on('error', () => {}) // 'close' follows
        from.on('close', () => {
          this.#sockets.delete(from)
          to.destroy()
        })
        if (this.#isStalled) from.pause()
      }
    })
  }

  static async to(target: number): Promise<Cable> {
    const server = createServer({ noDelay: true })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo // the server listens on TCP
    return new Cable(server, port, target)
  }

  /** Drops all connections, and every new one. */
  cut(): void {
    this.#isCut = true
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  /** Passes nothing on, without closing any connection. */
  stall(): void {
    this.#isStalled = true
    for (const socket of this.#sockets) socket.pause()
  }

  restore(): void {
    this.#isCut = false
    this.#isStalled = false
    for (const socket of this.#sockets) socket.resume()
  }

  async close(): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

function redisArgs(port: number, folder: string, more: readonly string[]): string[] {
  const args = [
    '--port',
    `${port}`,
    '--bind',
    '127.0.0.1',
    '--dir',
    folder,
    '--save',
    '',
    '--appendonly',
    'no',
  ]
  return [...args, ...more]
}

async function answersRedis(port: number): Promise<boolean> {
  const answer = await firstWords(port, 'PING\r\n')
  return answer.startsWith('+PONG') || answer.startsWith('-NOAUTH')
}

async function answersNats(port: number): Promise<boolean> {
  return (await firstWords(port, '')).startsWith('INFO ')
}

/** Returns the first message of a server; '' if it sends none. */
async function firstWords(port: number, question: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  try {
    socket.write(question)
    const [data] = await once(socket, 'data', { signal: AbortSignal.timeout(1_000) })
    return String(data)
  } catch {
    return ''
  } finally {
    socket.on('error', () => {}).destroy()
  }
}
