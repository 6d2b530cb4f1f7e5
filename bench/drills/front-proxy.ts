import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { DrillSystem } from './drill-system.ts'

/** A proxy before the instances of an application, which it takes in turns. */
export class FrontProxy {
  /** The ports that it leads to. */
  targets: readonly number[] = []
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #next = 0

  private constructor() {
    this.#server = createServer((client) => this.#pipe(client))
  }

  static async start(system: DrillSystem, targets: readonly number[]): Promise<FrontProxy> {
    const proxy = new FrontProxy()
    proxy.targets = targets
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    system.defer(() => {
      proxy.cut()
      proxy.#server.close()
    })
    return proxy
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo // it listens on TCP
    return `ws://127.0.0.1:${port}/`
  }

  /** Ends all connections, as a proxy does that is restarted. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  #pipe(client: Socket): void {
    const port = this.targets[this.#next++ % this.targets.length]
    if (port === undefined) return void client.destroy()
    const target = connect(port, '127.0.0.1')
    for (const [socket, other] of [
      [client, target],
      [target, client],
    ] as const) {
      this.#sockets.add(socket)
      socket.pipe(other)
      socket.on('error', () => {})
      socket.on('close', () => {
        this.#sockets.delete(socket)
        other.destroy()
      })
    }
  }
}
