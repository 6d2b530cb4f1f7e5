import { type Backplane, BackplaneLife, type BackplaneListener, type BackplaneState } from 'wshub'
import { readMaxPendingBytes, refuseUnknown } from '../backplane/backplane-options.ts'
import { RedisServers } from './redis-servers.ts'
import { RedisShard, type ShardOwner } from './redis-shard.ts'
import { isFinal, type RedisSource, readRedisSource } from './redis-source.ts'

/** A client or a cluster of node-redis 5 or 6, as `createClient` or `createCluster` returns it. */
export interface RedisClientLike {
  duplicate(overrides?: object): unknown
  destroy(): unknown
  sSubscribe(channels: string, listener: (message: string, channel: string) => unknown): Promise<unknown>
}

/** The Redis server or cluster to connect to. */
export type RedisPlace =
  | {
      /** The URL of one server: `redis[s]://[[user][:password]@][host][:port]`. */
      url: string
      client?: undefined
    }
  | {
      /**
       * A client or a cluster of the application, connected or not. Connections are opened with the same
       * options; this one is neither used nor closed.
       */
      client: RedisClientLike
      url?: undefined
    }

/** The Redis server or cluster to connect to, and how much may wait for it. */
export type RedisBackplaneOptions = RedisPlace & {
  /**
   * Most bytes published that a Redis server has not received yet, 1 or more. Above it, `publish` returns
   * `false`. Default 16 777 216.
   */
  maxPendingBytes?: number | undefined
}

/** The channels of Redis, as a backplane and as the feed of a history. */
export class RedisBackplane implements Backplane {
  readonly #source: RedisSource
  readonly #life = new BackplaneLife()
  readonly #shards: RedisServers<RedisShard>

  constructor(options: RedisBackplaneOptions) {
    refuseUnknown(options, ['url', 'client', 'maxPendingBytes'])
    const maxPendingBytes = readMaxPendingBytes(options)
    this.#source = readRedisSource(options)
    const shardOptions = { isSharded: this.#source.isCluster, maxPendingBytes }
    const shardOwner = this.#shardOwner()
    this.#shards = new RedisServers(
      this.#source.discover,
      {
        isStarting: () => this.state === 'connecting',
        open: (server) => new RedisShard(server, shardOwner, shardOptions),
        assigned: () => this.#assigned(),
        changed: () => this.#update(),
        failed: (error) => this.#report(error),
      },
      this.#life.signal,
    )
  }

  get state(): BackplaneState {
    return this.#life.state
  }

  /** Whether it is a Redis Cluster, which publishes by `SPUBLISH`. */
  get isCluster(): boolean {
    return this.#source.isCluster
  }

  /** Returns the server that a channel, and keys with its name as their hash tag, belong to. */
  shardOf(channel: string): RedisShard | undefined {
    return this.#shards.of(channel)
  }

  start(listener: BackplaneListener): Promise<void> {
    return this.#life.start(listener, () => this.#shards.refresh())
  }

  publish(channel: string, bytes: Uint8Array): boolean {
    return this.state !== 'closed' && (this.#shards.of(channel)?.publish(channel, bytes) ?? false)
  }

  subscribe(channel: string): Promise<void> {
    return this.#life.subscribe(channel, () => this.#shards.of(channel)?.touch(channel))
  }

  unsubscribe(channel: string): void {
    this.#life.channels.delete(channel)
    this.#shards.of(channel)?.touch(channel)
  }

  async close(timeoutMs?: number): Promise<void> {
    if (this.#life.close() === 'closed') return
    await this.#shards.close(timeoutMs)
    this.#source.close()
  }

  #shardOwner(): ShardOwner {
    return {
      channels: this.#life.channels,
      isStarting: () => this.state === 'connecting',
      shardOf: (channel) => this.#shards.of(channel),
      received: (channel, bytes) => this.#life.receive(channel, bytes),
      changed: () => this.#update(),
      moved: () => this.#shards.refresh(),
      failed: (error) => {
        this.#report(error)
        if (this.#source.isCluster) this.#shards.refresh() // a replica may take over its slots
      },
      refused: (channel, error) => {
        this.#life.channels.refuse(channel, error)
        this.#report(error)
      },
      lost: (what, cause) => this.#life.lost(what, cause),
    }
  }

  /** Gives each channel to the shard that its slot belongs to now. */
  async #assigned(): Promise<void> {
    const shards = this.#shards.members
    for (const shard of shards) shard.touchConfirmed()
    for (const channel of this.#life.channels.names()) this.#shards.of(channel)?.touch(channel)
    await Promise.all(shards.map((shard) => shard.sync()))
  }

  #update(): void {
    if (this.#shards.isCurrent && this.#shards.members.every(({ isUp }) => isUp)) this.#life.connected()
    else this.#life.disconnected()
  }

  #report(error: Error): void {
    if (this.state === 'connecting' && isFinal(error)) {
      this.#life.failStart(error)
      void this.close()
    } else {
      this.#life.report(error)
    }
  }
}
