import type { Connection, EventHandler, Hub, HubOptions, PresenceChange, PresenceOptions } from 'wshub'
import { openEnvelope, readBody } from '../../src/cluster/wire/envelope.ts'
import type { PresenceMessage } from '../../src/cluster/wire/presence-message.ts'
import type { Bus, Published } from '../support/bus.ts'
import { acquainted, type ClusterNode, join } from '../support/cluster.ts'
import { type Client, eventually, type HubServer, Journal, serve } from '../support/hub-server.ts'

/** A change, with the room it is about. */
export interface Told extends PresenceChange {
  readonly room: string
}

/** Options by which the metadata `user` is the user, and `name` the info. */
export function presenceOptions(
  changes: Journal<Told>,
  options: Partial<PresenceOptions<Connection>> = {},
): PresenceOptions<Connection> {
  return {
    rooms: (room) => (room.startsWith('count') ? 'count' : room.startsWith('plain') ? undefined : 'members'),
    user: (connection) => textOf(connection, 'user'),
    info: (connection) => {
      const name = textOf(connection, 'name')
      return name === undefined ? undefined : { name }
    },
    leaveGraceMs: 30,
    onChange: (room, change) => changes.push({ room, ...change }),
    ...options,
  }
}

export interface PresenceServer extends HubServer {
  readonly changes: Journal<Told>
  readonly faults: Journal<Error>
  /** Opens a connection of a user; anonymous without one. */
  enter(user?: string, ...rooms: string[]): Promise<{ client: Client; connection: Connection }>
}

/** A hub without a cluster. */
export async function servePresence(
  options: Partial<PresenceOptions<Connection>> = {},
  hubOptions: HubOptions = {},
  handler: EventHandler = {},
): Promise<PresenceServer> {
  const changes = new Journal<Told>()
  const faults = new Journal<Error>()
  const served = await serve(
    { presence: presenceOptions(changes, options), onError: (error) => faults.push(error), ...hubOptions },
    handler,
  )
  return { ...served, changes, faults, enter: (user, ...rooms) => enter(served, user, rooms) }
}

/** A node of a cluster, whose own client is anonymous and in no room. */
export interface PresenceNode extends ClusterNode {
  readonly changes: Journal<Told>
  enter(user?: string, ...rooms: string[]): Promise<{ client: Client; connection: Connection }>
}

export async function presenceNode(
  bus: Bus,
  options: Partial<PresenceOptions<Connection>> = {},
  cluster: HubOptions['cluster'] = {},
  hubOptions: HubOptions = {},
): Promise<PresenceNode> {
  const changes = new Journal<Told>()
  // A question to a node that does not answer ends after the time of a call.
  const node = await join(
    bus,
    { callTimeoutMs: 400, ...cluster },
    { presence: presenceOptions(changes, options), ...hubOptions },
  )
  return { ...node, changes, enter: (user, ...rooms) => enter(node, user, rooms) }
}

async function enter(
  { hub, connect }: HubServer,
  user: string | undefined,
  rooms: readonly string[],
): Promise<{ client: Client; connection: Connection }> {
  const { client, connection } = await connect()
  if (user !== undefined) connection.setMetadata('user', user)
  if (rooms.length > 0) hub.joinRoom(connection, rooms)
  return { client, connection }
}

/** Returns the users of a room and their connections, as `ann:1 bob:2`. */
export function usersOf(hub: Hub, room: string): string {
  return hub
    .presence(room)
    .members.map(({ user, connections }) => `${user}:${connections}`)
    .sort()
    .join(' ')
}

/** Two nodes that know each other. */
export async function two(
  bus: Bus,
  options = {},
  cluster = {},
  hubOptions = {},
): Promise<[PresenceNode, PresenceNode]> {
  const nodes: [PresenceNode, PresenceNode] = [
    await presenceNode(bus, options, cluster, hubOptions),
    await presenceNode(bus, options, cluster, hubOptions),
  ]
  await acquainted(nodes)
  return nodes
}

/** Waits until each of these nodes tells the same of a room, and completely. */
export async function agreed(nodes: readonly PresenceNode[], room: string, users: string): Promise<void> {
  const seen = () =>
    nodes.map(({ hub }) => `${usersOf(hub, room)}${hub.presence(room).isComplete ? '' : ' incomplete'}`)
  await eventually(`the nodes to agree on ${room}`, () => seen().every((text) => text === users), seen)
}

/** Returns the message about presence that an envelope carries; `undefined` = none. */
export function presenceOf(bytes: Buffer): PresenceMessage | undefined {
  const envelope = openEnvelope(Buffer.from(bytes))
  if (envelope.kind !== 'presence') return undefined
  const body = readBody(envelope)
  return body.kind === 'presence' ? body.message : undefined
}

/** Returns the messages about presence among those that were published. */
export function toldIn(published: readonly Published[]): PresenceMessage[] {
  return published.flatMap(({ bytes }) => presenceOf(bytes) ?? [])
}

function textOf(connection: Connection, key: string): string | undefined {
  const value = connection.getMetadata(key)
  return typeof value === 'string' ? value : undefined
}
