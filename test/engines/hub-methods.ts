import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { WebSocket } from 'ws'
import {
  type Backplane,
  type BackplaneState,
  type BroadcastOptions,
  type CallOptions,
  type ClusterOptions,
  type ClusterStats,
  type EventHandler,
  type Gap,
  Hub,
  HubError,
  type Payload,
  type Selector,
} from 'wshub'

/** Time between two messages of a stream, in ms. */
const STREAM_MS = 5

/** Time, in ms, for the nodes to answer a call, on busy cores. */
const CALL_LIMIT_MS = 20_000
/** How many users connect at once. */
const HANDSHAKES = 50
/** Time, in ms, for users to come back. */
const PRESENCE_GRACE_MS = 5_000

type Rooms = string | readonly string[]

/** A message, and the call that must not overtake it. */
export interface Order {
  readonly to: Selector
  readonly data: string
  readonly call:
    | { readonly op: 'join' | 'leave'; readonly who: Selector; readonly room: string }
    | { readonly op: 'disconnect'; readonly who: Selector }
    | { readonly op: 'tell'; readonly id: string; readonly text: string }
}

/** The observations of a hub. */
export interface Seen {
  readonly state: BackplaneState
  readonly connections: number
  readonly stats: ClusterStats
  /** The gaps passed to `onGap`. */
  readonly gaps: readonly Gap[]
  /** The codes of the errors passed to `onError`. */
  readonly faults: readonly string[]
  /** How many calls of `wait` have arrived and were not released. */
  readonly waiting: number
}

/** The users who have joined and left a room, as `presence.onChange` was told. */
export interface UsersChange {
  readonly room: string
  readonly joined: readonly string[]
  readonly left: readonly string[]
}

export interface OpenInit
  extends Pick<ClusterOptions, 'namespace' | 'heartbeatIntervalMs' | 'heartbeatTimeoutMs'> {
  readonly isServing?: boolean
  readonly leaveGraceMs?: number
}

