import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Socket } from 'node:net'

/** Node publishes every TCP connection here before it connects. */
const CHANNEL = 'net.client.socket'

const storage = new AsyncLocalStorage<OpenedSockets>()
/** The current runs. While there are none, nothing is subscribed, so other connections cost nothing. */
const running = new Set<object>()

/**
 * The TCP connections that a client library opens during a run. The library returns nothing before it is
 * connected. If the server never answers, or the attempt is cancelled, only this class can close them.
 */
export class OpenedSockets {
  readonly #sockets = new Set<Socket>()
  #isOver = false

  /** Runs a function that opens connections, until its promise settles. */
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

  /** Closes the connections, including those that a run opens later. */
  destroy(): void {
    this.#isOver = true
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
  }

  /** @internal */
  add(socket: Socket): void {
    this.#sockets.add(socket)
    if (this.#isOver) process.nextTick(() => this.destroy()) // its opener has not added its listeners yet
  }
}

function onSocket(message: unknown): void {
  if (typeof message !== 'object' || message === null || !('socket' in message)) return
  if (message.socket instanceof Socket) storage.getStore()?.add(message.socket)
}
