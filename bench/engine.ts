import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

const READY_MS = 120_000

/** The work of an engine since it was started. */
export interface EngineCounts {
  receivedBytes: number
  sentBytes: number
  /** `NaN` if the engine does not count it. */
  commands: number
  cpuMicros: number
}

/** A server that connects nodes, started for one contestant: its counts are the contestant's. */
export interface Engine {
  readonly url: string
  counts(): Promise<EngineCounts>
  /** The time until an answer, in ms. */
  ping(): Promise<number>
  stop(): Promise<void>
}

/** A server program that ends with this process at the latest. */
export class EngineProcess {
  readonly #child: ChildProcess
  readonly #failed: Promise<never>

  constructor(command: string, args: readonly string[]) {
    this.#child = spawn(command, args, { stdio: ['ignore', 'ignore', 'ignore'] })
    this.#failed = once(this.#child, 'error').then(([cause]) => {
      throw new Error(`the benchmarks of the cluster need ${command}: apt-get install ${command}`, { cause })
    })
    this.#failed.catch(() => {})
    const onExit = () => this.#child.kill('SIGKILL')
    process.once('exit', onExit)
    this.#child.once('exit', () => process.off('exit', onExit))
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Resolves with the result of `connect` once the server answers. */
  async ready<Client>(connect: () => Promise<Client>): Promise<Client> {
    const late = sleep(READY_MS, undefined, { ref: false }).then(() => {
      throw new Error(`an engine did not answer within ${READY_MS} ms`)
    })
    return Promise.race([connect(), this.#failed, late])
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // the server listens on TCP
  server.close()
  await once(server, 'close')
  return port
}
