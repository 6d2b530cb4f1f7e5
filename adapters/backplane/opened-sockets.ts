import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Socket } from 'node:net'

/** Where Node tells of each TCP connection that is begun. */
const CHANNEL = 'net.client.socket'

const storage = new AsyncLocalStorage<OpenedSockets>()
/** The runs under way. While it is empty, there is nothing here that costs the rest of the process. */
const running = new Set<object>()

/**
 * The TCP connections that a client library opens during a run. Such a library gives its caller nothing
 * before it is connected: one that connects to a server which says nothing, or is given up meanwhile, leaves
 * connections behind that nobody else can end.
 */
export class OpenedSockets {
  readonly #sockets = new Set<Socket>()
  #isOver = false

  /** Runs what opens connections, until it has settled. */
  async run<T>(open: () => Promise<T>): Promise<T> {
    const run = {}
    if (running.size === 0) subscribe(CHANNEL, onSocket)
    running.add(run)
    try {
      return await storage.run(this, open)
    } finally {
      running.delete(run)
      if (running.size === 0) {
        unsubscribe(CHANNEL, onSocket)
        storage.disable()
      }
    }
  }

  /** Ends the connections, also those that a run opens later. */
  destroy(): void {
    this.#isOver = true
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
  }

  /** @internal */
  add(socket: Socket): void {
    this.#sockets.add(socket)
    if (this.#isOver) process.nextTick(() => this.destroy()) // whoever opens it has not listened to it yet
  }
}

function onSocket(message: unknown): void {
  if (typeof message !== 'object' || message === null || !('socket' in message)) return
  if (message.socket instanceof Socket) storage.getStore()?.add(message.socket)
}
