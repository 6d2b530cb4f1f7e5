/** Clients of WebSockets over HTTP/2: each stream sends raw frames, and hides nothing. */
import { once } from 'node:events'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
  type OutgoingHttpHeaders,
} from 'node:http2'
import { Frame, Opcode } from 'wshub'
import { Journal } from './hub-server.ts'
import { inTime } from './in-time.ts'
import { closing, type Target, text } from './raw.ts'

type Answer = IncomingHttpHeaders & IncomingHttpStatusHeader

const sessions = new Set<Http2Client>()

/** Destroys the sessions that tests have left open, for `afterEach`. */
export function destroySessions(): void {
  for (const client of sessions) client.destroy()
}

/** One HTTP/2 session of a client. */
export class Http2Client {
  readonly session: ClientHttp2Session
  /** `goaway CODE`, `close`. */
  readonly events = new Journal<string>()

  private constructor(session: ClientHttp2Session) {
    this.session = session
    sessions.add(this)
    session.on('goaway', (code) => this.events.push(`goaway ${code}`))
    session.on('error', (error) => this.events.push(`error ${error.message}`))
    session.on('close', () => {
      this.events.push('close')
      sessions.delete(this)
    })
  }

  /** Connects, and resolves once the settings of the server have arrived. */
  static async connect(
    { port, host = '127.0.0.1', secure = false }: Target,
    settings = {},
  ): Promise<Http2Client> {
    const scheme = secure ? 'https' : 'http'
    const client = new Http2Client(
      connect(`${scheme}://${host}:${port}`, { rejectUnauthorized: false, settings }),
    )
    await inTime(
      'the settings of the server',
      once(client.session, 'remoteSettings'),
      () => client.events.all,
    )
    return client
  }

  /** Whether the server takes WebSockets over HTTP/2. */
  get isAnnounced(): boolean {
    return this.session.remoteSettings.enableConnectProtocol === true
  }

  /** Sends an extended CONNECT; headers of `undefined` are left out. */
  request(path = '/ws', headers: OutgoingHttpHeaders = {}, endStream = false): StreamClient {
    const all = {
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':scheme': 'https',
      ':path': path,
      ':authority': 'localhost',
      'sec-websocket-version': '13',
      ...headers,
    }
    const sent = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
    return new StreamClient(this.session.request(sent, { endStream }))
  }

  /** Opens a WebSocket. */
  async open(path = '/ws', headers: OutgoingHttpHeaders = {}): Promise<StreamClient> {
    const client = this.request(path, headers)
    const answer = await client.answer()
    if (answer[':status'] !== 200) throw new Error(`Waited for a 200, saw: ${JSON.stringify(answer)}`)
    return client
  }

  /** An ordinary request. */
  get(path: string, headers: OutgoingHttpHeaders = {}): StreamClient {
    return new StreamClient(this.session.request({ ':path': path, ...headers }))
  }

  destroy(): void {
    this.session.destroy()
  }
}

/** One stream of a client. */
export class StreamClient {
  readonly stream: ClientHttp2Stream
  /** The frames that were received and not taken by {@link StreamClient.frame} yet. */
  readonly frames = new Journal<Frame>()
  /** `answer STATUS`, `end`, `close CODE`. */
  readonly events = new Journal<string>()
  #answer: Answer | undefined
  #bytes = Buffer.alloc(0)
  body = ''

  constructor(stream: ClientHttp2Stream) {
    this.stream = stream
    stream.on('response', (headers) => {
      this.#answer = headers
      this.events.push(`answer ${headers[':status']}`)
    })
    stream.on('data', (bytes: Buffer) => this.#take(bytes))
    stream.on('end', () => this.events.push('end'))
    stream.on('error', () => {}) // 'close' follows
    stream.on('close', () => this.events.push(`close ${stream.rstCode}`))
  }

  /** The headers of the answer. */
  async answer(): Promise<Answer> {
    await this.events.until('an answer', (all) => all.some((event) => /^(answer|close)/.test(event)))
    if (this.#answer === undefined) throw new Error(`Waited for an answer, saw: ${this.events.all}`)
    return this.#answer
  }

  /** The answer and its body. */
  async refused(): Promise<{ status: number | undefined; headers: Answer; body: string }> {
    const headers = await this.answer()
    await this.ended()
    return { status: headers[':status'], headers, body: this.body }
  }

  write(bytes: Buffer): void {
    this.stream.write(bytes)
  }

  send(data: string): void {
    this.write(text(data))
  }

  close(code = 1000): void {
    this.write(closing(code))
  }

  /** The next frame. */
  async frame(): Promise<Frame> {
    const frame = await this.frames.first('a frame', () => true)
    this.frames.all.shift()
    return frame
  }

  /** The next frame, which is a text message. */
  async message(): Promise<string> {
    const { opcode, payload } = await this.frame()
    if (opcode !== Opcode.text) throw new Error(`Waited for text, saw opcode ${opcode}: ${payload}`)
    return payload.toString()
  }

  /** Sends a message and expects it back: the connection works, and nothing else was received. */
  async echoes(data = 'marker'): Promise<void> {
    this.send(data)
    const echo = await this.message()
    if (echo !== data) throw new Error(`Waited for the echo of ${data}, saw: ${echo}`)
  }

  /** The code of the next frame, which is a close frame; the client answers it. */
  async closed(): Promise<number> {
    const { opcode, payload } = await this.frame()
    if (opcode !== Opcode.close) throw new Error(`Waited for a close, saw opcode ${opcode}: ${payload}`)
    const code = payload.readUInt16BE(0)
    this.close(code)
    return code
  }

  /** Resolves when the server has ended its side. */
  async ended(): Promise<void> {
    await this.events.first('the end of the stream', (event) => event === 'end' || event.startsWith('close'))
  }

  /** The code with which the stream was closed: 0, or that of a reset. */
  async reset(): Promise<number> {
    await this.events.first('the stream to close', (event) => event.startsWith('close'))
    return this.stream.rstCode
  }

  #take(bytes: Buffer): void {
    if (this.#answer?.[':status'] !== 200) {
      this.body += bytes
      return
    }
    this.#bytes = Buffer.concat([this.#bytes, bytes])
    for (let next = Frame.decode(this.#bytes); next !== null; next = Frame.decode(this.#bytes)) {
      const { frame, bytes: length } = next
      this.#bytes = this.#bytes.subarray(length)
      this.frames.push(new Frame({ ...frame, payload: Buffer.from(frame.payload) }))
    }
  }
}
