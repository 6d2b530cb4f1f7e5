import type { Backplane, HistoryStore } from 'wshub'
import { RedisBackplane, type RedisBackplaneOptions } from './redis-backplane.ts'
import { RedisHistory, type RedisHistoryOptions } from './redis-history.ts'

export type { RedisBackplaneOptions, RedisClientLike, RedisPlace } from './redis-backplane.ts'
export type { RedisHistoryOptions } from './redis-history.ts'

/**
 * Returns a backplane over the pub/sub of Redis 6 or later, or Valkey. In a Redis Cluster of version 7 or
 * later it uses sharded pub/sub. It opens two connections to each server.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function redisBackplane(options: RedisBackplaneOptions): Backplane {
  return new RedisBackplane(options)
}

/**
 * Returns a history of rooms in Redis 6 or later, or Valkey, or in a Redis Cluster of version 7 or later. One
 * script stores a message, gives it its place and publishes it. It opens two connections to each server.
 *
 * A Redis that has lost its latest messages, such as one restarted from an older snapshot, or a promoted
 * replica, is recognized: reads after a lost message are not complete.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function redisHistory(options: RedisHistoryOptions): HistoryStore {
  return new RedisHistory(options)
}
