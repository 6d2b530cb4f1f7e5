import { WebSocket } from 'ws'
import { connect, type ReconnectingSocket } from 'wshub/client'
import type { DrillSystem } from './drill-system.ts'

/** Clients that come back when they have lost their connection, as pages with `wshub/client` do. */
export class LastingClients {
  readonly #sockets: readonly ReconnectingSocket[]

  private constructor(sockets: readonly ReconnectingSocket[]) {
    this.#sockets = sockets
  }

  /** Connects clients by a client's own address: as a browser would, they know no other. */
  static async connect(system: DrillSystem, url: string, count: number): Promise<LastingClients> {
    const options = { minDelayMs: 5, maxDelayMs: 40, WebSocket }
    const clients = new LastingClients(Array.from({ length: count }, () => connect(url, options)))
    system.defer(() => {
      for (const socket of clients.#sockets) socket.close()
    })
    await clients.areBack(system)
    return clients
  }

  /** Resolves when all are connected. */
  areBack(system: DrillSystem): Promise<void> {
    const isBack = () => this.#sockets.every(({ readyState }) => readyState === WebSocket.OPEN)
    return system.until('all clients are back', isBack)
  }

  /** Has each send a message. */
  send(data: string): void {
    for (const socket of this.#sockets) if (socket.readyState === WebSocket.OPEN) socket.send(data)
  }
}
