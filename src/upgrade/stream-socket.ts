import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { ChunkedBody } from './chunked-body.ts'

const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants

/** The end of the head of an answer. */
const HEAD_END = '\r\n\r\n'

/** Headers about a connection of HTTP/1.1. */
const OF_HTTP1 = /^(connection|keep-alive|proxy-connection|transfer-encoding|upgrade)$/

type Written = (error?: Error | null) => void

/**
 * A stream of HTTP/2 in the place of an upgrade's socket. Whatever answers writes HTTP/1.1, as to any other
 * socket: the head of the answer becomes the headers of the stream, where a 101 is a 200. Everything after it
 * is passed on unchanged.
 * @see RFC 8441 §5
 */
export class StreamSocket extends Duplex {
  readonly remoteAddress: string | undefined
  readonly remotePort: number | undefined
  readonly remoteFamily: string | undefined
  readonly localAddress: string | undefined
  readonly localPort: number | undefined
  bytesRead = 0
  bytesWritten = 0
  readonly #stream: ServerHttp2Stream
  readonly #hasKey: boolean
  #isReading = false
  /** The head of an answer as far as it was written; `undefined` once it was sent. */
  #head: string | undefined = ''
  /** There while an answer is written in chunks, which HTTP/2 does not know. */
  #chunks: ChunkedBody | undefined

  static {
    // Types have these as fields, which a class cannot replace by getters.
    Object.defineProperties(StreamSocket.prototype, {
      writableLength: {
        get(this: StreamSocket): number {
          return this.destroyed ? 0 : this.#stream.writableLength
        },
      },
      writableNeedDrain: {
        get(this: StreamSocket): boolean {
          return !this.writableEnded && this.#stream.writableNeedDrain
        },
      },
    })
  }

  /** @param hasKey whether the client sent a key: HTTP/2 needs none, but undici waits for the answer to it */
  constructor(stream: ServerHttp2Stream, socket: Socket | TLSSocket, hasKey: boolean) {
    super()
    this.#stream = stream
    this.#hasKey = hasKey
    this.remoteAddress = socket.remoteAddress
    this.remotePort = socket.remotePort
    this.remoteFamily = socket.remoteFamily
    this.localAddress = socket.localAddress
    this.localPort = socket.localPort
    if ('encrypted' in socket && socket.encrypted) copyTls(this, socket) // its Proxy has every property
    stream.on('end', () => this.push(null))
    stream.on('drain', () => this.emit('drain'))
    stream.on('timeout', () => this.emit('timeout'))
    stream.on('error', ignore) // 'close' follows
    stream.on('close', () => {
      // After the end of both sides, what was received may still be read.
      if (!this.writableFinished || !stream.readableEnded) this.destroy()
    })
  }

  // Not through a queue of its own: the stream has one.
  override write(
    chunk: Uint8Array | string,
    encoding?: BufferEncoding | Written | null,
    written?: Written | null,
  ): boolean {
    const done = (typeof encoding === 'function' ? encoding : written) ?? undefined // Node passes null
    const bytes = typeof chunk === 'string' ? encode(chunk, encoding) : chunk
    this.bytesWritten += bytes.length
    if (this.#head === undefined) return this.#pass(bytes, done)
    this.#head += latin1Of(bytes)
    const rest = this.#answer()
    if (rest.length > 0) return this.#pass(rest, done)
    if (done !== undefined) process.nextTick(done)
    return true
  }

  override cork(): void {
    if (this.#head === undefined) this.#stream.cork()
  }

  override uncork(): void {
    this.#stream.uncork()
  }

  override _read(): void {
    if (this.#isReading) {
      this.#stream.resume()
      return
    }
    this.#isReading = true
    this.#stream.on('data', (bytes: Buffer) => {
      this.bytesRead += bytes.length
      // Then the client may send no more than its window. A paused stream never closes after its end.
      if (!this.push(bytes) && !this.destroyed) this.#stream.pause()
    })
  }

  override _write(chunk: Uint8Array | string, encoding: BufferEncoding, done: Written): void {
    this.write(chunk, encoding, () => done())
  }

