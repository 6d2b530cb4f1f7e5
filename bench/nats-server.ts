import { readFileSync } from 'node:fs'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { type Engine, type EngineCounts, EngineProcess, freePort } from './engine.ts'

/** The unit of the times in /proc/<pid>/stat. */
const MICROS_PER_TICK = 10_000

/**
 * A NATS server on a free port. NATS does not count its CPU time or the bytes of its protocol; Linux does.
 */
export class NatsServer implements Engine {
  readonly url: string
  readonly #process: EngineProcess
  readonly #connection: NatsConnection

  private constructor(process: EngineProcess, connection: NatsConnection, url: string) {
    this.#process = process
    this.#connection = connection
    this.url = url
  }

  static async start(): Promise<NatsServer> {
    const port = await freePort()
    const url = `nats://127.0.0.1:${port}`
    const process = new EngineProcess('nats-server', ['-a', '127.0.0.1', '-p', `${port}`])
    const options = {
      servers: url,
      waitOnFirstConnect: true,
      reconnectTimeWait: 20,
      maxReconnectAttempts: -1,
    }
    return new NatsServer(process, await process.ready(() => connect(options)), url)
  }

  async counts(): Promise<EngineCounts> {
    const [io, stat] = ['io', 'stat'].map((file) => {
      return readFileSync(`/proc/${this.#process.pid}/${file}`, 'latin1')
    })
    const bytes = (key: string) => Number(new RegExp(`^${key}: (\\d+)`, 'm').exec(io ?? '')?.[1])
    // The fields after the name in brackets, which may contain spaces; see proc(5).
    const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? []
    return {
      receivedBytes: bytes('rchar'),
      sentBytes: bytes('wchar'),
      commands: Number.NaN,
      cpuMicros: (Number(fields[11]) + Number(fields[12])) * MICROS_PER_TICK,
    }
  }

  async ping(): Promise<number> {
    const start = performance.now()
    await this.#connection.flush()
    return performance.now() - start
  }

  async stop(): Promise<void> {
    await this.#connection.close()
    await this.#process.stop()
  }
}
