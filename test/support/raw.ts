/** WebSocket clients of raw bytes: nothing is sent, answered or hidden unless a test says so. */
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { Frame, Opcode } from 'wshub'
import { Http2Tunnel, isHttp2 } from './http2-tunnel.ts'
import { inTime, until } from './in-time.ts'

export { inTime, until }

/** A promise that a test settles. */
export class Gate {
  readonly #promise: Promise<void>
  #open = () => {}

  constructor() {
    this.#promise = new Promise((resolve) => {
      this.#open = resolve
    })
  }

  open(): void {
    this.#open()
  }

  /** Resolves once the gate is open, without a time limit of its own. */
  get opened(): Promise<void> {
    return this.#promise
  }

  /** Resolves once the gate is open; rejects if that takes too long. */
  passed(what = 'a gate'): Promise<void> {
    return inTime(what, this.#promise)
  }
}

/** The address of a program on this machine. */
export interface Target {
  readonly port: number
  readonly host?: string
  readonly secure?: boolean
  /** Whether clients of raw bytes reach it over HTTP/2, each in its own session; else as the whole run. */
  readonly http2?: boolean
}

export interface RequestInit {
  readonly method?: string
  /** Added to the default headers, or replaces one of the same name; `undefined` removes it. */
  readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly body?: string
}

/** The key of RFC 6455 §1.3 and its answer. */
export const sampleKey = 'dGhlIHNhbXBsZSBub25jZQ=='
export const sampleAccept = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='

