import { backoffMs, pause } from '../backplane/backoff.ts'
import { inTime } from '../backplane/in-time.ts'
import { destroy, type RedisClient, type RedisServer } from './redis-topology.ts'

/** The owner of a {@link RedisLink}. */
export interface RedisLinkOwner {
  /** Whether the first connection is still awaited: the process must stay alive for it. */
  isStarting(): boolean
  /** Resolves when connected clients can be used. When it rejects, they are closed. */
  prepare(clients: readonly RedisClient[]): Promise<void>
  /** Called when `prepare` has resolved. */
  connected(): void
  /** Tests the connection, every {@link HEARTBEAT_MS}. Calls `fail` when the last test has no answer. */
  beat(): void
  /** Called when clients are closed, also those that were never up. */
  disconnected(): void
  /** Receives the error that ended a connection, or an attempt to connect. The link tries again. */
  failed(error: Error): void
}

/** The time from the first packet until the server has accepted the clients. */
const CONNECT_MS = 5_000
/** The time that `prepare` may take. */
const PREPARE_MS = 15_000
/** How often a connection is tested. A server that does not answer is given up after one to two of these. */
export const HEARTBEAT_MS = 5_000

/**
 * Keeps connections to one Redis server. They are opened together, and when one fails all are closed: nothing
 * of a broken connection, such as the client's own list of subscriptions, is carried into the next.
 */
export class RedisLink {
  readonly #server: RedisServer
  readonly #count: number
  readonly #owner: RedisLinkOwner
  readonly #closing = new AbortController()
  readonly #closed: Promise<void>
  #clients: readonly RedisClient[] = []
  #isUp = false
  #fail: (error: Error) => void = () => {}

  /** @param count how many clients are connected to the server */
  constructor(server: RedisServer, count: number, owner: RedisLinkOwner) {
    this.#server = server
    this.#count = count
    this.#owner = owner
    this.#closed = this.#run()
  }

  /** Whether the clients can be used. */
  get isUp(): boolean {
    return this.#isUp
  }

  /** The connected clients; empty while there is no connection. */
  get clients(): readonly RedisClient[] {
    return this.#clients
  }

  /** Ends the connections of this moment, and opens others. Without effect on later ones. */
  get fail(): (error: Error) => void {
    return this.#fail
  }

  /** Aborted when the link is closed. */
  get signal(): AbortSignal {
    return this.#closing.signal
  }

  /** Ends the connections for good. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#closed
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing
    await undefined // the owner has the link before it is called
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        await this.#session(() => {
          failures = 0
        })
      } catch (error) {
        if (!signal.aborted) this.#owner.failed(error as Error) // of a client, or of ours
      }
      await pause(backoffMs(failures), signal, this.#owner.isStarting())
    }
  }

  /** Lasts from the first packet until the failure that ends it, which it throws. */
  async #session(onUp: () => void): Promise<void> {
    const { address } = this.#server
    const sockets = new AbortController()
    const clients = Array.from({ length: this.#count }, () => this.#server.open(sockets.signal))
    let fail: (error: Error) => void = () => {}
    const failed = new Promise<never>((_resolve, reject) => {
      fail = reject
    })
    failed.catch(() => {})
    this.#fail = fail
    const onAbort = () => fail(new Error('closed'))
    this.#closing.signal.addEventListener('abort', onAbort)
    if (this.#closing.signal.aborted) onAbort()
    for (const client of clients) {
      client.on('error', fail)
      client.on('end', () => fail(new Error(`${address} has closed the connection`)))
    }
    let heartbeat: NodeJS.Timeout | undefined
    try {
      const connected = Promise.all(clients.map((client) => client.connect()))
      await inTime(CONNECT_MS, `${address} did not answer`, Promise.race([failed, connected]))
      this.#clients = clients
      const prepared = this.#owner.prepare(clients)
      await inTime(PREPARE_MS, `${address} was not ready`, Promise.race([failed, prepared]))
      // After the turn's input: when the process was busy for long, the answer may be there and unread.
      heartbeat = setInterval(
        () => setImmediate(() => this.#isUp && this.#owner.beat()),
        HEARTBEAT_MS,
      ).unref()
      this.#isUp = true
      onUp()
      this.#owner.connected()
      await failed
    } finally {
      clearInterval(heartbeat)
      this.#closing.signal.removeEventListener('abort', onAbort)
      this.#clients = []
      this.#isUp = false
      for (const client of clients) destroy(client)
      sockets.abort()
      this.#owner.disconnected()
    }
  }
}
