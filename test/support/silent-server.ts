import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import { eventually } from './hub-server.ts'

/** A TCP server that accepts, reads and never says a word, as an engine that hangs. */
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
    const { port } = server.address() as AddressInfo // of a TCP server that listens
    const silent = new SilentServer(server, port)
    onTestFinished(() => silent.#close())
    return silent
  }

  /** How many are connected. */
  get connected(): number {
    return this.#sockets.size
  }

  /** Resolves when so many connections have come in all. */
  async accepts(count: number): Promise<void> {
    await eventually(
      `${count} connections`,
      () => this.#accepted >= count,
      () => this.#accepted,
    )
  }

  /** Resolves when nobody is connected. */
  async isLeft(): Promise<void> {
    // Connections are accepted in order: behind this one nothing comes that was begun before.
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
