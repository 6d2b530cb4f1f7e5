import { createClient } from 'redis'
import { invalidOption } from '../backplane/backplane-options.ts'
import {
  clusterServers,
  type Discover,
  destroy,
  type RedisClient,
  type RedisCluster,
  singleServer,
} from './redis-topology.ts'

/** The options that say where Redis is. One of them is there. */
export interface RedisSourceOptions {
  readonly url?: string | undefined
  readonly client?: object | undefined
}

/** The way to Redis. */
export interface RedisSource {
  /** Whether it is a Redis Cluster. */
  readonly isCluster: boolean
  readonly discover: Discover
  /** Closes the client that was made for a URL. */
  close(): void
}

/** The methods by which a client or a cluster of node-redis 5 or 6 is recognized. */
const METHODS = ['duplicate', 'sSubscribe', 'destroy']

/** Reads the options. @throws {HubError} WSHUB_ERR_INVALID_OPTION */
export function readRedisSource({ url, client }: RedisSourceOptions): RedisSource {
  if (client === undefined) {
    const own = clientOf(url)
    return { isCluster: false, discover: singleServer(own), close: () => destroy(own) }
  }
  if (url !== undefined) throw invalidOption('pass either url or client, not both')
  checkClient(client)
  // A client that has slots was made by createCluster. Whatever modules it was given, none of them is used.
  const isCluster = 'slots' in client
  const discover = isCluster
    ? clusterServers(client as unknown as RedisCluster)
    : singleServer(client as unknown as RedisClient)
  return { isCluster, discover, close() {} }
}

/** Errors that retrying cannot fix. */
const FINAL = /^(WRONGPASS|NOAUTH|NOPERM|ERR unknown command|ERR This instance has cluster support disabled)/

/** Returns whether trying again cannot help while the configuration stays the same. */
export function isFinal(error: Error): boolean {
  return FINAL.test(error.message)
}

function clientOf(url: string | undefined): RedisClient {
  if (typeof url !== 'string') {
    throw invalidOption('pass either url (a string) or client (a node-redis client)')
  }
  try {
    return createClient({ url })
  } catch (cause) {
    throw invalidOption(`url is not a valid Redis URL: ${cause instanceof Error ? cause.message : ''}`, cause)
  }
}

/** Refuses clients of other packages, and a sentinel or a pool of node-redis: they lend clients out. */
function checkClient(client: object): void {
  const isObject = typeof client === 'object' && client !== null
  const has = (name: string) => typeof Reflect.get(client, name) === 'function'
  if (isObject && METHODS.every(has) && !('acquire' in client)) return
  throw invalidOption(
    'client must be made by createClient or createCluster of node-redis 5 or 6, the package "redis": ioredis, a sentinel and a pool are not supported',
  )
}
