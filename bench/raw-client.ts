import { connect, type Socket } from 'node:net'
import { createInflater, type Decoder } from './inflater.ts'

// Fixed, so that the accept value is known (RFC 6455 §1.3 uses the same pair).
const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
const MASK = Buffer.from([0x37, 0xfa, 0x21, 0x3d])
const NOTHING = Buffer.alloc(0)
// Every client reads into it: the rest of a frame is copied away before the next client reads.
const READ_BUFFER = Buffer.allocUnsafe(1 << 18)

/** The way messages are wrapped: not at all, or in packets of Engine.IO and Socket.IO. */
export type Dialect = 'plain' | 'socket.io'

export interface RawClientOptions {
  port: number
  path: string
  dialect: Dialect
  /** Offers permessage-deflate as browsers do. */
  compression: boolean
}

/** The events of a client. `bytes` is valid only during the call. */
export interface RawClientListener {
  onMessage(client: RawClient, bytes: Buffer, start: number, end: number, compressed: boolean): void
  onPing(): void
  onFailure(client: RawClient, reason: string): void
}

/**
 * A WebSocket client on a bare TCP socket that does only what the benchmarks need, so that they measure the
 * server: text messages in one frame each, pings answered, everything else a failure.
 */
export class RawClient {
  readonly index: number
  /** Resolves when messages may be sent and received. */
  readonly opened: Promise<void>
  /** Inflates the payloads of its messages, in their order. */
  decode: Decoder = (payload) => payload.toString('latin1')

  readonly #options: RawClientOptions
  readonly #listener: RawClientListener
  readonly #socket: Socket
  #markOpened: () => void = () => {}
  #rest: Buffer = NOTHING
  #upgraded = false
  /** Frames sent while it reads, which leave in one write: a client may have many in flight. */
  #answers: Buffer[] | undefined
  #ended = false

  constructor(index: number, options: RawClientOptions, listener: RawClientListener) {
    this.index = index
    this.#options = options
    this.#listener = listener
    this.opened = new Promise((resolve) => {
      this.#markOpened = resolve
    })
    this.#socket = connect({
      port: options.port,
      host: '127.0.0.1',
      noDelay: true,
      onread: {
        buffer: READ_BUFFER,
        callback: (length) => {
          this.#receive(READ_BUFFER, length)
          return true
        },
      },
    })
    this.#socket.on('error', (error) => this.#fail(error.message))
    this.#socket.on('close', () => this.#fail('the server closed the TCP connection'))
    this.#socket.write(
      `GET ${options.path} HTTP/1.1\r\nHost: 127.0.0.1:${options.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n` +
        `${options.compression ? 'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n' : ''}\r\n`,
    )
  }

  /** Sends a text message of ASCII characters. */
  send(text: string): void {
    const frame = maskedFrame(0x81, Buffer.from(text, 'latin1'))
    if (this.#answers === undefined) this.#socket.write(frame)
    else this.#answers.push(frame)
  }

  /** Stops reading, so that the server's writes queue up. */
  stall(): void {
    this.#socket.pause()
  }

  /** Ends {@link stall}. */
  readAgain(): void {
    this.#socket.resume()
  }

  /** Ends the connection at once and frees its port. */
  destroy(): void {
    this.#ended = true
    this.#socket.resetAndDestroy()
  }

  #receive(chunk: Buffer, chunkLength: number): void {
    let bytes = chunk
    let length = chunkLength
    if (this.#rest.length > 0) {
      bytes = Buffer.concat([this.#rest, chunk.subarray(0, chunkLength)])
      length = bytes.length
    }
    let at = this.#upgraded ? 0 : this.#readResponse(bytes.toString('latin1', 0, length))
    const answers: Buffer[] = []
    this.#answers = answers
    while (length - at >= 2 && this.#upgraded) {
      const head = bytes.readUInt16BE(at)
      let size = head & 0x7f
      let start = at + 2
      if (size === 126) {
        if (length < start + 2) break
        size = bytes.readUInt16BE(start)
        start += 2
      } else if (size === 127) {
        if (length < start + 8) break
        size = bytes.readUIntBE(start + 2, 6)
        start += 8
      }
      if (length < start + size) break
      at = start + size
      this.#readFrame(head >> 8, bytes, start, at)
    }
    this.#rest = at < length ? Buffer.from(bytes.subarray(at, length)) : NOTHING
    this.#answers = undefined
    if (answers.length > 0) this.#socket.write(Buffer.concat(answers))
  }

  /** Returns the offset of the first frame, 0 while the response is incomplete. */
  #readResponse(text: string): number {
    const end = text.indexOf('\r\n\r\n')
    if (end === -1) return 0
    const head = text.slice(0, end)
    if (!head.startsWith('HTTP/1.1 101') || !head.includes(ACCEPT)) {
      this.#fail(`the server answered ${head.split('\r\n', 1)[0]}`)
      return text.length
    }
    if (this.#options.compression) this.decode = createInflater(head)
    this.#upgraded = true
    if (this.#options.dialect === 'plain') this.#markOpened()
    return end + 4
  }

  #readFrame(first: number, bytes: Buffer, start: number, end: number): void {
    if (first === 0x81) this.#readText(bytes, start, end)
    else if (first === 0xc1) this.#listener.onMessage(this, bytes, start, end, true)
    else if (first === 0x89) {
      this.#socket.write(maskedFrame(0x8a, Buffer.from(bytes.subarray(start, end))))
      this.#listener.onPing()
    } else {
      const detail = first === 0x88 && end - start >= 2 ? ` with code ${bytes.readUInt16BE(start)}` : ''
      this.#fail(`unexpected frame 0x${first.toString(16)}${detail}`)
    }
  }

  #readText(bytes: Buffer, start: number, end: number): void {
    if (this.#options.dialect === 'plain') {
      this.#listener.onMessage(this, bytes, start, end, false)
      return
    }
    const packet = bytes.toString('latin1', start, Math.min(end, start + 7))
    // Each message is wrapped in `42["m","` and `"]`.
    if (packet.startsWith('42')) this.#listener.onMessage(this, bytes, start + 8, end - 2, false)
    else if (packet.startsWith('40')) this.#markOpened()
    else if (packet.startsWith('0')) this.send('40')
    else if (packet === '2') this.send('3')
    else this.#fail(`unexpected Socket.IO packet ${packet}`)
  }

  #fail(reason: string): void {
    if (this.#ended) return
    this.#ended = true
    this.#listener.onFailure(this, reason)
  }
}

function maskedFrame(first: number, payload: Buffer): Buffer {
  const long = payload.length > 125
  const frame = Buffer.allocUnsafe((long ? 8 : 6) + payload.length)
  frame[0] = first
  frame[1] = 0x80 | (long ? 126 : payload.length)
  if (long) frame.writeUInt16BE(payload.length, 2)
  const start = frame.length - payload.length
  MASK.copy(frame, start - 4)
  for (let index = 0; index < payload.length; index++) {
    frame[start + index] = (payload[index] ?? 0) ^ (MASK[index & 3] ?? 0)
  }
  return frame
}
