import { createClient } from 'redis'
import { type Engine, type EngineCounts, EngineProcess, freePort } from './engine.ts'

type Client = ReturnType<typeof clientOf>

/** A Redis server on a free port. */
export class RedisServer implements Engine {
  readonly url: string
  readonly #process: EngineProcess
  readonly #client: Client

  private constructor(process: EngineProcess, client: Client, url: string) {
    this.#process = process
    this.#client = client
    this.url = url
  }

  static async start(): Promise<RedisServer> {
    const port = await freePort()
    const url = `redis://127.0.0.1:${port}`
    const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
    const process = new EngineProcess('redis-server', args)
    const client = clientOf(url)
    client.on('error', () => {}) // until it is listening
    await process.ready(() => client.connect())
    return new RedisServer(process, client, url)
  }

  async counts(): Promise<EngineCounts> {
    const info = `${await this.#client.sendCommand(['INFO', 'stats', 'cpu'])}`
    const read = (key: string) => Number(new RegExp(`^${key}:([\\d.]+)`, 'm').exec(info)?.[1])
    return {
      receivedBytes: read('total_net_input_bytes'),
      sentBytes: read('total_net_output_bytes'),
      commands: read('total_commands_processed'),
      cpuMicros: (read('used_cpu_user') + read('used_cpu_sys')) * 1e6,
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
  }
}

function clientOf(url: string) {
  return createClient({ url, socket: { reconnectStrategy: () => 20 } })
}
