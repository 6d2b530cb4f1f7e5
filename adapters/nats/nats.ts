import { randomUUID } from 'node:crypto'
import {
  connect,
  errors,
  type Msg,
  type NatsConnection,
  type NodeConnectionOptions,
  type Subscription,
} from '@nats-io/transport-node'
import type { Backplane, BackplaneListener, BackplaneState } from 'wshub'
import { backoffMs, pause } from '../backplane/backoff.ts'
import {
  invalidOption,
  MESSAGE_OVERHEAD_BYTES,
  readMaxPendingBytes,
  refuseUnknown,
} from '../backplane/backplane-options.ts'
import { Channels } from '../backplane/channels.ts'
import { inTime } from '../backplane/in-time.ts'
import { OpenedSockets } from '../backplane/opened-sockets.ts'
import { NatsServers } from './nats-servers.ts'

interface Limits {
  /**
   * Most bytes published that the server has not taken yet, 1 or more; a further message is not accepted.
   * Default 16 777 216.
   */
  maxPendingBytes?: number | undefined
}

interface NatsServerOptions {
  readonly servers?: string | string[] | undefined
  readonly port?: number | undefined
}

/** Where NATS is. */
export type NatsBackplaneOptions = Limits &
  (
    | {
        /**
         * A connection of yours. It is not closed; when it closes for good, so does the backplane. It must
         * not have `noEcho`.
         */
        connection: NatsConnection
      }
    | (NodeConnectionOptions & {
        /** `host[:port]` of one server or several. Default `127.0.0.1:4222`. */
        servers?: string | string[]
        connection?: undefined
      })
  )

/**
 * A backplane over NATS: a subject for each channel, and the servers pass a message on to where there is
 * interest.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function natsBackplane(options: NatsBackplaneOptions = {}): Backplane {
  return new NatsBackplane(options)
}

/** Options of `connect` of NATS: an option that it gets in a later version has to be named here as well. */
const CONNECTION_OPTIONS: Record<keyof NodeConnectionOptions, true> = {
  authenticator: true,
  debug: true,
  ignoreAuthErrorAbort: true,
  ignoreClusterUpdates: true,
  inboxPrefix: true,
  maxPingOut: true,
  maxReconnectAttempts: true,
  name: true,
  noAsyncTraces: true,
  noEcho: true,
  noRandomize: true,
  pass: true,
  pedantic: true,
  pingInterval: true,
  port: true,
  reconnect: true,
  reconnectDelayHandler: true,
  reconnectJitter: true,
  reconnectJitterTLS: true,
  reconnectTimeWait: true,
  reconnectToServer: true,
  resolve: true,
  servers: true,
  timeout: true,
  tls: true,
  token: true,
  user: true,
  verbose: true,
  waitOnFirstConnect: true,
}

const DEFAULT_PORT = 4222
const CONNECT_MS = 5_000
/** One that does not answer is given up after one to two of these. */
const PING_MS = 5_000
const TEST_MS = 5_000
/** How long `close` waits for the server to take what was published. */
const CLOSE_MS = 1_000

const EMPTY = Buffer.alloc(0)

class NatsBackplane implements Backplane {
  readonly #options: NatsBackplaneOptions
  readonly #maxPendingBytes: number
  /** The servers, as an error names them. */
  readonly #place: string
  readonly #closing = new AbortController()
  readonly #channels = new Channels()
  readonly #subscriptions = new Map<string, Subscription>()
  readonly #servers = new NatsServers()

  #state: BackplaneState = 'connecting'
  #listener: BackplaneListener | undefined
  #started = { resolve: () => {}, reject: (_error: Error) => {} }
  #connection: NatsConnection | undefined
  /** Counts the connects and disconnects, so that what was begun before one is recognized after it. */
  #connects = 0
  /** Attempts to connect since the last that did. */
  #failures = 0

  /** Subscriptions to confirm with the next round trip, and with the one that is under way. */
  #unconfirmed = new Set<string>()
  #confirming = new Set<string>()
  #isConfirming = false

  #pendingBytes = 0
  #isFlushing = false

  constructor(all: NatsBackplaneOptions) {
    const known = all?.connection === undefined ? Object.keys(CONNECTION_OPTIONS) : []
    refuseUnknown(all, ['connection', 'maxPendingBytes', ...known])
    const { maxPendingBytes, ...options } = all
    this.#options = options
    this.#maxPendingBytes = readMaxPendingBytes({ maxPendingBytes })
    this.#place = all.connection === undefined ? readServers(all) : ''
  }

  get state(): BackplaneState {
    return this.#state
  }

