import { connect, errors, type NatsConnection, type NodeConnectionOptions } from '@nats-io/transport-node'
import { backoffMs, pause } from '../backplane/backoff.ts'
import { inTime } from '../backplane/in-time.ts'
import { OpenedSockets } from '../backplane/opened-sockets.ts'
import { describeServers, type NatsSource } from './nats-options.ts'

/** The owner of a {@link NatsLink}. */
export interface NatsLinkOwner {
  /** Whether the first connection is still awaited: some errors are final then. */
  isStarting(): boolean
  /**
   * Makes a connection usable. Called when it is opened and after each reconnect, and again after a pause
   * when it rejects.
   */
  prepare(connection: NatsConnection): Promise<void>
  /** Called when `prepare` has resolved. */
  connected(connection: NatsConnection): void
  /** Called when the connection is lost. When it was closed for good, the link has none any more. */
  disconnected(): void
  /** Receives an error from which the link recovers by itself. */
  failed(error: Error): void
  /** Called when the link gives up. Without `reason`, the application has closed its own connection. */
  ended(reason?: Error): void
}

const CONNECT_MS = 5_000
/** A server that does not answer is given up after one to two of these. */
const PING_MS = 5_000

/** Keeps one connection to NATS: of the application, or of its own, which it opens again and again. */
export class NatsLink {
  readonly #source: NatsSource
  readonly #owner: NatsLinkOwner
  readonly #signal: AbortSignal
  #connection: NatsConnection | undefined
  /** Counts connects and disconnects, so that work begun before one is recognized after it. */
  #changes = 0
  /** Failed attempts to connect since the last connection. */
  #failures = 0

  /** @param signal ends the link when it is aborted */
  constructor(source: NatsSource, owner: NatsLinkOwner, signal: AbortSignal) {
    this.#source = source
    this.#owner = owner
    this.#signal = signal
  }

  /** The connection, from the moment it is opened until it is closed for good. */
  get connection(): NatsConnection | undefined {
    return this.#connection
  }

  /** Keeps a connection, until `signal` is aborted. */
  async run(): Promise<void> {
    const source = this.#source
    while (!this.#signal.aborted) {
      try {
        await this.#use(source.connection ?? (await this.#connect(source)))
      } catch (error) {
        if (source.connection !== undefined || (this.#owner.isStarting() && isFinal(error))) {
          return this.#owner.ended(error as Error) // of the client
        }
        const { message } = error as Error // likewise
        this.#owner.failed(
          new Error(`${message}: no connection to ${describeServers(source)}`, { cause: error }),
        )
      }
      if (source.connection !== undefined) return
      await pause(backoffMs(this.#failures++), this.#signal, this.#owner.isStarting())
    }
  }

  /**
   * Closes the connection, unless it is of the application. To be called once `signal` is aborted.
   * @param flushMs how long to wait until the server has taken everything that was sent; 0 = not at all
   * @returns why the server may not have taken it
   */
  async close(flushMs: number): Promise<Error | undefined> {
    const connection = this.#connection
    if (connection === undefined || connection.isClosed()) return undefined
    let failure: Error | undefined
    if (flushMs > 0) {
      await inTime(flushMs, 'NATS did not answer', connection.flush()).catch((error: Error) => {
        failure = error
      })
    }
    if (this.#source.connection === undefined) await connection.close()
    return failure
  }

  /** Tries each server once. */
  async #connect(options: NodeConnectionOptions): Promise<NatsConnection> {
    const sockets = new OpenedSockets()
    const end = () => sockets.destroy()
    this.#signal.addEventListener('abort', end)
    try {
      return await sockets.run(() => this.#dial(options))
    } catch (error) {
      sockets.destroy() // the client does not close its connection to a server that accepts it and sends nothing
      throw error
    } finally {
      this.#signal.removeEventListener('abort', end)
    }
  }

  #dial(options: NodeConnectionOptions): Promise<NatsConnection> {
    return connect({
      timeout: CONNECT_MS,
      pingInterval: PING_MS,
      maxPingOut: 1,
      reconnectDelayHandler: () => backoffMs(this.#failures),
      ...options,
      waitOnFirstConnect: false, // otherwise connect() could not be cancelled
      reconnect: true,
      maxReconnectAttempts: -1,
      ignoreAuthErrorAbort: true,
      noEcho: false,
    })
  }

  /** Resolves when the connection is closed for good. */
  async #use(connection: NatsConnection): Promise<void> {
    if (this.#signal.aborted) return this.#source.connection === undefined ? connection.close() : undefined
    if (connection.isClosed()) throw new Error('the NATS connection is closed')
    const statuses = connection.status()[Symbol.asyncIterator]()
    const stop = () => void statuses.return?.() // the wait below ends with the next status
    this.#signal.addEventListener('abort', stop)
    this.#connection = connection
    void this.#open(connection)
    for (;;) {
      const { value: status, done } = await statuses.next()
      if (done === true) break
      if (status.type === 'disconnect') this.#disconnected()
      else if (status.type === 'reconnecting') this.#failures++
      else if (status.type === 'reconnect') void this.#open(connection)
      else if (status.type === 'error') this.#owner.failed(status.error)
    }
    this.#signal.removeEventListener('abort', stop)
    this.#connection = undefined
    if (this.#source.connection === undefined) return this.#lose()
    this.#changes++
    this.#owner.ended()
  }

  async #open(connection: NatsConnection): Promise<void> {
    const change = ++this.#changes
    for (;;) {
      try {
        await this.#owner.prepare(connection)
        if (change !== this.#changes) return
        this.#failures = 0
        return this.#owner.connected(connection)
      } catch (error) {
        if (change !== this.#changes) return
        if (this.#owner.isStarting()) return this.#owner.ended(error as Error) // of the client or the owner
        this.#owner.failed(error as Error) // likewise
      }
      await pause(backoffMs(this.#failures++), this.#signal, false)
      if (change !== this.#changes) return
    }
  }

  #disconnected(): void {
    this.#lose()
    const source = this.#source
    const servers = source.connection === undefined ? `: ${describeServers(source)}` : ''
    this.#owner.failed(new Error(`the connection to NATS was lost${servers}`))
  }

  #lose(): void {
    this.#changes++
    this.#owner.disconnected()
  }
}

/** Returns whether trying again cannot help. */
function isFinal(error: unknown): boolean {
  return error instanceof errors.AuthorizationError || error instanceof errors.InvalidArgumentError
}