  override _final(done: () => void): void {
    if (this.#stream.destroyed) done()
    else this.#stream.end(() => this.#ended(done))
  }

  /**
   * Closes the stream once everything has been sent. Whoever ends it expects nothing more, and some proxies
   * (nghttpx) keep their side open.
   * @see RFC 9113 §8.1
   */
  #ended(done: () => void): void {
    done()
    if (!this.#stream.closed) this.#stream.close(NGHTTP2_NO_ERROR)
  }

  override _destroy(error: Error | null, done: Written): void {
    if (!this.#stream.closed) this.#stream.close(this.writableFinished ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL)
    this.#stream.resume() // one that is paused never closes, and would count in its session for ever
    done(error)
  }

  /** Destroys the stream after everything that was written, as a `net.Socket` does. */
  destroySoon(): void {
    this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', () => this.destroy())
  }

  setTimeout(ms: number, onTimeout?: () => void): this {
    this.#stream.setTimeout(ms)
    if (onTimeout !== undefined) this.once('timeout', onTimeout)
    return this
  }

  /** Does nothing: HTTP/2 has done it for its TCP connection. */
  setNoDelay(): this {
    return this
  }

  /** Does nothing: the TCP connection is that of all streams. */
  setKeepAlive(): this {
    return this
  }

  #pass(bytes: Uint8Array, done: Written | undefined): boolean {
    return this.#stream.write(this.#chunks === undefined ? bytes : this.#chunks.read(bytes), done)
  }

  /** Sends the heads that are complete. @returns the bytes after the last of them */
  #answer(): Buffer {
    const nothing = Buffer.alloc(0)
    while (this.#head !== undefined) {
      const end = this.#head.indexOf(HEAD_END)
      if (end < 0) return nothing
      const { status, headers, isChunked } = parseHead(this.#head.slice(0, end))
      const rest = this.#head.slice(end + HEAD_END.length)
      const isInformation = status < 200 && status !== 101
      this.#head = isInformation ? rest : undefined
      if (!this.#hasKey) delete headers['sec-websocket-accept']
      if (this.#stream.destroyed || this.#stream.closed) return nothing
      try {
        if (isInformation) {
          this.#stream.additionalHeaders({ ...headers, ':status': status })
          continue
        }
        if (isChunked) this.#chunks = new ChunkedBody()
        this.#stream.respond({ ...headers, ':status': status === 101 ? 200 : status })
      } catch {
        this.#stream.close(NGHTTP2_INTERNAL_ERROR) // headers that HTTP/2 cannot carry
        return nothing
      }
      return Buffer.from(rest, 'latin1')
    }
    return nothing
  }
}

interface Head {
  readonly status: number
  readonly headers: OutgoingHttpHeaders
  readonly isChunked: boolean
}

/** Reads the head of an answer, which Node or `ws` has written. */
function parseHead(text: string): Head {
  const [statusLine = '', ...lines] = text.split('\r\n')
  const headers: OutgoingHttpHeaders = Object.create(null) // a header may be named `constructor`
  let isChunked = false
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    if (name === 'transfer-encoding') isChunked = /\bchunked\b/i.test(value)
    if (OF_HTTP1.test(name)) continue
    const before = headers[name]
    if (name === 'set-cookie') headers[name] = [...(Array.isArray(before) ? before : []), value]
    else headers[name] = before === undefined ? value : `${before}, ${value}`
  }
  return { status: Number(statusLine.split(' ')[1]), headers, isChunked }
}

/** Gives a socket what frameworks and applications ask a TLS socket for. */
function copyTls(socket: StreamSocket, tls: TLSSocket): void {
  Object.assign(socket, {
    encrypted: true,
    authorized: tls.authorized,
    getPeerCertificate: (isDetailed?: boolean) => tls.getPeerCertificate(isDetailed),
  })
}

function encode(text: string, encoding: BufferEncoding | Written | null | undefined): Buffer {
  return Buffer.from(text, typeof encoding === 'string' ? encoding : 'utf8')
}

/** Returns bytes of a head as text, one character each. */
function latin1Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

function ignore(): void {}