/** The bytes of an ordinary request. */
export function request(path: string, { method = 'GET', headers = {}, body = '' }: RequestInit = {}): Buffer {
  const lines = [`${method} ${path} HTTP/1.1`]
  const all: RequestInit['headers'] = {
    ...(Object.keys(headers).some((name) => name.toLowerCase() === 'host') ? {} : { Host: 'localhost' }),
    ...headers,
  }
  for (const [name, value] of Object.entries(all)) {
    if (value === undefined) continue
    for (const item of typeof value === 'string' ? [value] : value) lines.push(`${name}: ${item}`)
  }
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`, 'latin1')
}

/** The bytes of an opening handshake. */
export function handshake(path = '/ws', { headers = {}, ...init }: RequestInit = {}): Buffer {
  return request(path, {
    ...init,
    headers: {
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': sampleKey,
      ...headers,
    },
  })
}

/** The bytes of a text message as a client sends it. */
export function text(data: string): Buffer {
  return new Frame({ opcode: Opcode.text, masked: true, payload: Buffer.from(data) }).encode()
}

/** The bytes of a close frame as a client sends it. */
export function closing(code: number): Buffer {
  return new Frame({ ...Frame.close(code), opcode: Opcode.close, masked: true, maskKey: null }).encode()
}

/** An HTTP response. */
export class Answer {
  readonly status: number
  /** By lower-case name; headers of the same name in order. */
  readonly headers: ReadonlyMap<string, readonly string[]>
  readonly head: string
  body = ''

  constructor(head: string) {
    this.head = head
    const [statusLine = '', ...lines] = head.split('\r\n')
    this.status = Number(/^HTTP\/1\.1 (\d{3})/.exec(statusLine)?.[1])
    const headers = new Map<string, string[]>()
    for (const line of lines) {
      const colon = line.indexOf(':')
      const name = line.slice(0, colon).toLowerCase()
      headers.set(name, [...(headers.get(name) ?? []), line.slice(colon + 1).trim()])
    }
    this.headers = headers
  }

  /** The values of a header, joined; `undefined` if it is missing. */
  header(name: string): string | undefined {
    return this.headers.get(name.toLowerCase())?.join(', ')
  }
}

const clients = new Set<RawClient>()

/** Destroys the clients that tests have left open, for `afterEach`. */
export function destroyClients(): void {
  for (const client of clients) client.destroy()
}

/** One TCP or TLS connection of a client. */
export class RawClient {
  readonly #socket: Socket | Http2Tunnel
  #bytes = Buffer.alloc(0)
  /** Everything ever received, for messages of failures. */
  #seen = ''
  #ended = false
  #wake = () => {}

  private constructor(socket: Socket | Http2Tunnel) {
    this.#socket = socket
    clients.add(this)
    socket.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk])
      this.#seen += chunk.toString('latin1')
      this.#wake()
    })
    socket.on('error', (error) => {
      this.#seen += `[${error.message}]`
    })
    socket.on('end', () => {
      this.#seen += '[end]'
      this.#ended = true
      this.#wake()
    })
    socket.on('close', () => {
      this.#seen += '[close]'
      this.#ended = true
      clients.delete(this)
      this.#wake()
    })
  }

  static async connect({
    port,
    host = '127.0.0.1',
    secure = false,
    http2 = isHttp2,
  }: Target): Promise<RawClient> {
    const socket = http2
      ? new Http2Tunnel(`${secure ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`)
      : secure
        ? connectTls({ port, host, rejectUnauthorized: false })
        : connectTcp({ port, host, noDelay: true })
    const client = new RawClient(socket)
    await inTime(
      `a connection to ${host}:${port}`,
      new Promise<void>((resolve, reject) => {
        socket.once(secure && !http2 ? 'secureConnect' : 'connect', resolve)
        socket.once('error', reject)
      }),
    )
    return client
  }

  /** Connects and sends a handshake; the caller reads the answer. */
  static async ask(target: Target, path?: string, init?: RequestInit): Promise<RawClient> {
    const client = await RawClient.connect(target)
    client.write(handshake(path, init))
    return client
  }

  /** Connects and performs the handshake; rejects if the answer is not 101. */
  static async open(target: Target, path?: string, init?: RequestInit): Promise<RawClient> {
    const client = await RawClient.ask(target, path, init)
    await client.opened()
    return client
  }

  /** Connects, sends a handshake that is refused, and reads until the server closes the connection. */
  static async refused(target: Target, path?: string, init?: RequestInit): Promise<Answer> {
    const client = await RawClient.ask(target, path, init)
    return client.lastAnswer()
  }

  /** Resolves once the operating system has the bytes. */
  write(...chunks: (Buffer | string)[]): Promise<void> {
    const bytes = Buffer.concat(chunks.map((chunk) => Buffer.from(chunk)))
    return new Promise((resolve) => this.#socket.write(bytes, () => resolve()))
  }

  send(data: string): void {
    void this.write(text(data))
  }

  /** Sends a close frame. */
  close(code = 1000): void {
    void this.write(closing(code))
  }

  /** Stops reading. */
  pause(): void {
    this.#socket.pause()
  }

  /** Sends FIN, and keeps reading. */
  end(): void {
    this.#socket.end()
  }

  /** Sends RST instead of FIN. */
  reset(): void {
    this.#socket.resetAndDestroy()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** The head of the next response. */
  async head(): Promise<Answer> {
    await this.#wait('the head of a response', () => this.#bytes.includes('\r\n\r\n'))
    return new Answer(this.#take(this.#bytes.indexOf('\r\n\r\n') + 4).slice(0, -4))
  }

  /** The next response of a connection that is kept alive. */
  async answer(): Promise<Answer> {
    const answer = await this.head()
    const length = Number(answer.header('content-length') ?? 0)
    await this.#wait(`a body of ${length} bytes`, () => this.#bytes.length >= length)
    answer.body = this.#take(length)
    return answer
  }

  /** The response after which the server closes the connection. */
  async lastAnswer(): Promise<Answer> {
    const answer = await this.head()
    await this.ended()
    answer.body = this.#take(this.#bytes.length)
    return answer
  }

  /** The 101. */
  async opened(): Promise<Answer> {
    const answer = await this.head()
    if (answer.status !== 101) throw new Error(`Waited for a 101, saw: ${answer.head}`)
    return answer
  }

  /** The next frame. */
  async frame(): Promise<Frame> {
    let decoded: ReturnType<typeof Frame.decode> = null
    await this.#wait('a frame', () => {
      decoded = Frame.decode(this.#bytes)
      return decoded !== null
    })
    const { frame, bytes } = decoded ?? { frame: Frame.text(''), bytes: 0 }
    const copy = new Frame({ ...frame, payload: Buffer.from(frame.payload) })
    this.#take(bytes)
    return copy
  }

  /** The next frame, which is a text message. */
  async message(): Promise<string> {
    const frame = await this.frame()
    if (frame.opcode !== Opcode.text) throw new Error(`Waited for text, saw: ${JSON.stringify(frame)}`)
    return frame.payload.toString()
  }

  /** The code of the next frame, which is a close frame; the client answers it. */
  async closed(): Promise<number> {
    const frame = await this.frame()
    if (frame.opcode !== Opcode.close) throw new Error(`Waited for a close, saw: ${JSON.stringify(frame)}`)
    const code = frame.payload.readUInt16BE(0)
    this.close(code)
    return code
  }

  /** Sends a message and expects it back: the connection works, and nothing else was received. */
  async echoes(data = 'marker'): Promise<void> {
    this.send(data)
    const echo = await this.message()
    if (echo !== data) throw new Error(`Waited for the echo of ${data}, saw: ${echo}`)
  }

  /** Resolves when the server has closed the connection. */
  ended(): Promise<void> {
    return this.#wait('the server to hang up', () => this.#ended, true)
  }

  #take(length: number): string {
    const taken = this.#bytes.subarray(0, length).toString('latin1')
    this.#bytes = this.#bytes.subarray(length)
    return taken
  }

  #wait(what: string, holds: () => boolean, mayEnd = false): Promise<void> {
    const held = new Promise<void>((resolve, reject) => {
      this.#wake = () => {
        try {
          if (holds()) resolve()
          else if (this.#ended && !mayEnd) reject(new Error(`Waited for ${what}, saw: ${this.#seen}`))
        } catch (error) {
          reject(error)
        }
      }
      this.#wake()
    })
    return inTime(what, held, () => this.#seen)
  }
}
