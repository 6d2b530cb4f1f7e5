/** A client that speaks HTTP/1.1 to a test, and HTTP/2 to the server, so that one suite can test both. */
import { createServer as createHttp1Server, type RequestListener, type Server, STATUS_CODES } from 'node:http'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  createSecureServer,
  createServer,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2'
import { Duplex } from 'node:stream'
import { Handshake } from 'wshub'

/**
 * Whether the suites of adapters and of the protocol run over HTTP/2: their servers are those of node:http2,
 * and their clients are tunnels.
 */
export const isHttp2 = process.env.WSHUB_HTTP2 === '1'

/** Headers of HTTP/1.1 that a stream does without. */
const OF_HTTP1 = ['connection', 'upgrade', 'host', 'transfer-encoding', 'keep-alive']

const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = constants

/** One stream, whose handshake is written and answered as one of HTTP/1.1. */
export class Http2Tunnel extends Duplex {
  readonly session: ClientHttp2Session
  #stream: ClientHttp2Stream | undefined
  #head = Buffer.alloc(0)
  #key = ''
  #isReset = false
  #isReady = false

  /** @param origin `http://host:port`, or `https:` */
  constructor(origin: string) {
    super({ allowHalfOpen: false }) // as a socket has it
    this.session = connect(origin, { rejectUnauthorized: false })
    this.session.on('error', () => {}) // 'close' follows
    this.session.on('close', () =>
      this.destroy(this.#isReady ? undefined : new Error('no session of HTTP/2')),
    )
    this.session.once('remoteSettings', () => {
      this.#isReady = true
      this.#tryRequest()
      this.emit('connect')
    })
  }

  /** The port of the client's end. */
  get localPort(): number | undefined {
    return this.session.socket.localPort
  }

  /** Resets the stream. */
  resetAndDestroy(): void {
    this.#isReset = true
    this.destroy()
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#stream !== undefined) {
      if (this.#stream.destroyed || this.#stream.writableEnded) done()
      else this.#stream.write(bytes, () => done())
      return
    }
    this.#head = Buffer.concat([this.#head, bytes])
    this.#tryRequest()
    done()
  }

  #tryRequest(): void {
    const end = this.#head.indexOf('\r\n\r\n')
    if (end < 0 || !this.#isReady || this.destroyed) return
    this.#request(this.#head.subarray(0, end).toString('latin1'), this.#head.subarray(end + 4))
  }

  setTimeout(): this {
    return this
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  unref(): this {
    return this
  }

  ref(): this {
    return this
  }

  override _read(): void {
    this.#stream?.resume()
  }

  override _final(done: () => void): void {
    if (this.#stream === undefined || this.#stream.destroyed) done()
    else this.#stream.end(() => done())
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const stream = this.#stream
    const isOver = stream === undefined || stream.destroyed
    if (!isOver) {
      // As a socket does, it discards what has not been sent.
      const isCut = this.#isReset || stream.writableLength > 0
      stream.close(isCut ? NGHTTP2_CANCEL : NGHTTP2_NO_ERROR)
      stream.resume() // one that is paused never closes
    }
    if (isOver || this.#isReset) this.session.close()
    else stream.once('close', () => this.session.close())
    done(error)
  }

  /** Sends a request: an extended CONNECT if it is a handshake. */
  #request(head: string, rest: Buffer): void {
    const [requestLine = '', ...lines] = head.split('\r\n')
    const [method = '', path = ''] = requestLine.split(' ')
    const given = new Map<string, string[]>()
    for (const line of lines) {
      const colon = line.indexOf(':')
      const name = line.slice(0, colon).toLowerCase()
      given.set(name, [...(given.get(name) ?? []), line.slice(colon + 1).trim()])
    }
    const lists = (name: string, token: string) =>
      given.get(name)?.some((value) =>
        value
          .toLowerCase()
          .split(/\s*,\s*/)
          .includes(token),
      ) === true
    const isHandshake = method === 'GET' && lists('upgrade', 'websocket') && lists('connection', 'upgrade')
    this.#key = given.get('sec-websocket-key')?.[0] ?? ''
    const headers: OutgoingHttpHeaders = isHandshake
      ? { ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'http', ':path': path }
      : { ':method': method, ':path': path }
    headers[':authority'] = given.get('host')?.[0] ?? 'localhost'
    for (const [name, values] of given) {
      if (!OF_HTTP1.includes(name)) headers[name] = values.length === 1 ? values[0] : values
    }
    const stream = this.session.request(headers, { endStream: false })
    this.#stream = stream
    stream.on('headers', (answer) => this.push(this.#headOf(answer, false)))
    stream.on('response', (answer) => this.push(this.#headOf(answer, isHandshake)))
    stream.on('data', (bytes: Buffer) => {
      if (!this.push(bytes) && !this.destroyed) stream.pause()
    })
    stream.on('end', () => this.push(null))
    stream.on('error', () => {}) // 'close' follows
    stream.on('close', () => {
      if (!stream.readableEnded) this.destroy() // else what was received may still be read
    })
    if (rest.length > 0) stream.write(rest)
    if (!isHandshake) stream.end()
  }

  #headOf(answer: IncomingHttpHeaders, isHandshake: boolean): string {
    const isOpen = isHandshake && Number(answer[':status']) === 200
    const status = isOpen ? 101 : Number(answer[':status'])
    const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`]
    if (isOpen) {
      const accept = Handshake.generateAcceptKey(this.#key)
      lines.push('Upgrade: websocket', 'Connection: Upgrade', `Sec-WebSocket-Accept: ${accept}`)
    } else if (isHandshake) lines.push('Connection: close') // as a stream ends with its answer
    for (const [name, value] of Object.entries(answer)) {
      if (name.startsWith(':') || name === 'sec-websocket-accept') continue
      for (const item of [value ?? []].flat()) lines.push(`${name}: ${item}`)
    }
    return `${lines.join('\r\n')}\r\n\r\n`
  }
}

/** A server of the protocol that this run of the tests is about, which clients of raw bytes expect. */
export function makeServer(listener: RequestListener): Server {
  return isHttp2 ? http2Server(listener) : createHttp1Server(listener)
}

/**
 * Makes a server of node:http2, with the method of node:http that closes its connections, and its type, so
 * that a suite can name one.
 */
export function http2Server(listener: RequestListener, tls?: { key: string; cert: string }): Server {
  const listening = listener as never // typed for node:http
  const server = tls ? createSecureServer({ ...tls, allowHTTP1: true }, listening) : createServer(listening)
  return withSessions(server as unknown as Server)
}

/** Gives a server of node:http2 the method of node:http that closes its connections. */
export function withSessions(server: Server): Server {
  const sessions = new Set<{ destroy(): void }>()
  server.on('session', (session) => {
    sessions.add(session)
    session.on('close', () => sessions.delete(session))
  })
  const closeAllConnections = () => {
    for (const session of sessions) session.destroy()
  }
  return Object.assign(server, { closeAllConnections })
}
