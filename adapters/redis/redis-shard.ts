import { randomUUID } from 'node:crypto'
import type { BackplaneLife } from 'wshub'
import { MESSAGE_OVERHEAD_BYTES } from '../backplane/backplane-options.ts'
import { closeMs } from '../backplane/close-time.ts'
import { inTime } from '../backplane/in-time.ts'
import { NotSent } from './not-sent.ts'
import { HEARTBEAT_MS, RedisLink } from './redis-link.ts'
import { type RedisClient, type RedisServer, slotOf } from './redis-topology.ts'

/** The owner of a shard. */
export interface ShardOwner {
  /** The channels that the hub has subscribed to. */
  readonly channels: BackplaneLife['channels']
  /** Whether the first connection is still awaited. */
  isStarting(): boolean
  /** Returns the shard that a channel goes through. */
  shardOf(channel: string): RedisShard | undefined
  received(channel: string, bytes: Buffer): void
  /** Called when `isUp` has changed. */
  changed(): void
  /** Called when a slot belongs to another server now. */
  moved(): void
  /** Receives the error that ended a connection, or an attempt to connect. The shard tries again. */
  failed(error: Error): void
  /** Called when the server does not permit a subscription. */
  refused(channel: string, error: Error): void
  /** Called when messages that were accepted may not have arrived. */
  lost(what: string, cause: Error): void
}

/** The options of a shard. */
export interface ShardOptions {
  /** Whether to use the commands of sharded pub/sub, in a Redis Cluster. */
  readonly isSharded: boolean
  /** Most bytes published that the server has not answered yet. */
  readonly maxPendingBytes: number
}

/** Redis is single-threaded: one long command blocks everyone. */
const MAX_CHANNELS_A_COMMAND = 1_000

/** Enough to find a name for a shard that has only one of the 16,384 slots, except once in 200,000 times. */
const MAX_ATTEMPTS = 200_000

const EMPTY = Buffer.alloc(0)
/** Has bulk strings (`$`) returned as they are. */
const AS_BUFFERS = { typeMapping: { 36: Buffer } }

/** The channels of one Redis server: a connection that publishes, and one that is subscribed. */
export class RedisShard {
  readonly #server: RedisServer
  readonly #owner: ShardOwner
  readonly #options: ShardOptions
  readonly #link: RedisLink
  readonly #onMessage = (bytes: Buffer, channel: Buffer) => this.#receive(channel.toString('latin1'), bytes)

  /** Channels that the server has confirmed and that were not unsubscribed since. */
  readonly #confirmed = new Set<string>()
  /** Channels to be compared: subscribed by the hub, confirmed by the server. */
  #dirty = new Set<string>()
  #isScheduled = false
  #syncing: Promise<void> | undefined

  /** Contains a colon, which no channel of a hub does. */
  #testChannel = ''
  #isTestPending = false
  #onTestReceived = () => {}

  #pendingBytes = 0
  #onNothingPending = () => {}
  #lost = 0
  /** Why `close` has ended the connection, though the server had not answered. */
  #silence: Error | undefined

