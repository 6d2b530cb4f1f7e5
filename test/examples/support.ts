import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { type ClientOptions, WebSocket } from 'ws'
import type { Address, Running } from '../../examples/run.ts'
import { compiled } from '../support/compiled.ts'
import { inTime } from '../support/in-time.ts'

export { inTime }

export type Start = (address: Address) => Promise<Running>
export type Json = Record<string, unknown>

export const anyPort: Address = { port: 0, host: '127.0.0.1' }

/** A `ws` client that keeps all messages it receives, in order. */
export class Client {
  readonly #socket: WebSocket
  readonly #received: (string | Buffer)[] = []
  readonly #closed: Promise<string>
  #taken = 0
  #wake = () => {}

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on('message', (data: Buffer, isBinary) => {
      this.#received.push(isBinary ? data : data.toString())
      this.#wake()
    })
    this.#closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => resolve(`${code} ${reason}`.trim()))
    })
    socket.on('error', () => {}) // 'close' follows
  }

  /** Connects to a path of a running example; rejects when the server answers with anything but 101. */
  static async open(
    { url }: Pick<Running, 'url'>,
    path: string,
    options: ClientOptions = {},
    protocols: string[] = [],
  ): Promise<Client> {
    const socket = new WebSocket(url.replace('http', 'ws') + path, protocols, options)
    const client = new Client(socket)
    await inTime('the connection to open', once(socket, 'open'), () => client.#received)
    return client
  }

  send(data: string | Buffer | Json) {
    this.#socket.send(typeof data === 'string' || Buffer.isBuffer(data) ? data : JSON.stringify(data))
  }

  /** The messages not taken yet, up to the first that matches, which is the last in the list. */
  async take(what: string, matches: (data: string | Buffer) => boolean): Promise<(string | Buffer)[]> {
    const start = this.#taken
    const found = new Promise<number>((resolve) => {
      this.#wake = () => {
        const index = this.#received.findIndex((data, index) => index >= start && matches(data))
        if (index >= 0) resolve(index)
      }
      this.#wake()
    })
    this.#taken = (await inTime(what, found, () => this.#received.slice(start))) + 1
    return this.#received.slice(start, this.#taken)
  }

  /** The same for JSON messages: those up to the first that has all the given values. */
  async takeJson(wanted: Json): Promise<Json[]> {
    const taken = await this.take(JSON.stringify(wanted), (data) => {
      const message = parse(data)
      return Object.entries(wanted).every(([key, value]) => message[key] === value)
    })
    return taken.map(parse)
  }

  /** The next message. */
  async next(): Promise<string | Buffer | undefined> {
    const taken = await this.take('a message', () => true)
    return taken.at(-1)
  }

  /** The code and the reason of the connection's close frame. */
  closed(): Promise<string> {
    return inTime('the close', this.#closed, () => this.#received)
  }

  async close(): Promise<void> {
    this.#socket.close()
    await this.closed()
  }

  terminate() {
    this.#socket.terminate()
  }
}

function parse(data: string | Buffer): Json {
  return JSON.parse(data.toString())
}

/**
 * Requests an upgrade in raw bytes and returns everything received until the server closes the connection.
 */
export async function refusedUpgrade(
  { url }: Running,
  path: string,
  headers: string[] = [],
): Promise<string> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  let answer = ''
  socket.setEncoding('latin1').on('data', (text: string) => {
    answer += text
  })
  const lines = [
    `GET ${path} HTTP/1.1`,
    `Host: ${hostname}:${port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
  ]
  socket.write(`${lines.join('\r\n')}\r\n\r\n`)
  await inTime('the server to hang up', once(socket, 'close'), () => answer)
  return answer
}

const root = fileURLToPath(new URL('../..', import.meta.url))

/** An example that runs in its own process. */
export class Process {
  readonly #child: ChildProcessByStdio<null, Readable, Readable>
  readonly #exit: Promise<unknown[]>
  readonly #url: Promise<string>
  #output = ''

  constructor(file: string, env: NodeJS.ProcessEnv = {}, args = [compiled(join(root, file))]) {
    this.#child = spawn(process.execPath, args, {
      cwd: root,
      env: { ...process.env, ...env, PORT: '0' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#exit = once(this.#child, 'exit')
    this.#url = new Promise((resolve) => {
      for (const stream of [this.#child.stdout, this.#child.stderr]) {
        stream.setEncoding('utf8').on('data', (chunk: string) => {
          this.#output += chunk
          const url = /^Listening on (http:\S+)$/m.exec(this.#output)?.[1]
          if (url !== undefined) resolve(url)
        })
      }
    })
  }

  /** Starts it as a reader of the README does. */
  static withTsx(file: string): Process {
    return new Process(file, {}, ['--import', 'tsx', file])
  }

  /** The address that it prints. */
  url(): Promise<string> {
    return inTime('the address', this.#url, () => this.#output)
  }

  /** The exit code and the signal with which it ends. */
  exit(): Promise<unknown[]> {
    return inTime('the end of the process', this.#exit, () => this.#output)
  }

  kill(signal: NodeJS.Signals) {
    this.#child.kill(signal)
  }
}
