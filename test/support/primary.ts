import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Caller } from './call.ts'
import { compiled } from './compiled.ts'

/** A primary of `node:cluster` in its own process. */
export class Primary {
  readonly #child: ChildProcess
  readonly #caller: Caller
  #workers = 0

  private constructor(child: ChildProcess) {
    this.#child = child
    this.#caller = new Caller((call) => child.send(call))
    child.on('message', (message: unknown) => this.#caller.receive(message))
  }

  /** @param worker the file of its workers, which send a message when they accept calls */
  static async start(worker: string, serialization: 'advanced' | 'json' = 'advanced'): Promise<Primary> {
    const file = fileURLToPath(new URL('./primary-process.ts', import.meta.url))
    const child = fork(compiled(file), [compiled(worker), serialization], {
      execArgv: ['--expose-gc'],
      serialization: 'advanced',
    })
    await once(child, 'spawn')
    return new Primary(child)
  }

  call(method: string, ...args: readonly unknown[]): Promise<unknown> {
    return this.#caller.call(-1, method, args)
  }

  async fork(): Promise<WorkerProcess> {
    const index = this.#workers++
    const pid = (await this.call('fork', index)) as number // the pid of a process that has just sent a message
    return { index, pid, call: (method, args) => this.#caller.call(index, method, args) }
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** Ends it with its workers. */
  async stop(): Promise<void> {
    const exit = once(this.#child, 'exit')
    this.#child.disconnect()
    await exit
  }
}

export interface WorkerProcess {
  readonly index: number
  readonly pid: number
  call(method: string, args: readonly unknown[]): Promise<unknown>
}
