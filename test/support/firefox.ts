import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { WebSocket } from 'ws'
import { inTime, WAIT_MS } from './in-time.ts'
import { toolPath } from './tools.ts'

interface Answer {
  readonly id?: number
  readonly result?: unknown
  readonly message?: string
}

/** A Firefox without a window that is moved by WebDriver BiDi. It has one page. */
export class Firefox {
  readonly #process: ChildProcess
  readonly #profile: string
  readonly #socket: WebSocket
  readonly #calls = new Map<number, (answer: Answer) => void>()
  #count = 0
  #context = ''

  private constructor(process: ChildProcess, profile: string, socket: WebSocket) {
    this.#process = process
    this.#profile = profile
    this.#socket = socket
    socket.on('message', (data) => {
      const answer: Answer = JSON.parse(String(data))
      if (answer.id !== undefined) this.#calls.get(answer.id)?.(answer)
    })
  }

  static async launch(): Promise<Firefox> {
    const profile = mkdtempSync(join(tmpdir(), 'wshub-firefox-'))
    const args = [
      '--headless',
      '--no-remote',
      '--profile',
      profile,
      '--remote-debugging-port=0',
      'about:blank',
    ]
    const child = spawn(toolPath('firefox'), args, { stdio: ['ignore', 'ignore', 'pipe'] })
    const lines: string[] = []
    const listening = new Promise<string>((resolve) => {
      createInterface({ input: child.stderr }).on('line', (line) => {
        lines.push(line)
        const [, url] = /^WebDriver BiDi listening on (ws:\S+)/.exec(line) ?? []
        if (url !== undefined) resolve(url)
      })
    })
    const socket = new WebSocket(`${await inTime('Firefox', listening, () => lines)}/session`, {
      handshakeTimeout: WAIT_MS,
    })
    await once(socket, 'open')
    const firefox = new Firefox(child, profile, socket)
    await firefox.#call('session.new', { capabilities: { alwaysMatch: { acceptInsecureCerts: true } } })
    const { contexts } = (await firefox.#call('browsingContext.getTree', {})) as {
      contexts: { context: string }[] // as the specification of WebDriver BiDi has it
    }
    firefox.#context = contexts[0]?.context ?? ''
    return firefox
  }

  async goto(url: string): Promise<void> {
    await this.#call('browsingContext.navigate', { context: this.#context, url, wait: 'complete' })
  }

  /** The string that an expression, or the promise it makes, has as its value. */
  async evaluate(expression: string): Promise<string> {
    const target = { context: this.#context }
    const { result, exceptionDetails } = (await this.#call('script.evaluate', {
      expression,
      target,
      awaitPromise: true,
    })) as { result?: { value: string }; exceptionDetails?: { text: string } } // likewise
    if (result === undefined) throw new Error(exceptionDetails?.text ?? 'the page has thrown')
    return result.value
  }

  async close(): Promise<void> {
    const ended = once(this.#process, 'exit')
    this.#socket.terminate()
    this.#process.kill('SIGKILL')
    await inTime('Firefox to end', ended, () => this.#process.pid)
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 10 })
  }

  async #call(method: string, params: object): Promise<unknown> {
    const id = ++this.#count
    const answered = new Promise<Answer>((resolve) => this.#calls.set(id, resolve))
    this.#socket.send(JSON.stringify({ id, method, params }))
    try {
      const { result, message } = await inTime(`${method} of Firefox`, answered, () => params)
      if (message !== undefined) throw new Error(`${method}: ${message}`)
      return result
    } finally {
      this.#calls.delete(id)
    }
  }
}
