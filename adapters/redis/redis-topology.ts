import { inTime } from '../backplane/in-time.ts'
import { OpenedSockets } from '../backplane/opened-sockets.ts'

/** Subscribes a listener to channels. The last argument makes it receive bytes. */
type Subscribe = (
  channels: string[],
  listener: (message: Buffer, channel: Buffer) => void,
  bufferMode: true,
) => Promise<void>

/** Options of one command. */
interface CommandOptions {
  /** The class of the values of a type, by its first byte on the wire. */
  readonly typeMapping: Readonly<Record<number, unknown>>
}

/**
 * The members of a client of node-redis 5 or 6 that are used here. Its own types name each command several
 * times, and comparing two of them takes the compiler 15 seconds.
 */
export interface RedisClient {
  readonly options?: { readonly socket?: object | undefined } | undefined
  duplicate(overrides: object): RedisClient
  on(event: 'error' | 'end', listener: (error: Error) => void): unknown
  on(event: 'sharded-channel-moved', listener: (channel: string) => void): unknown
  connect(): Promise<unknown>
  sendCommand(args: readonly (string | Buffer)[], options?: CommandOptions): Promise<unknown>
  readonly subscribe: Subscribe
  readonly sSubscribe: Subscribe
  readonly unsubscribe: Subscribe
  readonly sUnsubscribe: Subscribe
  destroy(): void
}

/** A server of a cluster. */
interface RedisNode {
  readonly address: string
  readonly client?: RedisClient | undefined
}

/** The members of a cluster of node-redis 5 or 6 that are used here. */
export interface RedisCluster {
  readonly masters: RedisNode[]
  readonly slots: ArrayLike<{ readonly master: RedisNode } | undefined>
  duplicate(overrides: object): RedisCluster
  on(event: 'error', listener: (error: Error) => void): unknown
  connect(): Promise<unknown>
  nodeClient(node: RedisNode): Promise<unknown>
  destroy(): void
}

/** One Redis server that connections can be opened to. */
export interface RedisServer {
  /** `host:port`, or another name that no other server has. */
  readonly address: string
  /**
   * Makes a client that is not connected, never reconnects by itself, and has no offline queue.
   * @param signal closes its connection, also while it is being opened: node-redis cannot
   */
  open(signal: AbortSignal): RedisClient
}

/** The servers of the engine. */
export interface RedisTopology {
  readonly servers: readonly RedisServer[]
  /** The owner of each hash slot of a Redis Cluster. Without a cluster, one owner for all. */
  readonly slots: readonly (RedisServer | undefined)[]
}

/** Finds out the topology, until `signal` is aborted. */
export type Discover = (report: (error: Error) => void, signal: AbortSignal) => Promise<RedisTopology>

const DISCOVERY_MS = 5_000
/** Most discoveries that timed out and still wait for their server: node-redis cannot cancel one. */
const MAX_HANGING = 4

/** Returns the discovery of the one server that a client is made for. */
export function singleServer(client: RedisClient): Discover {
  const servers = [server('Redis', client)]
  return async () => ({ servers, slots: servers })
}

/** Returns the discovery of the masters of a Redis Cluster. */
export function clusterServers(cluster: RedisCluster): Discover {
  const hanging = new Set<Promise<unknown>>()
  return async (report, signal) => {
    if (hanging.size >= MAX_HANGING) await Promise.race(hanging)
    // Reads the slots over one connection, which it closes again, and opens no other.
    const probe = cluster.duplicate({ minimizeConnections: true })
    probe.on('error', report)
    const sockets = new OpenedSockets()
    const end = () => sockets.destroy()
    signal.addEventListener('abort', end)
    const connected = sockets.run(() => probe.connect()).finally(() => hanging.delete(connected))
    connected.catch(() => {})
    hanging.add(connected)
    let patterns: Promise<unknown> = Promise.resolve()
    try {
      await inTime(DISCOVERY_MS, 'the Redis Cluster did not report its slots', connected)
      // Only this makes the client of a node, with the credentials and the address map of the application.
      patterns = sockets.run(() =>
        Promise.allSettled(Array.from(probe.masters, (master) => probe.nodeClient(master))),
      )
      const servers = new Map<string, RedisServer>()
      for (const { address, client } of probe.masters) {
        if (client !== undefined) servers.set(address, server(address, client))
      }
      const slots = Array.from(probe.slots, (shard) => shard && servers.get(shard.master.address))
      return { servers: [...servers.values()], slots }
    } finally {
      // A client that is destroyed while it connects stays connected, so wait until it has connected.
      const ended = () => {
        signal.removeEventListener('abort', end)
        destroy(probe)
        sockets.destroy()
      }
      inTime(DISCOVERY_MS, 'the masters did not answer', patterns).then(ended, ended)
    }
  }
}

function server(address: string, pattern: RedisClient): RedisServer {
  return {
    address,
    open: (signal) =>
      pattern.duplicate({
        socket: { ...pattern.options?.socket, reconnectStrategy: false, signal },
        disableOfflineQueue: true,
        // Version 6 starts a timer for each command. The heartbeat detects a server that does not answer.
        commandOptions: { timeout: 0 },
      }),
  }
}

/** Closes connections at once. */
export function destroy(client: RedisClient | RedisCluster): void {
  try {
    client.destroy()
  } catch {
    // Version 5 throws when nothing is open.
  }
}

/** The CRC-16/XMODEM of each byte. */
const CRC16: readonly number[] = Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1
  return crc & 0xffff
})

/** Returns the hash slot of a name of ASCII characters without braces. */
export function slotOf(name: string): number {
  let crc = 0
  for (let at = 0; at < name.length; at++) {
    crc = ((crc << 8) & 0xffff) ^ (CRC16[(crc >> 8) ^ name.charCodeAt(at)] ?? 0)
  }
  return crc % 16_384
}
