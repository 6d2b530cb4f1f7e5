import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { inTime } from './hub-server.ts'

/** Another program's server that a test starts, and stops by its pid. */
export class Daemon {
  readonly #child: ChildProcess
  readonly #exited: Promise<unknown>
  readonly #kill = (): void => {
    this.#child.kill('SIGKILL')
  }
  /** Everything it has printed. */
  output = ''

  private constructor(file: string, args: readonly string[], env: NodeJS.ProcessEnv) {
    this.#child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
    this.#exited = once(this.#child, 'exit')
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text
      })
    }
    // If a test run is interrupted, it runs no teardown.
    process.once('exit', this.#kill)
  }

  /** Starts a program; resolves once it is ready. If it ends before that, rejects with its output. */
  static async start(
    file: string,
    args: readonly string[],
    isReady: () => Promise<boolean>,
    env: NodeJS.ProcessEnv = {},
  ): Promise<Daemon> {
    const daemon = new Daemon(file, args, env)
    try {
      await inTime(`${file} to start`, daemon.#becomes(isReady), () => daemon.output)
    } catch (error) {
      await daemon.stop()
      throw error
    }
    return daemon
  }

  async #becomes(isReady: () => Promise<boolean>): Promise<void> {
    while (this.#isRunning) {
      if (await isReady()) return
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    throw new Error(`It ended with ${this.#child.exitCode ?? this.#child.signalCode}:\n${this.output}`)
  }

  get #isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** Ends it with SIGTERM; if that fails, with SIGKILL, and rejects. */
  async stop(): Promise<void> {
    if (this.#isRunning) this.#child.kill('SIGTERM')
    try {
      await inTime('a daemon to end', this.#exited, () => this.output)
    } finally {
      this.#kill()
      process.off('exit', this.#kill)
    }
  }
}

/** Returns whether a program listens on a port of 127.0.0.1. */
export async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
