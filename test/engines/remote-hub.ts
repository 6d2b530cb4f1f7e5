import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Backplane } from 'wshub'
import { Caller, type Methods } from '../support/call.ts'
import { compiled } from '../support/compiled.ts'
import { inTime, WAIT_MS } from '../support/in-time.ts'
import type { Primary } from '../support/primary.ts'
import { type BackplaneSpec, backplaneOf } from './backplane-spec.ts'
import { type HubMethods, hubMethods, type Seen } from './hub-methods.ts'

export const HUB_PROCESS = fileURLToPath(new URL('./hub-process.ts', import.meta.url))

/** A hub that a test controls, in any process. */
export class RemoteHub {
  readonly #call: (method: string, args: readonly unknown[]) => Promise<unknown>
  /** The process of the hub; `undefined` for the test's own. */
  readonly #signal: ((name: NodeJS.Signals) => void) | undefined
  node = ''
  port = 0
  isDead = false

  private constructor(
    call: (method: string, args: readonly unknown[]) => Promise<unknown>,
    signal?: (name: NodeJS.Signals) => void,
  ) {
    this.#call = call
    this.#signal = signal
  }

  /** Launches the three in processes of their own, and the spare one in this one. */
  static async launch(which: 'near' | 'far' | 'spare', spec: BackplaneSpec): Promise<RemoteHub> {
    return which === 'spare' ? RemoteHub.local(() => backplaneOf(spec)) : RemoteHub.fork(spec)
  }

  /** Launches it in a process of its own, which ends with this one at the latest. */
  static async fork(spec: BackplaneSpec): Promise<RemoteHub> {
    const child = fork(compiled(HUB_PROCESS), [JSON.stringify(spec)], {
      execArgv: [],
      serialization: 'advanced',
    })
    const caller = new Caller((call) => child.send(call, () => {})) // unanswered when it has ended
    child.on('message', (message: unknown) => caller.receive(message))
    await once(child, 'message') // that it listens
    return new RemoteHub(
      (method, args) => caller.call(0, method, args),
      (name) => void child.kill(name),
    )
  }

  /** Launches it in a worker of node:cluster. */
  static async of(primary: Primary): Promise<RemoteHub> {
    const { pid, call } = await primary.fork()
    return new RemoteHub(call, (name) => void process.kill(pid, name))
  }

  /** Launches it in this process. */
  static local(createBackplane: () => Promise<Backplane>): RemoteHub {
    const methods: Methods = hubMethods(createBackplane)
    const call = async (method: string, args: readonly unknown[]) => methods[method]?.(...(args as never[])) // typed by `call` below
    return new RemoteHub(call)
  }

  async call<Method extends keyof HubMethods>(
    method: Method,
    ...args: Parameters<HubMethods[Method]>
  ): Promise<Awaited<ReturnType<HubMethods[Method]>>> {
    const answered = this.#call(method, args)
    const value = await inTime(`${this.node} to ${method}`, answered, () => '')
    return value as Awaited<ReturnType<HubMethods[Method]>> // what that method returns
  }

  /** Has no time limit of its own, since it loads the client of the engine. */
  async open(init?: Parameters<HubMethods['open']>[0]): Promise<void> {
    const { node, port } = (await this.#call('open', [init])) as Awaited<ReturnType<HubMethods['open']>> // what it returns
    this.node = node
    this.port = port
  }

  /** Polls until a condition holds. */
  async until(what: string, holds: (seen: Seen) => boolean): Promise<Seen> {
    const end = Date.now() + WAIT_MS
    for (;;) {
      const seen = await this.call('seen')
      if (holds(seen)) return seen
      if (Date.now() > end) throw new Error(`Waited for ${what}, saw: ${JSON.stringify(seen)}`)
      await sleep(10)
    }
  }

  /** Ends its process, if it has one. */
  end(): void {
    if (!this.isDead) this.#signal?.('SIGKILL')
    this.isDead = true
  }

  /** Sends a signal to its process. */
  signal(name: NodeJS.Signals): void {
    if (this.#signal === undefined) throw new Error('The hub is in the process of the test')
    this.#signal(name)
    this.isDead ||= name === 'SIGKILL'
  }
}
