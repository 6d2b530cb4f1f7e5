import { once } from 'node:events'
import type { IncomingMessage, RequestListener, Server } from 'node:http'
import { type AddressInfo, connect, type createConnection, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import { type ClientOptions, WebSocket } from 'ws'
import {
  type CloseCause,
  type Connection,
  type EventHandler,
  Frame,
  type FrameInit,
  Hub,
  HubError,
  type HubOptions,
  Opcode,
  type UpgradeInit,
} from 'wshub'
import { Http2Tunnel, isHttp2, makeServer } from './http2-tunnel.ts'
import { inTime, pause, WAIT_MS } from './in-time.ts'

export { inTime }

/** The key of RFC 6455 §1.3. */
export const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='

/** Events in order, and waits for them. */
export class Journal<T> {
  readonly all: T[] = []
  readonly #waiting = new Set<() => void>()

  push(item: T): void {
    this.all.push(item)
    for (const wake of this.#waiting) wake()
  }

  /** Resolves with the first item that matches, also an earlier one. */
  async first(what: string, matches: (item: T) => boolean): Promise<T> {
    await this.until(what, () => this.all.some(matches))
    const found = this.all.find(matches)
    if (found === undefined) throw new Error(`${what} has gone`)
    return found
  }

  /** Resolves when the condition holds, which is checked after each item. */
  async until(what: string, holds: (all: readonly T[]) => boolean): Promise<readonly T[]> {
    let wake = () => {}
    const reached = new Promise<void>((resolve) => {
      wake = () => {
        if (holds(this.all)) resolve()
      }
    })
    this.#waiting.add(wake)
    wake()
    try {
      await inTime(what, reached, () => this.all.slice(-100))
    } finally {
      this.#waiting.delete(wake)
    }
    return this.all
  }
}

/** Turns of the event loop after which a wait polls by a timer, so that it takes no processor from others. */
const EAGER_TURNS = 100

/**
 * Polls a condition that has no event: at first once in each turn of the event loop, later every ms. What has
 * to be true until then is checked by `meanwhile`, before each turn; with it, every turn is looked at.
 */
export async function eventually(
  what: string,
  holds: () => boolean,
  seen: () => unknown,
  meanwhile?: () => unknown,
): Promise<void> {
  const end = Date.now() + WAIT_MS
  for (let turns = 0; !holds(); turns++) {
    if (Date.now() > end) throw new Error(`Waited ${WAIT_MS} ms for ${what}, saw: ${JSON.stringify(seen())}`)
    meanwhile?.()
    if (turns < EAGER_TURNS || meanwhile !== undefined) await turn()
    else await pause(1)
  }
}

/** One turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Returns the error that a call throws; fails if it throws none. */
export function thrownBy(call: () => unknown): unknown {
  try {
    call()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

/** The warnings of this process until the test is over. */
export function recordWarnings(): Journal<Error> {
  const warnings = new Journal<Error>()
  const hear = (warning: Error) => warnings.push(warning)
  process.on('warning', hear)
  onTestFinished(() => {
    process.off('warning', hear)
  })
  return warnings
}

export interface HubServer {
  readonly hub: Hub
  readonly server: Server
  readonly port: number
  readonly url: string
  /** The callbacks in order: `open`, `message …`, `ping …`, `pong …`, `error CODE`, `close CODE reason`. */
  readonly log: Journal<string>
  /** Errors passed to the handler's `onError`. */
  readonly errors: Error[]
  /** Errors that `hub.upgrade` threw. */
  readonly refusals: Journal<unknown>
  /** The last arguments of `onClose`. */
  readonly causes: CloseCause[]
  readonly connections: Connection[]
  /** The promises of `hub.upgrade`. */
  readonly upgrades: Promise<Connection>[]
  connect(options?: ClientOptions, protocols?: string[]): Promise<{ client: Client; connection: Connection }>
  /** `serverSocket` is the end of the client's TCP connection in this server. */
  connectRaw(
    headers?: readonly string[],
    tail?: Buffer,
  ): Promise<{ client: RawClient; connection: Connection; serverSocket: Socket }>
}

export interface ServeInit extends UpgradeInit {
  /** Leaves `onError` out of the handler. */
  withoutOnError?: boolean
  /** Runs in the request listener before the upgrade. */
  before?: (req: IncomingMessage) => void
}

/**
 * A hub on a server of node:http, closed when the test is over. It sends no pings unless the options say so:
 * a client of raw bytes answers none, and on a busy machine a test may take the 30 s until the first.
 */
export async function serve(
  options: HubOptions = {},
  handler: EventHandler = {},
  { withoutOnError = false, before, ...init }: ServeInit = {},
): Promise<HubServer> {
  const hub = new Hub({ pingIntervalMs: 0, ...options })
  const log = new Journal<string>()
  const refusals = new Journal<unknown>()
  const errors: Error[] = []
  const causes: CloseCause[] = []
  const connections: Connection[] = []
  const upgrades: Promise<Connection>[] = []
  const recording: EventHandler = {
    onOpen(connection) {
      connections.push(connection)
      log.push('open')
      return handler.onOpen?.(connection)
    },
    onMessage(connection, message) {
      log.push(`message ${message.type === 'text' ? message.data : `0x${message.data.toString('hex')}`}`)
      return handler.onMessage?.(connection, message)
    },
    onClose(connection, code, reason, cause) {
      causes.push(cause)
      log.push(`close ${code} ${reason}`.trim())
      return handler.onClose?.(connection, code, reason, cause)
    },
    onDrop: (connection, dropped) => handler.onDrop?.(connection, dropped),
    onExpire: (connection) => handler.onExpire?.(connection),
    onBehind(connection, room) {
      log.push(`behind ${room}`)
      return handler.onBehind?.(connection, room)
    },
    onPing(connection, payload) {
      log.push(`ping ${payload}`.trim())
      return handler.onPing?.(connection, payload)
    },
    onPong(connection, payload) {
      log.push(`pong ${payload}`.trim())
      return handler.onPong?.(connection, payload)
    },
  }
  if (!withoutOnError) {
    recording.onError = (connection, error) => {
      errors.push(error)
      log.push(`error ${error instanceof HubError ? error.code : error.message}`)
      return handler.onError?.(connection, error)
    }
  }
  const listener: RequestListener = (req, res) => {
    try {
      before?.(req)
      upgrades.push(hub.upgrade(req, recording, init))
    } catch (error) {
      refusals.push(error)
      if (error instanceof HubError) res.writeHead(error.status, { ...error.headers })
      res.end(error instanceof HubError ? String(error) : 'the route failed')
    }
  }
  const server = makeServer(listener)
  const sockets: Socket[] = []
  server.on('connection', (socket) => sockets.push(socket))
  hub.attach(server)
  await listen(server)
  const { port } = server.address() as AddressInfo // the server listens on TCP
  const url = `ws://127.0.0.1:${port}`
  onTestFinished(async () => {
    await hub.close({ timeoutMs: 50 })
    await stop(server)
  })
  const latest = async (count: number) => {
    await log.until('onOpen', () => connections.length > count)
    const connection = connections[count]
    if (connection === undefined) throw new Error('onOpen ran without a connection')
    return connection
  }
  return {
    hub,
    server,
    port,
    url,
    log,
    errors,
    causes,
    refusals,
    connections,
    upgrades,
    async connect(clientOptions, protocols) {
      const count = connections.length
      const client = await Client.open(url, clientOptions, protocols)
      return { client, connection: await latest(count) }
    },
    async connectRaw(headers, tail) {
      const count = connections.length
      const client = await RawClient.open(port, headers, tail)
      const serverSocket = sockets.find(({ remotePort }) => remotePort === client.socket.localPort)
      if (serverSocket === undefined) throw new Error('the server has no such TCP connection')
      return { client, connection: await latest(count), serverSocket }
    },
  }
}

/** Connects by the protocol that this run of the tests is about. */
export function dial(port: number): Socket | Http2Tunnel {
  return isHttp2 ? new Http2Tunnel(`http://127.0.0.1:${port}`) : connect(port, '127.0.0.1')
}

export async function listen(server: Server): Promise<void> {
  server.listen(0, '127.0.0.1')
  await inTime('the server to listen', once(server, 'listening'), () => server.address())
}

export async function stop(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeAllConnections()
  await inTime('the server to close', closed, () => server.address())
}

function clientOptions(url: string): ClientOptions {
  const plain = { perMessageDeflate: false, handshakeTimeout: WAIT_MS }
  if (!isHttp2) return plain
  const tunnel = () => new Http2Tunnel(url.replace('ws', 'http'))
  return { ...plain, createConnection: tunnel as unknown as typeof createConnection } // typed for TCP
}

/** A `ws` client that keeps the messages it receives. */
export class Client {
  readonly socket: WebSocket
  readonly received = new Journal<string>()
  readonly #closes = new Journal<string>()

  private constructor(socket: WebSocket) {
    this.socket = socket
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      this.received.push(isBinary ? `0x${data.toString('hex')}` : data.toString())
    })
    socket.on('close', (code, reason) => this.#closes.push(`${code} ${reason}`.trim()))
    socket.on('error', () => {}) // 'close' follows
    onTestFinished(() => socket.terminate())
  }

  static async open(url: string, options: ClientOptions = {}, protocols: string[] = []): Promise<Client> {
    const client = new Client(new WebSocket(url, protocols, { ...clientOptions(url), ...options }))
    await inTime('the client to open', once(client.socket, 'open'), () => client.received.all)
    return client
  }

  /** The messages received before the marker. */
  async upTo(marker: string): Promise<string[]> {
    await this.received.first(marker, (data) => data === marker)
    return this.received.all.slice(0, this.received.all.indexOf(marker))
  }

  /** The code and reason of its close frame. */
  closed(): Promise<string> {
    return this.#closes.first('the client to close', () => true)
  }

  async close(code = 1000): Promise<void> {
    this.socket.close(code)
    await this.closed()
  }
}

/** A client of raw bytes. */
export class RawClient {
  readonly socket: Socket | Http2Tunnel
  readonly frames = new Journal<Frame>()
  response = ''
  ended = false
  #bytes = Buffer.alloc(0)
  readonly #events = new Journal<string>()

  constructor(port: number) {
    this.socket = dial(port)
    this.socket.on('data', (data) => this.#take(data))
    this.socket.on('error', () => {}) // 'close' follows
    this.socket.on('close', () => {
      this.ended = true
      this.#events.push('close')
    })
    onTestFinished(() => {
      this.socket.destroy()
    })
  }

  /** Performs the handshake, with `tail` in the same packet. */
  static async open(
    port: number,
    headers: readonly string[] = [],
    tail: Buffer = Buffer.alloc(0),
  ): Promise<RawClient> {
    const client = new RawClient(port)
    client.socket.write(Buffer.concat([Buffer.from(handshake(headers)), tail]))
    await client.#events.first('the answer to the handshake', () => true)
    return client
  }

  /** Sends a masked frame. */
  send(init: FrameInit): void {
    this.socket.write(new Frame({ masked: true, ...init }).encode())
  }

  async closeFrame(): Promise<{ code: number | undefined; reason: string }> {
    const { payload } = await this.frames.first('a close frame', ({ opcode }) => opcode === Opcode.close)
    return {
      code: payload.length < 2 ? undefined : payload.readUInt16BE(0),
      reason: payload.subarray(2).toString(),
    }
  }

  /** Everything received until the server closed the connection. */
  async hungUp(): Promise<void> {
    await this.#events.first('the server to hang up', (event) => event === 'close')
  }

  #take(data: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, data])
    if (this.response === '') {
      const end = this.#bytes.indexOf('\r\n\r\n')
      if (end < 0) return
      this.response = this.#bytes.subarray(0, end + 4).toString('latin1')
      this.#bytes = this.#bytes.subarray(end + 4)
      this.#events.push('response')
      if (!this.response.startsWith('HTTP/1.1 101')) return
    }
    if (!this.response.startsWith('HTTP/1.1 101')) return
    for (let next = Frame.decode(this.#bytes); next !== null; next = Frame.decode(this.#bytes)) {
      this.#bytes = this.#bytes.subarray(next.bytes)
      this.frames.push(next.frame)
    }
  }
}

/**
 * The bytes of an opening handshake. A given header replaces the one of the same name; an empty value removes
 * it.
 */
export function handshake(headers: readonly string[] = [], requestLine = 'GET / HTTP/1.1'): string {
  const lines = new Map([
    ['host', 'Host: localhost'],
    ['connection', 'Connection: Upgrade'],
    ['upgrade', 'Upgrade: websocket'],
    ['sec-websocket-version', 'Sec-WebSocket-Version: 13'],
    ['sec-websocket-key', `Sec-WebSocket-Key: ${KEY}`],
  ])
  for (const header of headers) {
    const [name = '', ...value] = header.split(':')
    if (value.join('').trim() === '') lines.delete(name.toLowerCase())
    else lines.set(name.toLowerCase(), header)
  }
  return `${[requestLine, ...lines.values()].join('\r\n')}\r\n\r\n`
}