  start(listener: BackplaneListener): Promise<void> {
    if (this.#listener !== undefined) return Promise.reject(new Error('A backplane is started once'))
    if (this.#state === 'closed') return Promise.reject(closedError())
    this.#listener = listener
    const started = new Promise<void>((resolve, reject) => {
      this.#started = { resolve, reject }
    })
    void this.#run()
    return started
  }

  publish(channel: string, bytes: Uint8Array): boolean {
    const size = bytes.byteLength + MESSAGE_OVERHEAD_BYTES
    if (this.#state !== 'connected' || this.#pendingBytes + size > this.#maxPendingBytes) return false
    const connection = this.#connection
    if (connection === undefined) return false
    try {
      connection.publish(subjectOf(channel), bytes)
    } catch (error) {
      this.#report(error as Error) // longer than the server takes, or closed a moment ago
      return false
    }
    this.#pendingBytes += size
    if (this.#pendingBytes > this.#maxPendingBytes / 8 && !this.#isFlushing) void this.#flush(connection)
    return true
  }

  subscribe(channel: string): Promise<void> {
    if (this.#state === 'closed') return Promise.reject(closedError())
    const confirmed = this.#channels.add(channel)
    this.#unconfirmed.add(channel)
    if (this.#connection !== undefined) {
      this.#open(this.#connection, channel)
      if (this.#state === 'connected') void this.#confirm(this.#connection)
    }
    return confirmed
  }

  unsubscribe(channel: string): void {
    this.#channels.delete(channel)
    this.#unconfirmed.delete(channel)
    this.#subscriptions.get(channel)?.unsubscribe()
    this.#subscriptions.delete(channel)
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return
    const wasConnected = this.#state === 'connected'
    this.#become('closed')
    this.#closing.abort()
    this.#channels.clear(closedError())
    this.#started.reject(closedError())
    const connection = this.#connection
    if (connection === undefined || connection.isClosed()) return
    for (const subscription of this.#subscriptions.values()) subscription.unsubscribe()
    this.#servers.detach()
    if (wasConnected) await inTime(CLOSE_MS, 'NATS did not answer', connection.flush()).catch(() => {})
    if (this.#options.connection === undefined) await connection.close()
  }

  /** Keeps a connection, until the backplane is closed. */
  async #run(): Promise<void> {
    const { signal } = this.#closing
    while (!signal.aborted) {
      try {
        await this.#use(this.#options.connection ?? (await this.#connect(this.#options)))
      } catch (error) {
        if (this.#options.connection !== undefined || (this.#state === 'connecting' && isHopeless(error))) {
          this.#started.reject(error as Error) // of the client
          return void this.close()
        }
        const { message } = error as Error // likewise
        this.#report(new Error(`${message}: no connection to ${this.#place}`, { cause: error }))
      }
      await pause(backoffMs(this.#failures++), signal, this.#state === 'connecting')
    }
  }

  /** Tries each server once. */
  async #connect(options: NodeConnectionOptions): Promise<NatsConnection> {
    const { signal } = this.#closing
    const sockets = new OpenedSockets()
    const end = () => sockets.destroy()
    signal.addEventListener('abort', end)
    try {
      return await sockets.run(() => this.#dial(options))
    } catch (error) {
      sockets.destroy() // the client leaves a server that accepts it and says nothing connected
      throw error
    } finally {
      signal.removeEventListener('abort', end)
    }
  }

  #dial(options: NodeConnectionOptions): Promise<NatsConnection> {
    return connect({
      timeout: CONNECT_MS,
      pingInterval: PING_MS,
      maxPingOut: 1,
      reconnectDelayHandler: () => backoffMs(this.#failures),
      ...options,
      // It could not be given up.
      waitOnFirstConnect: false,
      reconnect: true,
      maxReconnectAttempts: -1,
      ignoreAuthErrorAbort: true,
      noEcho: false,
    })
  }

  /** Resolves when the connection is closed for good. */
  async #use(connection: NatsConnection): Promise<void> {
    if (this.#closing.signal.aborted) return connection.close()
    if (connection.isClosed()) throw new Error('The connection is closed')
    const statuses = connection.status()[Symbol.asyncIterator]()
    // Ends the wait below with the next status there is.
    const stop = () => void statuses.return?.()
    this.#closing.signal.addEventListener('abort', stop)
    this.#connection = connection
    void this.#goLive(connection)
    for (;;) {
      const { value: status, done } = await statuses.next()
      if (done === true) break
      if (status.type === 'disconnect') this.#goAway()
      else if (status.type === 'reconnecting') this.#failures++
      else if (status.type === 'reconnect') void this.#goLive(connection)
      else if (status.type === 'error') this.#report(status.error)
    }
    this.#closing.signal.removeEventListener('abort', stop)
    this.#connection = undefined
    this.#subscriptions.clear()
    if (this.#options.connection === undefined) this.#goAway()
    else await this.close()
  }

  /**
   * Has everything subscribed, and tests it: the server takes commands in order, so what it passes is behind
   * the subscriptions.
   */
  async #goLive(connection: NatsConnection): Promise<void> {
    const connected = ++this.#connects
    for (const channel of this.#channels.names()) {
      this.#open(connection, channel)
      this.#unconfirmed.add(channel)
    }
    this.#servers.attach(connection)
    while (connected === this.#connects) {
      try {
        await this.#test(connection)
        await this.#servers.join()
        if (connected !== this.#connects) return
        this.#failures = 0
        this.#become('connected')
        this.#started.resolve()
        void this.#confirm(connection)
        return
      } catch (error) {
        if (connected !== this.#connects) return
        if (this.#state === 'connecting') {
          // There is a server, and what is sent does not come back.
          this.#started.reject(error as Error) // ours, or of the client
          return void this.close()
        }
        this.#report(error as Error) // likewise
      }
      await pause(backoffMs(this.#failures++), this.#closing.signal, false)
    }
  }

  #goAway(): void {
    this.#connects++
    this.#servers.detach()
    this.#pendingBytes = 0 // the client has let go of it
    if (this.#state === 'connected') this.#become('reconnecting')
  }

  async #test(connection: NatsConnection): Promise<void> {
    const subject = `wshub:test.${randomUUID()}` // no channel of a hub has a colon
    let subscription: Subscription | undefined
    const heard = new Promise<void>((resolve, reject) => {
      const callback = (error: Error | null) => (error === null ? resolve() : reject(error))
      subscription = connection.subscribe(subject, { callback })
      connection.publish(subject, EMPTY)
    })
    try {
      await inTime(TEST_MS, 'NATS did not pass a test message', heard)
    } finally {
      subscription?.unsubscribe()
    }
  }

  #open(connection: NatsConnection, channel: string): void {
    if (this.#subscriptions.has(channel) || connection.isClosed()) return
    const callback = (error: Error | null, message: Msg) => {
      if (error === null) this.#hear(channel, message.data)
      else this.#refused(channel, error)
    }
    this.#subscriptions.set(channel, connection.subscribe(subjectOf(channel), { callback }))
  }

  #hear(channel: string, data: Uint8Array): void {
    try {
      this.#listener?.onMessage(channel, Buffer.from(data.buffer, data.byteOffset, data.byteLength))
    } catch (error) {
      this.#report(error as Error) // thrown out of here, it would end the loop in which the client reads
    }
  }

  /** The server did not permit a subscription. */
  #refused(channel: string, error: Error): void {
    this.#subscriptions.delete(channel)
    this.#unconfirmed.delete(channel)
    this.#confirming.delete(channel)
    this.#channels.refuse(channel, error) // the status reports it
  }

  /** One round trip after the other confirms all subscriptions that were sent before it. */
  async #confirm(connection: NatsConnection): Promise<void> {
    if (this.#isConfirming) return
    this.#isConfirming = true
    try {
      while (this.#unconfirmed.size > 0) {
        await turn() // the others of this turn go along
        this.#confirming = this.#unconfirmed
        this.#unconfirmed = new Set()
        await Promise.all([connection.flush(), this.#servers.sync()])
        for (const channel of this.#confirming) this.#channels.confirm(channel)
      }
    } catch {
      for (const channel of this.#confirming) this.#unconfirmed.add(channel) // until we are connected again
    }
    this.#confirming = new Set()
    this.#isConfirming = false
  }

  /** The client tells of nothing that it has sent, but a round trip does. */
  async #flush(connection: NatsConnection): Promise<void> {
    this.#isFlushing = true
    const connected = this.#connects
    const bytes = this.#pendingBytes
    await connection.flush().catch(() => {}) // disconnected
    if (connected === this.#connects) this.#pendingBytes -= bytes
    this.#isFlushing = false
  }

  #become(state: BackplaneState): void {
    if (this.#state === state || this.#state === 'closed') return
    this.#state = state
    this.#listener?.onStateChange(state)
  }

  #report(error: Error): void {
    if (this.#state !== 'closed') this.#listener?.onError(error)
  }
}

/**
 * Returns the servers as a text, without the credentials that a URL may have.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
function readServers({ servers, port = DEFAULT_PORT }: NatsServerOptions): string {
  const list = servers === undefined ? [`127.0.0.1:${port}`] : [servers].flat()
  if (list.length === 0 || !list.every((server) => typeof server === 'string' && server !== '')) {
    throw invalidOption('servers are one host[:port] or several, and none is empty')
  }
  return list.map((server) => server.replace(/^.*@/, '')).join(', ')
}

/**
 * An empty token is no token: what NATS does not take of a channel's name becomes what no channel's name has.
 */
function subjectOf(channel: string): string {
  return channel
    .split('.')
    .map((token) => token || '/')
    .join('.')
}

function isHopeless(error: unknown): boolean {
  return error instanceof errors.AuthorizationError || error instanceof errors.InvalidArgumentError
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

function closedError(): Error {
  return new Error('The backplane is closed')
}
