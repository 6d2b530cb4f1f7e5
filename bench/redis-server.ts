import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from 'redis'
import { type Engine, type EngineCounts, EngineProcess, freePort } from './engine.ts'

type Client = ReturnType<typeof clientOf>

/** The work of Redis since it was started. */
export interface RedisCounts extends EngineCounts {
  mainThreadMicros: number
  /** How often it has read from a connection: with one request at a time, that is once for each. */
  reads: number
  scripts: number
}

/** A Redis server on a free port. */
export class RedisServer implements Engine {
  readonly url: string
  readonly #args: readonly string[]
  readonly #folder: string | undefined
  readonly #client: Client
  #process: EngineProcess

  private constructor(port: number, folder: string | undefined) {
    this.url = `redis://127.0.0.1:${port}`
    const persistence =
      folder === undefined ? ['--appendonly', 'no'] : ['--appendonly', 'yes', '--dir', folder]
    this.#args = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', ...persistence]
    this.#folder = folder
    this.#client = clientOf(this.url)
    this.#client.on('error', () => {}) // while it is not listening
    this.#process = new EngineProcess('redis-server', this.#args)
  }

  /** @param isPersistent whether it keeps an append-only file, so that it can be killed and restarted */
  static async start({ isPersistent = false } = {}): Promise<RedisServer> {
    const folder = isPersistent ? await mkdtemp(join(tmpdir(), 'wshub-bench-')) : undefined
    const server = new RedisServer(await freePort(), folder)
    await server.#process.ready(() => server.#client.connect())
    return server
  }

  /** Kills the server, and starts it again after a time. */
  async crash(downMs: number): Promise<void> {
    await this.#process.stop()
    await sleep(downMs)
    this.#process = new EngineProcess('redis-server', this.#args)
    await this.#process.ready(() => this.#loaded())
  }

  /** Resolves when the server has read its file. */
  async #loaded(): Promise<void> {
    for (;;) {
      try {
        return void (await this.#client.ping())
      } catch (error) {
        if (!(error instanceof Error && error.message.startsWith('LOADING '))) throw error
        await sleep(20)
      }
    }
  }

  async counts(): Promise<RedisCounts> {
    const info = `${await this.#client.sendCommand(['INFO', 'stats', 'cpu', 'commandstats'])}`
    const read = (key: string) => Number(new RegExp(`^${key}:([\\d.]+)`, 'm').exec(info)?.[1])
    return {
      receivedBytes: read('total_net_input_bytes'),
      sentBytes: read('total_net_output_bytes'),
      commands: read('total_commands_processed'),
      cpuMicros: (read('used_cpu_user') + read('used_cpu_sys')) * 1e6,
      mainThreadMicros: (read('used_cpu_user_main_thread') + read('used_cpu_sys_main_thread')) * 1e6,
      reads: read('total_reads_processed'),
      scripts: callsOf(info, 'evalsha') + callsOf(info, 'eval'),
    }
  }

  async ping(): Promise<number> {
    const start = performance.now()
    await this.#client.ping()
    return performance.now() - start
  }

  async stop(): Promise<void> {
    this.#client.destroy()
    await this.#process.stop()
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true })
  }
}

/** Returns how often a command was called. */
function callsOf(info: string, command: string): number {
  return Number(new RegExp(`^cmdstat_${command}:calls=(\\d+)`, 'm').exec(info)?.[1] ?? 0)
}

function clientOf(url: string) {
  return createClient({ url, socket: { reconnectStrategy: () => 20 } })
}
