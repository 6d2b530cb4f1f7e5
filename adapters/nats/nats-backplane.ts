import { randomUUID } from 'node:crypto'
import type { Msg, NatsConnection, NodeConnectionOptions, Subscription } from '@nats-io/transport-node'
import { type Backplane, BackplaneLife, type BackplaneListener, type BackplaneState } from 'wshub'
import { pause } from '../backplane/backoff.ts'
import { MESSAGE_OVERHEAD_BYTES, readMaxPendingBytes } from '../backplane/backplane-options.ts'
import { closeMs } from '../backplane/close-time.ts'
import { inTime } from '../backplane/in-time.ts'
import { NatsLink } from './nats-link.ts'
import { checkNatsOptions } from './nats-options.ts'
import { NatsServers } from './nats-servers.ts'

/** The NATS servers to connect to, or a connection to them. */
export type NatsPlace =
  | {
      /**
       * A connection of the application. It is not closed; when it closes for good, what uses it is closed as
       * well. It must not have `noEcho`.
       */
      connection: NatsConnection
    }
  | (NodeConnectionOptions & {
      /** `host[:port]` of one or several servers. Default `127.0.0.1:4222`. */
      servers?: string | string[]
      connection?: undefined
    })

/** The servers of a backplane, and how much may wait for them. */
export type NatsBackplaneOptions = NatsPlace & {
  /**
   * Most bytes published that the server has not received yet, 1 or more. Above it, `publish` returns
   * `false`. Default 16 777 216.
   */
  maxPendingBytes?: number | undefined
}

/** How long a test message may take. */
const TEST_MS = 5_000
/** The least time between two round trips that show what the server has received. */
const FLUSH_MS = 10

const EMPTY = Buffer.alloc(0)

/** The parts of a {@link NatsBackplane} that a history replaces. */
export interface NatsExtension {
  /** Returns the bytes that a message stands for. */
  read(message: Msg): Uint8Array
  /** Prepares a connection, after its subscriptions. When it rejects, it is called again after a pause. */
  prepare(connection: NatsConnection): Promise<void>
}

const PLAIN: NatsExtension = { read: ({ data }) => data, prepare: async () => {} }

/** The channels of NATS, for a backplane and for the feed of a history. */
export class NatsBackplane implements Backplane {
  readonly #extension: NatsExtension
  readonly #maxPendingBytes: number
  readonly #life = new BackplaneLife()
  readonly #link: NatsLink
  readonly #subscriptions = new Map<string, Subscription>()
  readonly #servers = new NatsServers()

  /** Subscriptions to be confirmed by the next round trip, and by the current one. */
  #unconfirmed = new Set<string>()
  #confirming = new Set<string>()
  #isConfirming = false

  /** Published on this connection, and not known to have arrived. A new connection starts from zero. */
  #pending = { messages: 0, bytes: 0, isFlushing: false }

  constructor(options: NatsBackplaneOptions, extension = PLAIN) {
    checkNatsOptions(options, ['maxPendingBytes'])
    this.#extension = extension
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

  /** The connection; `undefined` while there is none that works. */
  get connection(): NatsConnection | undefined {
    return this.state === 'connected' ? this.#link.connection : undefined
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
      this.#life.report(error as Error) // longer than the server accepts, or just closed
      return false
    }
    pending.messages++
    pending.bytes += size
    if (!pending.isFlushing) void this.#flush(connection)
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

  async close(timeoutMs?: number): Promise<void> {
    const messages = this.#takePending()
    const before = this.#life.close()
    if (before === 'closed') return
    if (this.#link.connection?.isClosed() === false) {
      for (const subscription of this.#subscriptions.values()) subscription.unsubscribe()
      this.#servers.detach()
    }
    const failure = await this.#link.close(before === 'connected' ? closeMs(timeoutMs) : 0)
    if (failure !== undefined) this.#lose(messages, failure)
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
    await this.#extension.prepare(connection)
  }

  #connected(connection: NatsConnection): void {
    this.#life.connected()
    void this.#confirm(connection)
  }

  #disconnected(): void {
    this.#servers.detach()
    this.#lose(this.#takePending(), new Error('the connection to NATS was lost')) // the client discards them
    if (this.#link.connection === undefined) this.#subscriptions.clear()
    this.#life.disconnected()
  }

  #ended(reason?: Error): void {
    if (reason !== undefined) this.#life.failStart(reason)
    void this.close()
  }

  async #test(connection: NatsConnection): Promise<void> {
    const subject = `wshub:test.${randomUUID()}` // the channels of a hub contain no colon
    let subscription: Subscription | undefined
    const received = new Promise<void>((resolve, reject) => {
      const callback = (error: Error | null) => (error === null ? resolve() : reject(error))
      subscription = connection.subscribe(subject, { callback })
      connection.publish(subject, EMPTY)
    })
    try {
      await inTime(TEST_MS, 'NATS did not pass a test message', received)
    } finally {
      subscription?.unsubscribe()
    }
  }

  #open(connection: NatsConnection, channel: string): void {
    if (this.#subscriptions.has(channel) || connection.isClosed()) return
    const callback = (error: Error | null, message: Msg) => {
      if (error === null) this.#life.receive(channel, this.#extension.read(message))
      else this.#refused(channel, error)
    }
    this.#subscriptions.set(channel, connection.subscribe(subjectOf(channel), { callback }))
  }

  /** Called when the server does not permit a subscription. */
  #refused(channel: string, error: Error): void {
    this.#subscriptions.delete(channel)
    this.#unconfirmed.delete(channel)
    this.#confirming.delete(channel)
    this.#life.channels.refuse(channel, error) // the connection's status reports the error
  }

  /** Confirms subscriptions, one round trip after the other: each confirms all that were sent before it. */
  async #confirm(connection: NatsConnection): Promise<void> {
    if (this.#isConfirming) return
    this.#isConfirming = true
    try {
      while (this.#unconfirmed.size > 0) {
        await turn() // subscriptions of this turn share the round trip
        this.#confirming = this.#unconfirmed
        this.#unconfirmed = new Set()
        await Promise.all([connection.flush(), this.#servers.sync()])
        for (const channel of this.#confirming) this.#life.channels.confirm(channel)
      }
    } catch {
      for (const channel of this.#confirming) this.#unconfirmed.add(channel) // they wait for the next connection
    }
    this.#confirming = new Set()
    this.#isConfirming = false
  }

  /** Makes round trips until everything has arrived: the client does not report what it has sent. */
  async #flush(connection: NatsConnection): Promise<void> {
    const pending = this.#pending
    pending.isFlushing = true
    while (pending === this.#pending && pending.messages > 0) {
      await pause(FLUSH_MS, this.#life.signal, false)
      const { messages, bytes } = pending
      try {
        await connection.flush()
      } catch {
        break // the connection is lost
      }
      pending.messages -= messages
      pending.bytes -= bytes
    }
    pending.isFlushing = false
  }

  /** Returns how many messages are not known to have arrived, and counts anew. */
  #takePending(): number {
    const { messages } = this.#pending
    this.#pending = { messages: 0, bytes: 0, isFlushing: false }
    return messages
  }

  #lose(messages: number, cause: Error): void {
    if (messages === 0) return
    this.#life.lost(`${messages === 1 ? '1 message' : `${messages} messages`} (${cause.message})`, cause)
  }
}

/**
 * Returns the subject of a channel. NATS does not accept empty tokens, so each becomes a slash, which no
 * channel contains.
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
