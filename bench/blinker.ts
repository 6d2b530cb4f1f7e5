import { Agent, type ClientRequestArgs } from 'node:http'
import type { Socket as TcpSocket } from 'node:net'
import { io, type Socket } from 'socket.io-client'
import { WebSocket } from 'ws'

/** The events of a {@link Blinker}. */
export interface BlinkerListener {
  onOpen(): void
  onText(text: string): void
  /** The client was told that it has missed something: while it was away, or now. */
  onIncomplete(since: 'away' | 'now'): void
  /** The connection is closed, or could not be opened. */
  onClose(): void
}

/** A client whose connection is cut again and again. */
export interface Blinker {
  /** Connects to a node; again after `onClose`. */
  open(port: number): void
  /** Resets the TCP connection, without a word. */
  cut(): void
}

/** Nobody listens here: {@link Line} chooses the port. */
const ANYWHERE = '127.0.0.1:80'

/** The way to the nodes, as a load balancer: the client itself always asks for the same address. */
class Line extends Agent {
  port = 0
  #socket: TcpSocket | undefined

  override createConnection(options: ClientRequestArgs): TcpSocket {
    // @types/node declares the result of the overridden method as a Duplex; it is the socket of node:net.
    this.#socket = super.createConnection({ ...options, port: this.port }) as TcpSocket
    return this.#socket
  }

  cut(): void {
    this.#socket?.resetAndDestroy()
  }
}

/** A WebSocket client that remembers the position of the latest message, and says it when it comes back. */
export class PositionBlinker implements Blinker {
  readonly #line = new Line()
  readonly #listener: BlinkerListener
  #position = ''

  constructor(listener: BlinkerListener) {
    this.#listener = listener
  }

  open(port: number): void {
    this.#line.port = port
    const since = this.#position === '' ? '' : `?since=${this.#position}`
    const socket = new WebSocket(`ws://${ANYWHERE}/${since}`, {
      agent: this.#line,
      perMessageDeflate: false,
    })
    socket.on('open', () => this.#listener.onOpen())
    socket.on('error', () => {}) // a close follows
    socket.on('close', () => this.#listener.onClose())
    socket.on('message', (data) => this.#receive(data.toString()))
  }

  cut(): void {
    this.#line.cut()
  }

  /** Reads a message, `position text`, or what the server says itself. */
  #receive(message: string): void {
    const space = message.indexOf(' ')
    const first = message.slice(0, space)
    const rest = message.slice(space + 1)
    if (first === '!at')
      this.#position ||= rest // it may be older than the messages that came before it
    else if (first === '!missed') this.#listener.onIncomplete(rest === 'now' ? 'now' : 'away')
    else {
      this.#position = first
      this.#listener.onText(rest)
    }
  }
}

/** Socket.IO's own client, which has its part in connection state recovery. */
export class SocketIoBlinker implements Blinker {
  readonly #line = new Line()
  readonly #socket: Socket
  #wasOpen = false

  constructor(listener: BlinkerListener) {
    this.#socket = io(`http://${ANYWHERE}`, {
      transports: ['websocket'],
      reconnection: false,
      forceNew: true,
      autoConnect: false,
      // Its types are for browsers, where this is a boolean; in Node it is the agent of the request.
      agent: this.#line as unknown as boolean,
    })
    this.#socket.on('connect', () => {
      listener.onOpen()
      if (this.#wasOpen && !this.#socket.recovered) listener.onIncomplete('away')
      this.#wasOpen = true
    })
    this.#socket.on('connect_error', () => listener.onClose())
    this.#socket.on('disconnect', () => listener.onClose())
    this.#socket.on('m', (text: string) => listener.onText(text))
  }

  open(port: number): void {
    this.#line.port = port
    this.#socket.connect()
  }

  cut(): void {
    this.#line.cut()
  }
}
