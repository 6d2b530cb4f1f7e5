import { createClient } from 'redis'
import type { Backplane, BackplaneListener, BackplaneState } from 'wshub'
import { backoffMs, pause } from '../backplane/backoff.ts'
import { invalidOption, readMaxPendingBytes, refuseUnknown } from '../backplane/backplane-options.ts'
import { Channels } from '../backplane/channels.ts'
import { RedisShard, type ShardOwner } from './redis-shard.ts'
import {
  clusterServers,
  type Discover,
  destroy,
  type RedisClient,
  type RedisCluster,
  type RedisTopology,
  singleServer,
  slotOf,
} from './redis-topology.ts'

/** A client or a cluster of node-redis 5 or 6: what `createClient` or `createCluster` returns. */
export interface RedisClientLike {
  duplicate(overrides?: object): unknown
  destroy(): unknown
  sSubscribe(channels: string, listener: (message: string, channel: string) => unknown): Promise<unknown>
}

interface Limits {
  /**
   * Most bytes published that Redis has not taken yet, per server, 1 or more; a further message is not
   * accepted. Default 16 777 216.
   */
  maxPendingBytes?: number | undefined
}

/** Where Redis is. */
export type RedisBackplaneOptions = Limits &
  (
    | {
        /** `redis[s]://[[user][:password]@][host][:port]`, of one server. */
        url: string
        client?: undefined
      }
    | {
        /**
         * A client or a cluster of yours, connected or not. It is the pattern for connections of the
         * backplane's own: it is neither used nor closed.
         */
        client: RedisClientLike
        url?: undefined
      }
  )

/**
 * A backplane over Redis 6 or later, or Valkey, by pub/sub; over a Redis Cluster of version 7 or later by
 * sharded pub/sub. It opens two connections to each server.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function redisBackplane(options: RedisBackplaneOptions): Backplane {
  return new RedisBackplane(options)
}

/** Answers that do not change while the configuration does not. */
const HOPELESS =
  /^(WRONGPASS|NOAUTH|NOPERM|ERR unknown command|ERR This instance has cluster support disabled)/

class RedisBackplane implements Backplane, ShardOwner {
  readonly channels = new Channels()
  readonly #discover: Discover
  readonly #isSharded: boolean
  readonly #maxPendingBytes: number
  /** Made by us from a URL. */
  readonly #ownClient: RedisClient | undefined
  readonly #closing = new AbortController()

  #state: BackplaneState = 'connecting'
  #listener: BackplaneListener | undefined
  #started = { resolve: () => {}, reject: (_error: Error) => {} }

  /** By address. */
  #shards = new Map<string, RedisShard>()
  /** Of a Redis Cluster, by slot; else one for all. */
  #slots: readonly (RedisShard | undefined)[] = []
  #isRefreshing = false
  #isRefreshWanted = false

  constructor(options: RedisBackplaneOptions) {
    refuseUnknown(options, ['url', 'client', 'maxPendingBytes'])
    if (options.url !== undefined && options.client !== undefined)
      throw invalidOption('pass either url or client')
    this.#maxPendingBytes = readMaxPendingBytes(options)
    if (options.client === undefined) {
      this.#ownClient = clientOf(options.url)
      this.#isSharded = false
      this.#discover = singleServer(this.#ownClient)
    } else {
      const { client } = options
      checkClient(client)
      this.#isSharded = 'slots' in client
      // What has slots is what createCluster returns, whatever modules it was given; of the rest nothing is
      // used either.
      this.#discover =
        'slots' in client
          ? clusterServers(client as unknown as RedisCluster)
          : singleServer(client as unknown as RedisClient)
    }
  }

  get state(): BackplaneState {
    return this.#state
  }

  get isStarting(): boolean {
    return this.#state === 'connecting'
  }

