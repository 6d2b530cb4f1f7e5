import { randomUUID } from 'node:crypto'
import { backoffMs, pause } from '../backplane/backoff.ts'
import { MESSAGE_OVERHEAD_BYTES } from '../backplane/backplane-options.ts'
import type { Channels } from '../backplane/channels.ts'
import { inTime } from '../backplane/in-time.ts'
import { destroy, type RedisClient, type RedisServer, slotOf } from './redis-topology.ts'

/** The owner of a shard. */
export interface ShardOwner {
  /** The channels that somebody wants. */
  readonly channels: Channels
  /** The shard that a channel goes through. */
  carrier(channel: string): RedisShard | undefined
  heard(channel: string, bytes: Buffer): void
  /** `isUp` has changed. */
  changed(): void
  /** A slot has another owner than we knew. */
  moved(): void
  /** The connection has ended, or there is still none; the shard goes on trying. */
  failed(error: Error): void
  /** The server does not permit a subscription. */
  refused(channel: string, error: Error): void
  /** Messages were accepted, and did not get through. */
  lost(error: Error): void
  /** Whether somebody awaits the first connection. */
  readonly isStarting: boolean
}

export interface ShardOptions {
  /** `true` in a Redis Cluster: the commands of sharded pub/sub. */
  readonly isSharded: boolean
  /** Most bytes published that the server has not answered yet. */
  readonly maxPendingBytes: number
}

/** From the first packet to the test: the server has accepted, or is given up. */
const CONNECT_MS = 5_000
/** To subscribe anew to everything, and to hear the test. */
const RESUBSCRIBE_MS = 15_000
/**
 * How often the way through the server is tested. One that does not answer is given up after one to two of
 * these.
 */
const HEARTBEAT_MS = 5_000
/** How long `close` waits for the server to take what was published. */
const CLOSE_MS = 1_000
/** Redis is away from everyone else while it executes one command. */
const MAX_CHANNELS_A_COMMAND = 1_000

/**
 * More than it takes to find a name for a shard that has only one of the 16,384 slots, but for one in 200,000
 * times.
 */
const MAX_ATTEMPTS = 200_000

const EMPTY = Buffer.alloc(0)

/**
 * One Redis server: a connection that publishes, and one that is subscribed. They are opened together, and
 * when either fails both are thrown away: nothing of a broken connection, such as the client's own list of
 * subscriptions, is carried into the next.
 */
export class RedisShard {
  readonly #server: RedisServer
  readonly #owner: ShardOwner
  readonly #options: ShardOptions
  readonly #closing = new AbortController()
  readonly #closed: Promise<void>
  readonly #onMessage = (bytes: Buffer, channel: Buffer) => this.#hear(channel.toString('latin1'), bytes)

  #isUp = false
  #publisher: RedisClient | undefined
  #subscriber: RedisClient | undefined
  /** Ends the session. */
  #fail: (error: Error) => void = () => {}

  /** Channels that the server has confirmed and that were not given up since. */
  readonly #confirmed = new Set<string>()
  /** Channels to compare: is wanted, is confirmed. */
  #dirty = new Set<string>()
  #isScheduled = false
  #syncing: Promise<void> | undefined

  /** No channel of a hub has a colon. */
  #testChannel = ''
  #isTestOut = false
  #onTestHeard = () => {}

  #pendingBytes = 0
  #onNothingPending = () => {}
  #lost = 0

  constructor(server: RedisServer, owner: ShardOwner, options: ShardOptions) {
    this.#server = server
    this.#owner = owner
    this.#options = options
    this.#closed = this.#run()
  }

  /** Whether all subscriptions are live and messages pass. */
  get isUp(): boolean {
    return this.#isUp
  }

  publish(channel: string, bytes: Uint8Array): boolean {
    const size = bytes.byteLength + MESSAGE_OVERHEAD_BYTES
    if (!this.#isUp || this.#pendingBytes + size > this.#options.maxPendingBytes) return false
    this.#pendingBytes += size
    this.#send(channel, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)).then(
      () => this.#settle(size),
      (error: Error) => {
        this.#settle(size)
        this.#lose(error)
      },
    )
    return true
  }

