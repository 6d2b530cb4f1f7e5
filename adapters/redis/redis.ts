import type { Backplane, HistoryStore } from 'wshub'
import { RedisBackplane, type RedisBackplaneOptions } from './redis-backplane.ts'
import { RedisHistory, type RedisHistoryOptions } from './redis-history.ts'

export type { RedisBackplaneOptions, RedisClientLike, RedisPlace } from './redis-backplane.ts'
export type { RedisHistoryOptions } from './redis-history.ts'

/**
 * A backplane over Redis 6 or later, or Valkey, by pub/sub; over a Redis Cluster of version 7 or later by
 * sharded pub/sub. It opens two connections to each server.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function redisBackplane(options: RedisBackplaneOptions): Backplane {
  return new RedisBackplane(options)
}

/**
 * A history of rooms in Redis 6 or later, or Valkey; in a Redis Cluster of version 7 or later too. One script
 * stores a message, gives it its place and publishes it. It opens two connections to each server.
 *
 * A Redis that has lost its latest messages, such as one that was restarted from an older snapshot, or a
 * replica that was promoted, is recognized: reads after a message that was lost are not complete.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function redisHistory(options: RedisHistoryOptions): HistoryStore {
  return new RedisHistory(options)
}
