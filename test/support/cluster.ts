import type { ClusterOptions, Connection, EventHandler, Gap, HubOptions } from 'wshub'
import type { Bus, BusBackplane } from './bus.ts'
import { type Client, eventually, type HubServer, Journal, serve } from './hub-server.ts'

/**
 * Times that a test can wait for; a heartbeat may be ten times as late as on idle cores. A call of which
 * nobody is missing waits for as long as that takes.
 */
export const FAST: ClusterOptions = {
  heartbeatIntervalMs: 40,
  heartbeatTimeoutMs: 400,
  callTimeoutMs: 20_000,
  roomGraceMs: 60,
}

/** A hub on a server, with a client, on a bus. */
export interface ClusterNode extends HubServer {
  readonly backplane: BusBackplane
  readonly client: Client
  readonly connection: Connection
  readonly gaps: Journal<Gap>
  /** Errors passed to the hub's `onError`. */
  readonly faults: Journal<Error>
}

/** Starts a node with one client; resolves when it is connected. */
export async function join(
  bus: Bus,
  cluster: ClusterOptions = {},
  options: HubOptions = {},
  handler: EventHandler = {},
): Promise<ClusterNode> {
  const backplane = bus.backplane()
  const gaps = new Journal<Gap>()
  const faults = new Journal<Error>()
  const served = await serve(
    {
      backplane,
      cluster: { ...FAST, onGap: (gap) => gaps.push(gap), ...cluster },
      onError: (error) => faults.push(error),
      ...options,
    },
    handler,
  )
  await served.hub.cluster.ready()
  const { client, connection } = await served.connect()
  return { ...served, backplane, client, connection, gaps, faults }
}

/** Three nodes that know each other. */
export async function three(
  bus: Bus,
  cluster: ClusterOptions = {},
): Promise<[ClusterNode, ClusterNode, ClusterNode]> {
  const nodes: [ClusterNode, ClusterNode, ClusterNode] = [
    await join(bus, cluster),
    await join(bus, cluster),
    await join(bus, cluster),
  ]
  await acquainted(nodes)
  return nodes
}

/**
 * Waits until each of these nodes knows as many nodes as there are, and all are subscribed to the channel for
 * everyone.
 */
export async function acquainted(nodes: readonly ClusterNode[]): Promise<void> {
  const known = () => nodes.map(({ hub }) => hub.cluster.stats().nodes)
  await eventually('the nodes to know each other', () => known().every((n) => n === nodes.length), known)
  const listening = () => nodes.map(({ backplane }) => [...backplane.channels])
  await eventually(
    'the nodes to listen',
    () => listening().every((channels) => channels.some((channel) => channel.endsWith('.a'))),
    listening,
  )
}

/** Puts the client of a node into rooms; resolves when messages that others publish there arrive. */
export async function enter({ hub, connection }: ClusterNode, ...rooms: string[]): Promise<void> {
  await hub.cluster.join({ id: connection.id }, rooms)
}

/** The messages that the clients have received, up to a marker that the first node sends to all. */
export async function heard(nodes: readonly ClusterNode[], marker = 'end'): Promise<string[][]> {
  nodes[0]?.hub.broadcast(marker)
  return Promise.all(nodes.map(({ client }) => client.upTo(marker)))
}

/** Waits until a node is connected, or is not. */
export async function untilState({ hub }: ClusterNode, state: string): Promise<void> {
  await eventually(
    `the state ${state}`,
    () => hub.cluster.state === state,
    () => hub.cluster.state,
  )
}