  /** Has the server's subscription of a channel compared with what is wanted, at the end of this turn. */
  touch(channel: string): void {
    if (this.#subscriber === undefined) return // with a new connection, everything is compared
    this.#dirty.add(channel)
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      void this.sync()
    })
  }

  /** The same with all that the server has confirmed: some of it may be another's now. */
  touchConfirmed(): void {
    for (const channel of this.#confirmed) this.touch(channel)
  }

  /** Resolves when the comparison is done, or the server is away and will be told later. */
  sync(): Promise<void> {
    const fail = this.#fail
    this.#syncing ??= this.#sync()
      .catch(fail)
      .finally(() => {
        this.#syncing = undefined
      })
    return this.#syncing
  }

  async close(): Promise<void> {
    if (this.#isUp && this.#pendingBytes > 0) {
      const sent = new Promise<void>((resolve) => {
        this.#onNothingPending = resolve
      })
      await Promise.race([sent, pause(CLOSE_MS, this.#closing.signal, false)])
    }
    this.#closing.abort()
    await this.#closed
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing
    await undefined // the constructor's caller has the shard before it is called back
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        await this.#session(() => {
          failures = 0
        })
      } catch (error) {
        if (!signal.aborted) this.#owner.failed(error as Error) // of a client, or of ours
      }
      await pause(backoffMs(failures), signal, this.#owner.isStarting)
    }
  }

  /** From the first packet to the failure that ends it, which it throws. */
  async #session(onUp: () => void): Promise<void> {
    const sockets = new AbortController()
    const publisher = this.#server.open(sockets.signal)
    const subscriber = this.#server.open(sockets.signal)
    let fail: (error: Error) => void = () => {}
    const failed = new Promise<never>((_resolve, reject) => {
      fail = reject
    })
    failed.catch(() => {})
    this.#fail = fail
    const onAbort = () => fail(new Error('closed'))
    this.#closing.signal.addEventListener('abort', onAbort)
    if (this.#closing.signal.aborted) onAbort()
    for (const client of [publisher, subscriber]) {
      client.on('error', fail)
      client.on('end', () => fail(new Error(`${this.#server.address} has closed the connection`)))
    }
    subscriber.on('sharded-channel-moved', (channel: string) => {
      this.#confirmed.delete(channel)
      this.#owner.moved()
      if (channel === this.#testChannel) fail(new Error(`The test channel has left ${this.#server.address}`))
    })
    let heartbeat: NodeJS.Timeout | undefined
    try {
      const { address } = this.#server
      const connected = Promise.all([publisher.connect(), subscriber.connect()])
      await inTime(CONNECT_MS, `${address} did not answer`, Promise.race([failed, connected]))
      this.#publisher = publisher
      this.#subscriber = subscriber
      const tested = this.#resubscribe()
      await inTime(RESUBSCRIBE_MS, `${address} did not pass a test message`, Promise.race([failed, tested]))
      heartbeat = setInterval(() => setImmediate(() => this.#beat()), HEARTBEAT_MS).unref()
      this.#isUp = true
      onUp()
      this.#owner.changed()
      await failed
    } finally {
      clearInterval(heartbeat)
      this.#closing.signal.removeEventListener('abort', onAbort)
      this.#publisher = undefined
      this.#subscriber = undefined
      this.#confirmed.clear()
      const wasUp = this.#isUp
      this.#isUp = false
      destroy(publisher)
      destroy(subscriber)
      sockets.abort()
      if (wasUp) this.#owner.changed()
    }
  }

  async #resubscribe(): Promise<void> {
    this.#testChannel = this.#ownChannel()
    this.#dirty = new Set([this.#testChannel])
    for (const channel of this.#owner.channels.names()) if (this.#wants(channel)) this.#dirty.add(channel)
    await this.#syncing // of the session before
    await this.sync()
    const heard = new Promise<void>((resolve) => {
      this.#onTestHeard = resolve
    })
    this.#test()
    await heard
  }

  /** A channel that goes through this shard, and nobody else uses. */
  #ownChannel(): string {
    const name = `wshub:test:${randomUUID()}`
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const channel = `${name}:${attempt}`
      if (this.#owner.carrier(channel) === this) return channel
    }
    throw new Error(`${this.#server.address} has no slots`)
  }

  #wants(channel: string): boolean {
    if (channel === this.#testChannel) return true
    return this.#owner.channels.has(channel) && this.#owner.carrier(channel) === this
  }

  /**
   * One round trip after the other: commands of the two kinds never race, and what piles up meanwhile goes in
   * one.
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

  /** One channel that the server's access list does not permit has the whole command refused. */
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

  /** The channels of a command: in a Redis Cluster they have to be of one slot. */
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

  #hear(channel: string, bytes: Buffer): void {
    if (channel === this.#testChannel) {
      this.#isTestOut = false
      this.#onTestHeard()
    } else {
      this.#owner.heard(channel, bytes)
    }
  }

  /** Runs after the turn's input: where the process was busy for long, the answer may be there and unread. */
  #beat(): void {
    if (!this.#isUp) return
    if (this.#isTestOut) {
      this.#fail(new Error(`${this.#server.address} did not pass a test message within ${HEARTBEAT_MS} ms`))
    } else {
      this.#test()
    }
  }

  #test(): void {
    this.#isTestOut = true
    this.#send(this.#testChannel, EMPTY).catch((error: Error) => this.#fail(error))
  }

  #send(channel: string, bytes: Buffer): Promise<unknown> {
    if (this.#publisher === undefined) return Promise.reject(new Error('not connected'))
    return this.#publisher.sendCommand([this.#options.isSharded ? 'SPUBLISH' : 'PUBLISH', channel, bytes])
  }

  #settle(size: number): void {
    this.#pendingBytes -= size
    if (this.#pendingBytes === 0) this.#onNothingPending()
  }

  /** Reports all that was lost in a turn at once: thousands may wait when a connection breaks. */
  #lose(cause: Error): void {
    if (isMoved(cause)) this.#owner.moved()
    if (this.#lost++ > 0) return
    setImmediate(() => {
      const error = new Error(
        `${this.#lost} published messages may be lost at ${this.#server.address}: ${cause.message}`,
        { cause },
      )
      this.#lost = 0
      this.#owner.lost(error)
    })
  }
}

/** Of a Redis Cluster: another server has the slot. */
function isMoved(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('MOVED ')
}
