import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'

interface Pending {
  resolve(result: unknown): void
  reject(error: Error): void
}

interface Reply {
  id: number
  result?: unknown
  error?: string
  acknowledged?: number
}

const CALL_DEADLINE_MS = 180_000
const canPin = availableParallelism() >= 2 && hasTaskset()

/** A process of this run that answers calls over IPC, on its own core if there are two. */
export class Subprocess {
  static readonly #running = new Set<Subprocess>()
  /** Called when the load process reports how many messages all clients got. */
  onAcknowledged: (count: number) => void = () => {}
  readonly #name: string
  readonly #child: ChildProcess
  readonly #pending = new Map<number, Pending>()
  #lastId = 0

  constructor(name: string, command: string, args: readonly string[], core: number) {
    this.#name = name
    const [file, fileArgs] = canPin ? ['taskset', ['-c', String(core), command, ...args]] : [command, args]
    this.#child = spawn(file, fileArgs, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    Subprocess.#running.add(this)
    this.#child.on('message', (reply: Reply) => this.#settle(reply))
    this.#child.on('error', (error) => this.#fail(error))
    this.#child.on('exit', (code, signal) => {
      Subprocess.#running.delete(this)
      this.#fail(new Error(`${name} exited with ${signal ?? code}`))
    })
  }

  /** Stops all that still run, and so ends whatever waits for one of them. */
  static async stopAll(): Promise<void> {
    await Promise.all([...Subprocess.#running].map((each) => each.stop()))
  }

  call<Result>(call: string, options: unknown = {}): Promise<Result> {
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      const deadline = setTimeout(
        () => this.#settle({ id, error: `${call} took longer than ${CALL_DEADLINE_MS} ms` }),
        CALL_DEADLINE_MS,
      )
      const settled = () => {
        clearTimeout(deadline)
        this.#pending.delete(id)
      }
      this.#pending.set(id, {
        resolve(result) {
          settled()
          resolve(result as Result) // the calls and their results are declared by their callers
        },
        reject(error) {
          settled()
          reject(error)
        },
      })
      this.#child.send({ id, call, options })
    })
  }

  /** Tells a server how many messages all clients got. */
  acknowledge(count: number): void {
    this.#child.send({ acknowledged: count })
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await exited
  }

  #settle({ id, result, error, acknowledged }: Reply): void {
    if (acknowledged) {
      this.onAcknowledged(acknowledged)
      return
    }
    const pending = this.#pending.get(id)
    if (error === undefined) pending?.resolve(result)
    else pending?.reject(new Error(`${this.#name}: ${error}`))
  }

  #fail(error: Error): void {
    for (const pending of this.#pending.values()) pending.reject(error)
  }
}

function hasTaskset(): boolean {
  try {
    execFileSync('taskset', ['-p', String(process.pid)], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
