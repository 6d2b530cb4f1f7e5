import { type ChildProcess, fork } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { compiled } from '../support/compiled.ts'
import { WAIT_MS } from '../support/in-time.ts'
import type { Account, Command, Report, Snapshot } from './protocol.ts'

export class SoakServer {
  readonly accounts = new Map<string, Account>()
  readonly #child: ChildProcess
  readonly #reports = new EventEmitter()

  constructor() {
    this.#child = fork(compiled(fileURLToPath(new URL('server.ts', import.meta.url))), [], {
      execArgv: ['--expose-gc'],
    })
    this.#child.on('message', (report: Report) => {
      if ('account' in report) this.accounts.set(report.account.id, report.account)
      else this.#reports.emit('report', report)
    })
    this.#child.on('exit', (code) =>
      this.#reports.emit('error', new Error(`the server has ended with ${code}`)),
    )
    this.#reports.on('error', () => {}) // the waits receive it
  }

  async port(): Promise<number> {
    const [report] = await once(this.#reports, 'report')
    return (report as { port: number }).port // its first message
  }

  async snapshot(): Promise<Snapshot> {
    const told = once(this.#reports, 'report')
    this.#tell('snapshot')
    const [report] = await told
    return (report as { snapshot: Snapshot }).snapshot // the server's answer to that call
  }

  /** Waits until the server has noticed that all have disconnected. */
  async emptied(): Promise<void> {
    const end = Date.now() + WAIT_MS
    for (;;) {
      const { stats } = await this.snapshot()
      const isEmpty = stats.connections === 0 && stats.pendingUpgrades === 0
      if (isEmpty && this.accounts.size === stats.closedConnections) return
      if (Date.now() > end)
        throw new Error(`after ${WAIT_MS} ms the server still has ${JSON.stringify(stats)}`)
    }
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return
    const exit = once(this.#child, 'exit')
    this.#tell('stop')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), WAIT_MS)
    await exit
    clearTimeout(timer)
  }

  #tell(command: Command): void {
    this.#child.send(command)
  }
}