  constructor(server: RedisServer, owner: ShardOwner, options: ShardOptions) {
    this.#server = server
    this.#owner = owner
    this.#options = options
    this.#link = new RedisLink(server, 2, {
      isStarting: () => owner.isStarting(),
      prepare: () => this.#resubscribe(),
      connected: () => owner.changed(),
      beat: () => this.#beat(),
      disconnected: () => {
        this.#confirmed.clear()
        owner.changed()
      },
      failed: (error) => owner.failed(error),
    })
  }

  /** Whether all subscriptions are confirmed and messages pass. */
  get isUp(): boolean {
    return this.#link.isUp
  }

  publish(channel: string, bytes: Uint8Array): boolean {
    const size = bytes.byteLength + MESSAGE_OVERHEAD_BYTES
    if (!this.isUp || this.#pendingBytes + size > this.#options.maxPendingBytes) return false
    this.#pendingBytes += size
    this.#send(channel, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)).then(
      () => this.#settle(size),
      (error: Error) => {
        this.#settle(size)
        this.#lose(this.#silence ?? error)
      },
    )
    return true
  }

  /**
   * Sends a command. Strings of its reply are buffers. Rejects when there is no connection, or when too much
   * waits.
   * @param bytes the size of what it carries
   */
  async command(args: readonly (string | Buffer)[], bytes: number): Promise<unknown> {
    const publisher = this.#publisher
    const size = bytes + MESSAGE_OVERHEAD_BYTES
    if (!this.isUp || publisher === undefined) throw new NotSent(`${this.#server.address} is not connected`)
    if (this.#pendingBytes + size > this.#options.maxPendingBytes) {
      throw new NotSent(`more than ${this.#options.maxPendingBytes} bytes wait for ${this.#server.address}`)
    }
    this.#pendingBytes += size
    try {
      return await publisher.sendCommand(args, AS_BUFFERS)
    } catch (error) {
      if (isMoved(error)) this.#owner.moved()
      throw error
    } finally {
      this.#settle(size)
    }
  }

  /** Brings the server's subscription of a channel up to date at the end of this turn. */
  touch(channel: string): void {
    if (this.#subscriber === undefined) return // a new connection subscribes to everything
    this.#dirty.add(channel)
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      void this.sync()
    })
  }

  /** The same for all channels that the server has confirmed: another server may have some of them now. */
  touchConfirmed(): void {
    for (const channel of this.#confirmed) this.touch(channel)
  }

  /** Resolves when the subscriptions are up to date, or when the connection is lost: the next brings them. */
  sync(): Promise<void> {
    const { fail } = this.#link
    this.#syncing ??= this.#sync()
      .catch(fail)
      .finally(() => {
        this.#syncing = undefined
      })
    return this.#syncing
  }

  async close(timeoutMs?: number): Promise<void> {
    if (this.isUp && this.#pendingBytes > 0) {
      const sent = new Promise<undefined>((resolve) => {
        this.#onNothingPending = () => resolve(undefined)
      })
      const late = inTime(closeMs(timeoutMs), `${this.#server.address} did not answer`, sent)
      this.#silence = await late.catch((error: Error) => error)
    }
    await this.#link.close()
    if (this.#pendingBytes > 0 || this.#lost > 0) await turn() // the client rejects what has no answer, which is reported
  }

  /** The connection of its commands, another one after each loss of it; `undefined` while there is none. */
  get connection(): object | undefined {
    return this.#publisher
  }

  get #publisher(): RedisClient | undefined {
    return this.#link.clients[0]
  }

  get #subscriber(): RedisClient | undefined {
    return this.#link.clients[1]
  }

  /** Subscribes to everything, and waits for a test message. */
  async #resubscribe(): Promise<void> {
    this.#subscriber?.on('sharded-channel-moved', (channel) => this.#moved(channel))
    this.#testChannel = this.#ownChannel()
    this.#dirty = new Set([this.#testChannel])
    for (const channel of this.#owner.channels.names()) if (this.#wants(channel)) this.#dirty.add(channel)
    await this.#syncing // of the session before
    await this.sync()
    const received = new Promise<void>((resolve) => {
      this.#onTestReceived = resolve
    })
    this.#test()
    await received
  }

  #moved(channel: string): void {
    this.#confirmed.delete(channel)
    this.#owner.moved()
    if (channel !== this.#testChannel) return
    this.#link.fail(new Error(`the slot of the test channel has left ${this.#server.address}`))
  }

  /** Returns a channel that goes through this shard, and that nobody else uses. */
  #ownChannel(): string {
    const name = `wshub:test:${randomUUID()}`
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const channel = `${name}:${attempt}`
      if (this.#owner.shardOf(channel) === this) return channel
    }
    throw new Error(`${this.#server.address} has no slots`)
  }

  #wants(channel: string): boolean {
    if (channel === this.#testChannel) return true
    return this.#owner.channels.has(channel) && this.#owner.shardOf(channel) === this
  }

  /**
   * Subscribes and unsubscribes in one round trip after the other, so commands of the two kinds never race,
   * and changes made meanwhile share the next.
   */
  async #sync(): Promise<void> {
    const subscriber = this.#subscriber
    while (this.#dirty.size > 0 && subscriber !== undefined && subscriber === this.#subscriber) {
      const on: string[] = []
      const off: string[] = []
      for (const channel of this.#dirty) {
        const isWanted = this.#wants(channel)
        if (isWanted && !this.#confirmed.has(channel)) on.push(channel)
        else if (isWanted) this.#owner.channels.confirm(channel)
        else if (this.#confirmed.delete(channel)) off.push(channel)
      }
      this.#dirty.clear()
      const commands = [
        ...this.#batches(on).map((channels) => this.#subscribe(subscriber, channels)),
        ...this.#batches(off).map((channels) => this.#unsubscribe(subscriber, channels)),
      ]
      for (const result of await Promise.allSettled(commands)) {
        if (result.status === 'fulfilled') continue
        if (!isMoved(result.reason) || !this.#confirmed.has(this.#testChannel)) throw result.reason
        this.#owner.moved()
      }
    }
  }

  async #subscribe(subscriber: RedisClient, channels: string[]): Promise<void> {
    try {
      if (this.#options.isSharded) await subscriber.sSubscribe(channels, this.#onMessage, true)
      else await subscriber.subscribe(channels, this.#onMessage, true)
    } catch (error) {
      return this.#refused(subscriber, channels, error as Error) // of node-redis
    }
    if (subscriber !== this.#subscriber) return
    for (const channel of channels) {
      this.#confirmed.add(channel)
      this.#owner.channels.confirm(channel)
    }
  }

  /** Retries channels one by one: one that the access list does not permit makes the whole command fail. */
  async #refused(subscriber: RedisClient, channels: readonly string[], error: Error): Promise<void> {
    if (!error.message.startsWith('NOPERM') || channels.includes(this.#testChannel)) throw error
    const [channel = ''] = channels
    if (channels.length === 1) this.#owner.refused(channel, error)
    else await Promise.all(channels.map((one) => this.#subscribe(subscriber, [one])))
  }

  async #unsubscribe(subscriber: RedisClient, channels: string[]): Promise<void> {
    if (this.#options.isSharded) await subscriber.sUnsubscribe(channels, this.#onMessage, true)
    else await subscriber.unsubscribe(channels, this.#onMessage, true)
  }

  /** Returns the channels of each command: in a Redis Cluster they must be of one slot. */
  #batches(channels: readonly string[]): string[][] {
    const batches: string[][] = []
    const open = new Map<number, string[]>()
    for (const channel of channels) {
      const slot = this.#options.isSharded ? slotOf(channel) : 0
      let batch = open.get(slot)
      if (batch === undefined || batch.length === MAX_CHANNELS_A_COMMAND) {
        batch = []
        open.set(slot, batch)
        batches.push(batch)
      }
      batch.push(channel)
    }
    return batches
  }

  #receive(channel: string, bytes: Buffer): void {
    if (channel === this.#testChannel) {
      this.#isTestPending = false
      this.#onTestReceived()
    } else {
      this.#owner.received(channel, bytes)
    }
  }

  #beat(): void {
    if (this.#isTestPending) {
      this.#link.fail(
        new Error(`${this.#server.address} did not pass a test message within ${HEARTBEAT_MS} ms`),
      )
    } else {
      this.#test()
    }
  }

  #test(): void {
    this.#isTestPending = true
    this.#send(this.#testChannel, EMPTY).catch((error: Error) => this.#link.fail(error))
  }

  #send(channel: string, bytes: Buffer): Promise<unknown> {
    if (this.#publisher === undefined) return Promise.reject(new Error('not connected'))
    return this.#publisher.sendCommand([this.#options.isSharded ? 'SPUBLISH' : 'PUBLISH', channel, bytes])
  }

  #settle(size: number): void {
    this.#pendingBytes -= size
    if (this.#pendingBytes === 0) this.#onNothingPending()
  }

  /** Reports the losses of a turn at once: thousands of messages may be pending when a connection breaks. */
  #lose(cause: Error): void {
    if (isMoved(cause)) this.#owner.moved()
    if (this.#lost++ > 0) return
    setImmediate(() => {
      const what = this.#lost === 1 ? '1 message' : `${this.#lost} messages`
      this.#lost = 0
      this.#owner.lost(`${what} for ${this.#server.address} (${cause.message})`, cause)
    })
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
}

/** Returns whether another server of the Redis Cluster owns the slot. */
function isMoved(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('MOVED ')
}
