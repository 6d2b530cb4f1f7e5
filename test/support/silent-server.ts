import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import { eventually } from './hub-server.ts'

/** A TCP server that accepts and reads, but never answers, like an engine that hangs. */
export class SilentServer {
  readonly port: number
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #accepted = 0

  private constructor(server: Server, port: number) {
    this.#server = server
    this.port = port
    server.on('connection', (socket) => {
      this.#accepted++
      this.#sockets.add(socket)
      socket.on('error', () => {}) // 'close' follows
      socket.on('close', () => this.#sockets.delete(socket))
      socket.resume()
    })
  }

  static async start(): Promise<SilentServer> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo // the server listens on TCP
    const silent = new SilentServer(server, port)
    onTestFinished(() => silent.#close())
    return silent
  }

  /** The number of open connections. */
  get connected(): number {
    return this.#sockets.size
  }

  /** Resolves when that many connections were accepted in total. */
  async accepts(count: number): Promise<void> {
    await eventually(
      `${count} connections`,
      () => this.#accepted >= count,
      () => this.#accepted,
    )
  }

  /** Resolves when there are no connections. */
  async isLeft(): Promise<void> {
    // Connections are accepted in order: after this one, none arrives that was begun before.
    const before = this.#accepted
    const marker = connect(this.port, '127.0.0.1')
    await once(marker, 'connect')
    await eventually(
      'the marker to be accepted',
      () => this.#accepted > before,
      () => this.#accepted,
    )
    marker.destroy()
    await eventually(
      'all to leave',
      () => this.#sockets.size === 0,
      () => this.#sockets.size,
    )
  }

  async #close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }
}
