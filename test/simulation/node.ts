import { createServer, type Server } from 'node:http'
import {
  type Connection,
  type EventHandler,
  type Gap,
  Hub,
  HubError,
  type PresenceOptions,
  type SlowConsumerPolicy,
} from 'wshub'
import type { EngineBackplane } from './engine.ts'
import { HistoryApp, type HistorySettings } from './history-app.ts'
import { LEAVE_GRACE_MS, modeOf, ToldPresence, userOf } from './presence.ts'
import { DIRECT, EVERYONE, NEVER, type Sent } from './records.ts'
import type { Wire } from './wire.ts'
import { HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS, type World } from './world.ts'

/** The settings of the nodes of a simulation. */
export interface NodeSettings {
  readonly slowConsumer: SlowConsumerPolicy
  readonly maxBufferedBytes: number
  readonly maxTotalBufferedBytes: number
  readonly roomGraceMs: number
  readonly writeDelayMs: number
  /** `undefined` = no room has a history. */
  readonly history: HistorySettings | undefined
  /** Whether some rooms have presence. */
  readonly hasPresence: boolean
}

/** Time for the other nodes to answer a call, in ms. */
export const CALL_TIMEOUT_MS = 200
/** Time for a hub to close, in ms. */
export const CLOSE_MS = 400

/** Errors that the trouble of a simulation explains. Any other error is a fault of the code. */
const EXPECTED = [
  'WSHUB_ERR_BACKPLANE',
  'WSHUB_ERR_NOT_PUBLISHED',
  'WSHUB_ERR_SLOW_CONSUMER',
  'WSHUB_ERR_HUB_CLOSED',
  'WSHUB_ERR_NOT_STORED',
  'WSHUB_ERR_HISTORY_AWAY',
]

export type Metadata = { client: string; mood: number }

/** A simulated process: a hub, its server and its application. */
export class Node {
  readonly name: string
  readonly place: number
  readonly backplane: EngineBackplane
  /** `undefined` where no room has a history. */
  readonly app: HistoryApp | undefined
  readonly hub: Hub<Metadata>
  /** The presence that was reported to the application. */
  readonly told: ToldPresence
  readonly #server: Server
  readonly #world: World
  /** `false` from the moment it is closed or killed. */
  isUp = true
  isKilled = false
  /** Whether `close` has resolved. */
  isClosed = false
  /** When its connection to the engine began to hang. */
  deafSince: number | undefined