/** The methods of a hub that a test controls, in its own process or in another (`hub-process.ts`). */
export function hubMethods(createBackplane: () => Promise<Backplane>) {
  let hub = new Hub()
  let server: Server | undefined
  let port = 0
  let streaming: NodeJS.Timeout | undefined
  const gaps: Gap[] = []
  const faults: string[] = []
  const changes: UsersChange[] = []
  const crowd: WebSocket[] = []
  /** How many messages were published into a room. */
  const counts = new Map<string, number>()
  const waiting = new Set<() => void>()

  /** Connects users to this hub, some at once: on busy cores, the last of a thousand at once are reset. */
  async function gather(users: readonly string[]): Promise<void> {
    for (let from = 0; from < users.length; from += HANDSHAKES) {
      const clients = users
        .slice(from, from + HANDSHAKES)
        .map((user) => new WebSocket(`ws://127.0.0.1:${port}/${user}`))
      crowd.push(...clients)
      await Promise.all(clients.map((client) => once(client, 'open')))
    }
  }

  /** Puts users who are connected to this hub into a room. */
  function seat(room: string, users: readonly string[]): void {
    for (const connection of hub.connections()) {
      if (users.includes(String(connection.getMetadata('name')).slice(1))) hub.joinRoom(connection, room)
    }
  }

  function publishNext(room: string, padding = ''): void {
    const number = counts.get(room) ?? 0
    counts.set(room, number + 1)
    hub.broadcastToRoom(room, `${hub.cluster.node} ${room} ${number} ${padding}`)
  }

  async function close(): Promise<void> {
    const closed = hub.close()
    server?.close()
    await closed
  }

  return {
    /** Makes the hub, on a server of its own unless `isServing` is false, with default options. */
    async open({ isServing = true, leaveGraceMs = PRESENCE_GRACE_MS, ...settings }: OpenInit = {}) {
      hub = new Hub({
        backplane: await createBackplane(),
        cluster: {
          callTimeoutMs: CALL_LIMIT_MS,
          ...settings,
          publicMetadata: ['name'],
          onGap: (gap) => gaps.push(gap),
        },
        onError: (error) => faults.push(error instanceof HubError ? error.code : error.message),
        maxBufferedBytes: 64 * 1_048_576, // a hub that was stopped has much to hand over
        presence: {
          rooms: (room) => (room.startsWith('presence') ? 'members' : undefined),
          user: (connection) => String(connection.getMetadata('name')).slice(1),
          leaveGraceMs,
          maxMembersPerRoom: 2_000,
          onChange: (room, { joined, left }) => {
            const users = joined.map(({ user }) => user)
            if (users.length + left.length > 0) changes.push({ room, joined: users, left })
          },
        },
      })
      const { cluster } = hub
      cluster.handle('echo', (payload) => payload)
      cluster.handle('fail', () => {
        throw new Error('as it was told')
      })
      cluster.handle('tell', (payload) => {
        const [id = '', text = ''] = String(payload).split(' ')
        hub.getConnection(id)?.sendText(text)
      })
      cluster.handle('wait', () => new Promise<void>((resolve) => waiting.add(resolve)))
      await cluster.ready()
      if (!isServing) return { node: cluster.node, port: 0 }
      server = createServer()
      port = await serve(hub, server)
      return { node: cluster.node, port }
    },

    close,

    /** Publishes, and closes in the same turn. */
    async leaveWith(room: string, data: Payload) {
      hub.broadcastToRoom(room, data)
      await close()
    },

    /** Publishes from a hub that is made and closed at once, as a script does. */
    async publishAtOnce(room: string, data: Payload) {
      hub = new Hub({ backplane: await createBackplane() })
      hub.broadcastToRoom(room, data)
      await hub.close()
    },

    broadcast: (data: Payload) => hub.broadcast(data),
    broadcastExcept: (data: Payload, id: string) => hub.broadcastExcept(data, id),
    broadcastWith: (data: Payload, options: BroadcastOptions) => hub.broadcast(data, options),
    broadcastToRoomWith: (room: Rooms, data: Payload, options: BroadcastOptions) =>
      hub.broadcastToRoom(room, data, options),
    broadcastToRoom: (room: Rooms, data: Payload) => hub.broadcastToRoom(room, data),
    broadcastToRoomExcept: (room: Rooms, data: Payload, id: string) =>
      hub.broadcastToRoomExcept(room, data, id),
    sendTo: (id: string, data: Payload) => hub.sendTo(id, data),

    ready: () => hub.cluster.ready(),
    roomSize: (room: Rooms, options?: CallOptions) => hub.cluster.roomSize(room, options),
    members: (room: Rooms, options?: CallOptions) => hub.cluster.members(room, options),
    connections: (options?: CallOptions) => hub.cluster.connections(options),
    nodes: (options?: CallOptions) => hub.cluster.nodes(options),
    join: (selector: Selector, room: Rooms, options?: CallOptions) =>
      hub.cluster.join(selector, room, options),
    leave: (selector: Selector, room: Rooms, options?: CallOptions) =>
      hub.cluster.leave(selector, room, options),
    disconnect: (selector: Selector, code: number, reason: string) =>
      hub.cluster.disconnect(selector, code, reason),
    call: (name: string, payload?: Payload, options?: CallOptions) =>
      hub.cluster.call(name, payload, options),

    /** Publishes, and calls in the same turn. */
    async order({ to, data, call }: Order) {
      if ('all' in to) hub.broadcast(data)
      else if ('room' in to) hub.broadcastToRoom(to.room, data)
      else for (const id of [to.id].flat()) hub.sendTo(id, data)
      switch (call.op) {
        case 'join':
          return hub.cluster.join(call.who, call.room)
        case 'leave':
          return hub.cluster.leave(call.who, call.room)
        case 'disconnect':
          return hub.cluster.disconnect(call.who, 4_000)
        case 'tell':
          return hub.cluster.call('tell', `${call.id} ${call.text}`)
      }
    },

    presence: (room: string) => hub.presence(room),
    usersChanges: () => changes,

    gather,
    seat,

    /** Connects users to this hub, and puts them into a room. */
    async crowd(room: string, users: readonly string[]) {
      await gather(users)
      seat(room, users)
    },

    /** Ends the connections of the users. */
    endCrowd() {
      for (const client of crowd.splice(0)) client.terminate()
    },

    /** Releases the calls of `wait` that have arrived. */
    release() {
      for (const end of waiting) end()
      waiting.clear()
    },

    /** Publishes numbered messages into a room, in one turn. */
    publish(room: string, count: number, paddingBytes = 0) {
      const padding = 'x'.repeat(paddingBytes)
      for (let index = 0; index < count; index++) publishNext(room, padding)
    },

    /** Publishes numbered messages once a join is confirmed; returns the number of the first. */
    async joinAndPublish(selector: Selector, room: string, count: number) {
      const answer = await hub.cluster.join(selector, room)
      const first = counts.get(room) ?? 0
      for (let index = 0; index < count; index++) publishNext(room)
      return { ...answer, first }
    },

    /** Publishes numbered messages into a room until `endStream`. */
    stream(room: string) {
      clearInterval(streaming)
      streaming = setInterval(() => publishNext(room), STREAM_MS)
    },

    endStream() {
      clearInterval(streaming)
    },

    /** Returns how many numbered messages were published into a room. */
    published: (room: string) => counts.get(room) ?? 0,

    /** Publishes raw bytes, as another program would. */
    async inject(messages: readonly { readonly channel: string; readonly bytes: Uint8Array }[]) {
      const backplane = await createBackplane()
      await backplane.start({ onMessage() {}, onStateChange() {}, onError() {} })
      for (const { channel, bytes } of messages) backplane.publish(channel, bytes)
      await backplane.close()
    },

    seen(): Seen {
      return {
        state: hub.cluster.state,
        connections: hub.size,
        stats: hub.cluster.stats(),
        gaps,
        faults,
        waiting: waiting.size,
      }
    },
  }
}

export type HubMethods = ReturnType<typeof hubMethods>

/** Tells each client its id first. The path is its name. */
async function serve(hub: Hub, server: Server): Promise<number> {
  const handler: EventHandler = { onOpen: (connection) => void connection.sendText(connection.id) }
  server.on('request', (req, res) => {
    try {
      void hub.upgrade(req, handler, { metadata: { name: req.url ?? '', secret: 'of this node' } })
    } catch (error) {
      if (!(error instanceof HubError)) throw error
      res.writeHead(error.status, { ...error.headers }).end(error.message)
    }
  })
  hub.attach(server)
  // In a worker of node:cluster the primary listens and picks the worker, unless the port is the worker's
  // own.
  await new Promise<void>((resolve) => {
    server.listen({ port: 0, host: '127.0.0.1', exclusive: true }, resolve)
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server does not listen on a port')
  return address.port
}
