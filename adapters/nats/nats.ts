import { randomUUID } from 'node:crypto'
import type { Msg, NatsConnection, NodeConnectionOptions, Subscription } from '@nats-io/transport-node'
import { type Backplane, BackplaneLife, type BackplaneListener, type BackplaneState } from 'wshub'
import { MESSAGE_OVERHEAD_BYTES, readMaxPendingBytes } from '../backplane/backplane-options.ts'
import { inTime } from '../backplane/in-time.ts'
import { NatsLink } from './nats-link.ts'
import { checkNatsOptions } from './nats-options.ts'
import { NatsServers } from './nats-servers.ts'

interface Limits {
  /**
   * Most bytes published that the server has not taken yet, 1 or more; a further message is not accepted.
   * Default 16 777 216.
   */
  maxPendingBytes?: number | undefined
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

const TEST_MS = 5_000
/** How long `close` waits for the server to take what was published. */
const CLOSE_MS = 1_000

const EMPTY = Buffer.alloc(0)

class NatsBackplane implements Backplane {
  readonly #maxPendingBytes: number
  readonly #life = new BackplaneLife()
  readonly #link: NatsLink
  readonly #subscriptions = new Map<string, Subscription>()
  readonly #servers = new NatsServers()

  /** Subscriptions to confirm with the next round trip, and with the one that is under way. */
  #unconfirmed = new Set<string>()
  #confirming = new Set<string>()
  #isConfirming = false

  /** Sent on this connection, and not known to have arrived. A new connection starts anew. */
  #pending = { bytes: 0, isFlushing: false }

  constructor(options: NatsBackplaneOptions) {
    checkNatsOptions(options, ['maxPendingBytes'])
    const { maxPendingBytes, ...source } = options
    this.#maxPendingBytes = readMaxPendingBytes({ maxPendingBytes })
    this.#link = new NatsLink(
      source,
      {
        isStarting: () => this.state === 'connecting',
        prepare: (connection) => this.#prepare(connection),
        connected: (connection) => this.#connected(connection),
        disconnected: () => this.#disconnected(),
        failed: (error) => this.#life.report(error),
        ended: (reason) => this.#ended(reason),
      },
      this.#life.signal,
    )
  }

  get state(): BackplaneState {
    return this.#life.state
  }

  start(listener: BackplaneListener): Promise<void> {
    return this.#life.start(listener, () => void this.#link.run())
  }

  publish(channel: string, bytes: Uint8Array): boolean {
    const pending = this.#pending
    const size = bytes.byteLength + MESSAGE_OVERHEAD_BYTES
    if (this.state !== 'connected' || pending.bytes + size > this.#maxPendingBytes) return false
    const { connection } = this.#link
    if (connection === undefined) return false
    try {
      connection.publish(subjectOf(channel), bytes)
    } catch (error) {
      this.#life.report(error as Error) // longer than the server takes, or closed a moment ago
      return false
    }
    pending.bytes += size
    if (pending.bytes > this.#maxPendingBytes / 8 && !pending.isFlushing) void this.#flush(connection)
    return true
  }

  subscribe(channel: string): Promise<void> {
    return this.#life.subscribe(channel, () => {
      const { connection } = this.#link
      this.#unconfirmed.add(channel)
      if (connection === undefined) return
      this.#open(connection, channel)
      if (this.state === 'connected') void this.#confirm(connection)
    })
  }

  unsubscribe(channel: string): void {
    this.#life.channels.delete(channel)
    this.#unconfirmed.delete(channel)
    this.#subscriptions.get(channel)?.unsubscribe()
    this.#subscriptions.delete(channel)
  }

  async close(): Promise<void> {
    const before = this.#life.close()
    if (before === 'closed') return
    if (this.#link.connection?.isClosed() === false) {
      for (const subscription of this.#subscriptions.values()) subscription.unsubscribe()
      this.#servers.detach()
    }
    await this.#link.close(before === 'connected' ? CLOSE_MS : 0)
  }

  /**
   * Subscribes to everything and tests it: the server executes commands in order, so a test message arrives
   * after all subscriptions are made.
   */
  async #prepare(connection: NatsConnection): Promise<void> {
    for (const channel of this.#life.channels.names()) {
      this.#open(connection, channel)
      this.#unconfirmed.add(channel)
    }
    this.#servers.attach(connection)
    await this.#test(connection)
    await this.#servers.join()
  }

  #connected(connection: NatsConnection): void {
    this.#life.connected()
    void this.#confirm(connection)
  }

  #disconnected(): void {
    this.#servers.detach()
    this.#pending = { bytes: 0, isFlushing: false } // the client has discarded it
    if (this.#link.connection === undefined) this.#subscriptions.clear()
    this.#life.disconnected()
  }

  #ended(reason?: Error): void {
    if (reason !== undefined) this.#life.failStart(reason)
    void this.close()
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
      if (error === null) this.#life.receive(channel, asBuffer(message.data))
      else this.#refused(channel, error)
    }
    this.#subscriptions.set(channel, connection.subscribe(subjectOf(channel), { callback }))
  }

  /** The server did not permit a subscription. */
  #refused(channel: string, error: Error): void {
    this.#subscriptions.delete(channel)
    this.#unconfirmed.delete(channel)
    this.#confirming.delete(channel)
    this.#life.channels.refuse(channel, error) // the status reports it
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
        for (const channel of this.#confirming) this.#life.channels.confirm(channel)
      }
    } catch {
      for (const channel of this.#confirming) this.#unconfirmed.add(channel) // until we are connected again
    }
    this.#confirming = new Set()
    this.#isConfirming = false
  }

  /** Waits for a round trip: the client does not report what it has sent. */
  async #flush(connection: NatsConnection): Promise<void> {
    const pending = this.#pending
    const { bytes } = pending
    pending.isFlushing = true
    await connection.flush().catch(() => {}) // disconnected
    pending.bytes -= bytes
    pending.isFlushing = false
  }
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

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