  constructor(world: World, name: string, place: number) {
    this.#world = world
    this.name = name
    this.place = place
    this.backplane = world.engine.join(name)
    this.app = world.history === undefined ? undefined : new HistoryApp(world, world.history, this)
    const { slowConsumer, maxBufferedBytes, maxTotalBufferedBytes, writeDelayMs, roomGraceMs, hasPresence } =
      world.settings
    this.told = new ToldPresence(world, this)
    this.hub = this.#own(
      () =>
        new Hub<Metadata>({
          backplane: this.backplane,
          history: this.app?.options,
          slowConsumer,
          maxBufferedBytes,
          maxTotalBufferedBytes,
          writeDelayMs,
          presence: hasPresence ? this.#presence() : undefined,
          pingIntervalMs: 1_000,
          pongTimeoutMs: 500,
          closeTimeoutMs: 300,
          onError: (error) => this.#failed(error),
          cluster: {
            heartbeatIntervalMs: HEARTBEAT_MS,
            heartbeatTimeoutMs: HEARTBEAT_TIMEOUT_MS,
            callTimeoutMs: CALL_TIMEOUT_MS,
            roomGraceMs,
            onGap: (gap) => this.#gap(gap),
          },
        }),
    )
    this.hub.cluster.handle('mark', (payload) => {
      for (const connection of this.hub.connections()) connection.sendText(payload.toString())
    })
    const handler = this.#handler()
    this.#server = createServer((req, res) => {
      try {
        void this.hub.upgrade(req, handler, { metadata: { client: (req.url ?? '').slice(1), mood: 0 } })
      } catch (error) {
        // The node closes: a client that arrives now is refused.
        if (!(error instanceof HubError) || this.isUp) throw error
        res.writeHead(error.status, error.headers).end(error.message)
      }
    })
    this.hub.attach(this.#server)
    world.trace(`${name} starts`)
  }

  accept({ socket }: Wire): void {
    if (!this.isUp) socket.destroy()
    else this.#server.emit('connection', Object.assign(socket, { server: this.#server }))
  }

  connection(id: string): Connection<Metadata> | undefined {
    return this.hub.getConnection(id)
  }

  /** Publishes a message, and records it. */
  publish(
    message: Pick<Sent, 'scope'> & Partial<Pick<Sent, 'rooms' | 'to' | 'exceptIds' | 'exceptRooms'>>,
    send: (id: string) => void,
  ): void {
    const { rooms = [], to, exceptIds = [], exceptRooms = [], scope } = message
    const sent = this.#world.ledger.publish({
      by: this.name,
      scope,
      rooms,
      to,
      exceptIds,
      exceptRooms,
      at: this.#world.clock.now,
    })
    this.#world.trace(`${this.name} sends ${sent.id} to ${scope} ${to ?? rooms.join(' ')}`)
    const before = this.hub.cluster.stats()
    send(sent.id)
    const { published, unpublished } = this.hub.cluster.stats()
    if (published > before.published) sent.isAccepted = unpublished === before.unpublished
  }

  restore(): void {
    this.deafSince = undefined
    this.backplane.restore()
    this.app?.store.restore()
  }

  /** Closes the hub, as an application does at its end. */
  close(): void {
    this.isUp = false
    this.#world.trace(`${this.name} closes`)
    void this.hub.close({ timeoutMs: CLOSE_MS, everyMs: 5, batch: 2 }).then(() => {
      this.isClosed = true
      // Work that is due at the end of the turn runs first.
      this.#world.clock.post('world', () => this.#checkTimers(), 1)
    })
  }

  /** Ends at once, like a process that is killed. */
  kill(): void {
    this.isUp = false
    this.isKilled = true
    this.#world.trace(`${this.name} is killed`)
    this.#world.clock.end(this.name)
    this.backplane.die()
    this.app?.store.die()
    this.#world.ledger.killed(this.name)
  }

  /** Checks that a closed hub has left nothing behind. */
  checkClosed(): void {
    const fail = (what: string) => this.#world.fail('close', `${this.name} is closed and ${what}`)
    if (!this.isClosed) fail('its close has not resolved')
    this.#checkTimers()
    if (this.hub.size > 0) fail(`has ${this.hub.size} connections`)
    if (this.hub.rooms().length > 0) fail(`has the rooms ${this.hub.rooms()}`)
    if (this.hub.stats().bufferedBytes > 0) fail('has bytes to send')
    if (this.backplane.subscribed.size > 0) fail('is subscribed')
    const { history } = this.hub.stats()
    if (history !== undefined && history.rooms > 0) fail(`follows ${history.rooms} histories`)
    for (const event of ['upgrade', 'request'] as const) {
      const listeners = this.#server.listenerCount(event)
      if (listeners > (event === 'request' ? 1 : 0)) fail(`has ${listeners} listeners of ${event}`)
    }
    for (const session of this.#world.ledger.sessions.values()) {
      if (session.node === this.name && session.isOpen) fail(`${session.name} has had no onClose`)
    }
  }

  #checkTimers(): void {
    const timers = this.#world.clock.timersOf(this.name)
    if (timers > 0) this.#world.fail('close', `${this.name} is closed and has ${timers} timers`)
  }

  /** Runs a function whose timers belong to this node. */
  #own<T>(make: () => T): T {
    return this.#world.clock.as(this.name, make)
  }

  #presence(): PresenceOptions<Connection<Metadata>> {
    return {
      rooms: modeOf,
      user: (connection) => {
        this.told.mayFollow() // called when a connection joins the room with members
        return userOf(connection.getMetadata('client') ?? '')
      },
      info: (connection) => {
        const mood = connection.getMetadata('mood') ?? 0
        const user = userOf(connection.getMetadata('client') ?? '')
        if (user !== undefined) this.told.gave(user, mood)
        return mood
      },
      leaveGraceMs: LEAVE_GRACE_MS,
      onChange: (room, change) => this.told.take(room, change),
    }
  }

  #handler(): EventHandler<Metadata> {
    const { ledger } = this.#world
    const nameOf = (connection: Connection<Metadata>) => connection.getMetadata('client') ?? ''
    return {
      onOpen: (connection) => ledger.opened(nameOf(connection), this.name, connection.id),
      onClose: (connection, code) => {
        const client = nameOf(connection)
        this.#world.trace(`${this.name} closes ${client} (${code})`)
        const { memberships = [] } = ledger.sessions.get(client) ?? {}
        for (const { room, sureHere, until } of memberships) {
          if (sureHere !== NEVER && until === NEVER) this.told.wasHere(client, room)
        }
        ledger.closed(client)
      },
      onDrop: (connection, { messages, reason }) => {
        this.#world.trace(`${this.name} drops ${messages} for ${nameOf(connection)}: ${reason}`)
        if (reason === 'resync') this.#world.history?.ledger.resynced(nameOf(connection))
        else ledger.dropped(nameOf(connection), messages)
      },
      onBehind: (connection, room) => {
        this.#world.trace(`${this.name} says that ${nameOf(connection)} is behind in ${room}`)
        this.app?.fellBehind(connection, room)
      },
      onMessage: (connection, { data }) => {
        const room = data.toString()
        if (this.app?.asked(connection, room) === true) return
        this.publish({ scope: 'room', rooms: [room] }, (id) => this.hub.broadcastToRoom(room, id))
      },
    }
  }

  #gap({ node, scope, room, count }: Gap): void {
    const place = scope === 'direct' ? DIRECT : (room ?? EVERYONE)
    this.#world.ledger.gap(this.name, this.#world.nodeOfHub(node), place, count)
  }

  #failed(error: Error): void {
    this.#world.trace(`${this.name} reports ${error.message}`)
    if (error instanceof HubError && EXPECTED.includes(error.code)) return
    this.#world.fail('errors', `${this.name}: ${error.stack}`)
  }
}
