import { createClient } from 'redis'
import type { HubOptions } from 'wshub'
import { redisBackplane } from 'wshub/redis'
import { EngineProcess, freePort } from '../engine.ts'
import type { DrillSystem, Instance } from './drill-system.ts'

/** A Redis that is killed and stopped on purpose. */
export class FaultyRedis {
  readonly url: string
  readonly #port: number
  #process: EngineProcess

  private constructor(port: number) {
    this.#port = port
    this.url = `redis://127.0.0.1:${port}`
    this.#process = this.#launch()
  }

  static async start(system: DrillSystem): Promise<FaultyRedis> {
    const engine = new FaultyRedis(await freePort())
    system.defer(() => engine.kill())
    await engine.#ready()
    return engine
  }

  kill(): Promise<void> {
    return this.#process.stop()
  }

  /** Starts it again after it was killed. */
  async restart(): Promise<void> {
    this.#process = this.#launch()
    await this.#ready()
  }

  /** It keeps its connections, and answers nothing. */
  hang(): void {
    this.#signal('SIGSTOP')
  }

  goOn(): void {
    this.#signal('SIGCONT')
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#process.pid !== undefined) process.kill(this.#process.pid, signal)
  }

  #launch(): EngineProcess {
    const { REDIS_PATH = 'redis-server' } = process.env
    return new EngineProcess(REDIS_PATH, [
      ...['--port', `${this.#port}`, '--bind', '127.0.0.1'],
      ...['--save', '', '--appendonly', 'no'],
    ])
  }

  async #ready(): Promise<void> {
    const client = createClient({ url: this.url, socket: { reconnectStrategy: () => 10 } })
    client.on('error', () => {}) // while it is not listening
    await this.#process.ready(() => client.connect())
    client.destroy()
  }
}

/** Starts two instances over an engine, each of which sends a message to all clients before each reading. */
export async function twoInstances(system: DrillSystem, engine: FaultyRedis) {
  const options = (): HubOptions => ({
    backplane: redisBackplane({ url: engine.url }),
    cluster: { heartbeatIntervalMs: 100, heartbeatTimeoutMs: 400 },
  })
  const instances = [
    await system.serve('chat-1', options()),
    await system.serve('chat-2', options()),
  ] as const
  for (const { url } of instances) await system.connect(url, 10)
  await areConnected(system, instances)
  const traffic = () => {
    for (const { hub } of instances) hub.broadcast('what is said')
  }
  return { instances, traffic }
}

/** Resolves when the instances know each other. */
export function areConnected(system: DrillSystem, instances: readonly Instance[]): Promise<void> {
  return system.until('the instances know each other', () =>
    instances.every(({ hub }) => hub.cluster.state === 'connected' && hub.cluster.stats().nodes === 2),
  )
}