  start(listener: BackplaneListener): Promise<void> {
    if (this.#listener !== undefined) return Promise.reject(new Error('A backplane is started once'))
    if (this.#state === 'closed') return Promise.reject(closedError())
    this.#listener = listener
    const started = new Promise<void>((resolve, reject) => {
      this.#started = { resolve, reject }
    })
    this.moved()
    return started
  }

  publish(channel: string, bytes: Uint8Array): boolean {
    return this.#state !== 'closed' && (this.carrier(channel)?.publish(channel, bytes) ?? false)
  }

  subscribe(channel: string): Promise<void> {
    if (this.#state === 'closed') return Promise.reject(closedError())
    const confirmed = this.channels.add(channel)
    this.carrier(channel)?.touch(channel)
    return confirmed
  }

  unsubscribe(channel: string): void {
    this.channels.delete(channel)
    this.carrier(channel)?.touch(channel)
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return
    this.#become('closed')
    this.#closing.abort()
    this.channels.clear(closedError())
    this.#started.reject(closedError())
    await Promise.all(Array.from(this.#shards.values(), (shard) => shard.close()))
    if (this.#ownClient !== undefined) destroy(this.#ownClient)
  }

  carrier(channel: string): RedisShard | undefined {
    return this.#slots.length === 1 ? this.#slots[0] : this.#slots[slotOf(channel)]
  }

  heard(channel: string, bytes: Buffer): void {
    if (!this.channels.has(channel)) return
    try {
      this.#listener?.onMessage(channel, bytes)
    } catch (error) {
      this.#report(error as Error) // thrown out of here, it would confuse the client's parser
    }
  }

  changed(): void {
    this.#update()
  }

  failed(error: Error): void {
    this.#report(error)
    if (this.#isSharded) this.moved() // a replica may have its slots soon
  }

  refused(channel: string, error: Error): void {
    this.channels.refuse(channel, error)
    this.#report(error)
  }

  lost(error: Error): void {
    this.#report(error)
  }

  moved(): void {
    this.#isRefreshWanted = true
    if (!this.#isRefreshing) void this.#refresh()
  }

  /** Learns which servers there are and gives each channel to its own, until nobody finds that wrong. */
  async #refresh(): Promise<void> {
    const { signal } = this.#closing
    this.#isRefreshing = true
    this.#update()
    for (let failures = 0; this.#isRefreshWanted && !signal.aborted; failures++) {
      this.#isRefreshWanted = false
      if (failures > 0) await pause(backoffMs(failures), signal, this.isStarting)
      try {
        const topology = await this.#discover((error) => this.#report(error), signal)
        if (signal.aborted) return
        this.#assign(topology)
        await Promise.all(Array.from(this.#shards.values(), (shard) => shard.sync()))
      } catch (error) {
        this.#isRefreshWanted = true
        this.#report(error as Error) // of node-redis
      }
    }
    this.#isRefreshing = false
    this.#update()
  }

  #assign({ servers, slots }: RedisTopology): void {
    const shards = new Map<string, RedisShard>()
    const options = { isSharded: this.#isSharded, maxPendingBytes: this.#maxPendingBytes }
    for (const server of servers) {
      const known = this.#shards.get(server.address)
      shards.set(server.address, known ?? new RedisShard(server, this, options))
    }
    for (const [address, shard] of this.#shards) if (!shards.has(address)) void shard.close()
    this.#shards = shards
    this.#slots = slots.map((server) => server && shards.get(server.address))
    for (const shard of shards.values()) shard.touchConfirmed()
    for (const channel of this.channels.names()) this.carrier(channel)?.touch(channel)
  }

  #update(): void {
    const shards = [...this.#shards.values()]
    const isLive = !this.#isRefreshing && shards.length > 0 && shards.every(({ isUp }) => isUp)
    if (isLive) {
      this.#become('connected')
      this.#started.resolve()
    } else if (this.#state === 'connected') {
      this.#become('reconnecting')
    }
  }

  #become(state: BackplaneState): void {
    if (this.#state === state || this.#state === 'closed') return
    this.#state = state
    this.#listener?.onStateChange(state)
  }

  #report(error: Error): void {
    if (this.#state === 'closed') return
    if (this.#state === 'connecting' && HOPELESS.test(error.message)) {
      this.#started.reject(error)
      void this.close()
    } else {
      this.#listener?.onError(error)
    }
  }
}

function clientOf(url: string): RedisClient {
  if (typeof url !== 'string') throw invalidOption('url is a string, or client a client')
  try {
    return createClient({ url })
  } catch (cause) {
    throw invalidOption(`url is of Redis: ${cause instanceof Error ? cause.message : ''}`, cause)
  }
}

/** Clients of other packages have other methods; a sentinel and a pool of node-redis lend clients out. */
function checkClient(client: RedisClientLike): void {
  const isObject = typeof client === 'object' && client !== null
  const has = (name: keyof RedisClientLike) => isObject && typeof client[name] === 'function'
  if (has('duplicate') && has('sSubscribe') && has('destroy') && !('acquire' in client)) return
  throw invalidOption(
    'client is made by createClient or createCluster of node-redis 5 or 6, the package "redis": ioredis, a sentinel and a pool are not supported',
  )
}

function closedError(): Error {
  return new Error('The backplane is closed')
}
