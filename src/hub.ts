import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { Acceptor } from './acceptor.ts'
import { CloseCode } from './close-code.ts'
import { Connection, type ConnectionHost, type ConnectionTransport } from './connection.ts'
import { OutgoingMessage } from './deflate.ts'
import { Delivery, type DropCount, type DropReason } from './delivery.ts'
import { HubError, type HubErrorCode, show } from './errors.ts'
import { checkClose } from './frame.ts'
import { checkHandler, type EventHandler, runHandler } from './handler.ts'
import { checkHandshake, type HandshakeInit } from './handshake.ts'
import { Keepalive } from './keepalive.ts'
import { checkPayload, checkSendOptions, type Payload, type SendOptions } from './message.ts'
import type { Metadata } from './metadata.ts'
import { type HubOptions, type ResolvedHubOptions, resolveHubOptions } from './options.ts'
import { RoomIndex } from './rooms.ts'
import {
  claimUpgrade,
  completeUpgrade,
  findUpgrade,
  finishResponse,
  UpgradeBridge,
  type UpgradeServer,
} from './upgrade.ts'
import type { WebSocketLike } from './websocket-events.ts'
import { WebSocketWritable } from './websocket-writable.ts'

/** What a route can say about a connection it opens. */
export interface UpgradeInit<Meta extends object = Metadata> extends HandshakeInit {
  /** First entries of `connection.metadata`, there before `onOpen`. */
  metadata?: Partial<Meta>
}

/** How {@link Hub.close} says goodbye. */
export interface CloseOptions {
  /** Default 1001, going away. */
  code?: number | undefined
  /** At most 123 bytes of UTF-8. Default empty. */
  reason?: string | undefined
  /** Time, in ms, for clients to answer and for async callbacks to settle; then what is left is terminated. Default 5 000. */
  timeoutMs?: number | undefined
}

/** How {@link Hub.close} went. */
export interface CloseResult {
  /** Connections that ended within the time. */
  closed: number
  /** Connections that were terminated when it was over. */
  terminated: number
}

/** Whether a hub takes connections. */
export type HubState = 'open' | 'closing' | 'closed'

const DEFAULT_CLOSE_TIMEOUT_MS = 5_000

/** Errors that any client can cause at will: a warning for each would let it fill the log. */
const CLIENT_FAULTS: ReadonlySet<HubErrorCode> = new Set<HubErrorCode>([
  'WSHUB_ERR_PROTOCOL',
  'WSHUB_ERR_INVALID_DATA',
  'WSHUB_ERR_MESSAGE_TOO_BIG',
  'WSHUB_ERR_SLOW_CONSUMER',
])

/**
 * The WebSocket connections of an application, their rooms, and everything that is sent to more than one of them.
 * A hub belongs to one process. `Meta` types `connection.metadata`.
 */
export class Hub<Meta extends object = Metadata> {
  readonly #options: ResolvedHubOptions
  readonly #connections = new Map<string, Connection<Meta>>()
  readonly #rooms = new RoomIndex<Connection<Meta>>()
  readonly #bridge = new UpgradeBridge()
  readonly #delivery: Delivery
  readonly #keepalive: Keepalive
  readonly #host: ConnectionHost<Meta>
  readonly #acceptor: Acceptor
  readonly #idPrefix = `${randomBytes(9).toString('base64url')}.`
  #idCount = 0
  #state: HubState = 'open'
  #closing: Promise<CloseResult> | undefined
  /** Async `onOpen` and `onClose` that have not settled. At most one for each connection. */
  readonly #settling = new Set<Promise<void>>()
  #onEmpty: (() => void) | undefined
  readonly #warned = new Set<HubErrorCode>()

  /** @throws {HubError} WSHUB_ERR_INVALID_OPTION when an option is unknown or out of its range */
  constructor(options?: HubOptions) {
    this.#options = resolveHubOptions(options)
    const connections = this.#connections
    const peers = {
      get size() {
        return connections.size
      },
      [Symbol.iterator]: () => connections.values(),
    }
    this.#keepalive = new Keepalive(peers, this.#options, () => this.#leaveClosingServers())
    this.#acceptor = new Acceptor(this.#options)
    this.#delivery = new Delivery(this.#options)
    this.#host = {
      hub: this,
      options: this.#options,
      delivery: this.#delivery,
      keepalive: this.#keepalive,
      roomsOf: (connection) => this.#rooms.roomsOf(connection),
      release: (connection) => this.#release(connection),
      report: (error, connection, handler) => this.#report(error, connection, handler),
      settling: (callback) => {
        this.#settling.add(callback)
        void callback.then(() => this.#settling.delete(callback))
      },
    }
  }

  /** `open` until `close` is called, `closed` when it is done. A readiness probe may show it. */
  get state(): HubState {
    return this.#state
  }

  /** How many connections there are. */
  get size(): number {
    return this.#connections.size
  }

  /** How much was dropped instead of sent since the hub was made, by reason; live. */
  get dropped(): Readonly<Record<DropReason, Readonly<DropCount>>> {
    return this.#delivery.dropped
  }

  /** The connection of that id; `undefined` when there is none in this process. */
  getConnection(id: string): Connection<Meta> | undefined {
    return this.#connections.get(id)
  }

  /** All connections, as of now. */
  connections(): Connection<Meta>[] {
    return [...this.#connections.values()]
  }

  /**
   * Leads a server's upgrades through its ordinary request listeners, where a route can call {@link Hub.upgrade}.
   * Other `upgrade` listeners of that server keep what no route of the hub takes. A server that stops listening takes its
   * connections along: they are closed with 1001 within a second.
   * @param server a server of `node:http` or `node:https`; without one, every such server of this process that takes a
   *   TCP connection from now on, as long as the hub is open
   * @returns a function that detaches again; connections stay
   */
  attach(server?: UpgradeServer): () => void {
    if (this.#state !== 'open') return () => {}
    return server === undefined ? this.#bridge.discover() : this.#bridge.attach(server)
  }

  /**
   * Answers an upgrade request with 101 and opens the connection. Headers that were set on the response travel with the 101.
   * @returns a promise of the connection, once `onOpen` has settled and before the first message. It never rejects.
   * @throws {HubError} at once, with an HTTP status, when the upgrade is refused: WSHUB_ERR_HUB_CLOSED,
   *   WSHUB_ERR_NOT_UPGRADE, WSHUB_ERR_METHOD, WSHUB_ERR_VERSION, WSHUB_ERR_BAD_HANDSHAKE, WSHUB_ERR_ORIGIN,
   *   WSHUB_ERR_HUB_FULL, WSHUB_ERR_SOCKET_CLOSED; or misused: WSHUB_ERR_INVALID_HANDLER, WSHUB_ERR_INVALID_HEADER,
   *   WSHUB_ERR_NOT_ATTACHED, WSHUB_ERR_ALREADY_UPGRADED
   */
  upgrade(
    req: IncomingMessage,
    handler: EventHandler<Meta>,
    init: UpgradeInit<Meta> = {},
  ): Promise<Connection<Meta>> {
    claimUpgrade(req)
    checkHandler(handler)
    this.#checkOpen()
    checkHandshake(req)
    const { origin, host } = req.headers
    if (!this.#options.isOriginAllowed(origin, host)) {
      throw new HubError('WSHUB_ERR_ORIGIN', `the origin ${show(origin)} is not allowed`)
    }
    this.#checkNotFull()
    const pending = findUpgrade(req)
    const opened = this.#acceptor.accept(req, pending, init, ({ ws, windowBits }) => {
      completeUpgrade(req, pending)
      const { socket, server } = pending
      const transport = {
        ws,
        socket,
        windowBits,
        remoteAddress: socket.remoteAddress,
        server: server.listening ? server : undefined,
      }
      return this.#open(transport, handler, init.metadata).open()
    })
    finishResponse(pending)
    return opened
  }

  /**
   * Takes in a `ws` WebSocket that was opened elsewhere, open or still connecting. It is written through its own `send`.
   * @throws {HubError} WSHUB_ERR_HUB_CLOSED, WSHUB_ERR_HUB_FULL or WSHUB_ERR_INVALID_HANDLER; the socket is left alone then
   */
  register(
    socket: WebSocketLike,
    handler: EventHandler<Meta>,
    init: Pick<UpgradeInit<Meta>, 'metadata'> = {},
  ): Connection<Meta> {
    checkHandler(handler)
    this.#checkOpen()
    this.#checkNotFull()
    socket.binaryType = 'nodebuffer'
    const writable = new WebSocketWritable(socket)
    const connection = this.#open(
      { ws: socket, socket: writable, remoteAddress: undefined, windowBits: 0, server: undefined },
      handler,
      init.metadata,
    )
    void connection.open()
    return connection
  }

  /**
   * Puts a connection into a room, or into each of several.
   * @returns `false` when it is not open any more; nothing is joined then
   * @throws {HubError} WSHUB_ERR_INVALID_ROOM, or WSHUB_ERR_FOREIGN_CONNECTION for a connection of another hub
   */
  joinRoom(connection: Connection<Meta>, room: string | readonly string[]): boolean {
    this.#checkOwn(connection)
    const rooms = asRooms(room)
    if (connection.state === 'closing' || connection.state === 'closed') return false
    for (const name of rooms) this.#rooms.add(connection, name)
    return true
  }

  /**
   * Takes a connection out of a room, or out of each of several.
   * @returns whether it was in one of them
   * @throws {HubError} WSHUB_ERR_INVALID_ROOM, or WSHUB_ERR_FOREIGN_CONNECTION for a connection of another hub
   */
  leaveRoom(connection: Connection<Meta>, room: string | readonly string[]): boolean {
    this.#checkOwn(connection)
    let left = false
    for (const name of asRooms(room)) left = this.#rooms.remove(connection, name) || left
    return left
  }

  /** How many connections are in the room, or in the union of several; 0 for a room that does not exist. */
  roomSize(room: string | readonly string[]): number {
    return this.#rooms.union(asRooms(room)).size
  }

  /** The names of all rooms that have a member. */
  rooms(): string[] {
    return this.#rooms.names()
  }

  /** The connections in the room, or in the union of several, each once, as of now. */
  members(room: string | readonly string[]): Connection<Meta>[] {
    return [...this.#rooms.union(asRooms(room))]
  }

  /**
   * Sends to all connections. The message is framed once, and compressed at most once, however many receive it.
   * @param data a string for a text message, bytes for a binary one
   * @returns how many connections accepted it
   * @throws {HubError} WSHUB_ERR_INVALID_PAYLOAD for anything else; serialize objects yourself. WSHUB_ERR_INVALID_OPTION
   */
  broadcast(data: Payload, options?: SendOptions): number {
    return this.#deliver(this.#connections.values(), data, undefined, options)
  }

  /** Like {@link Hub.broadcast}, without the connection of that id. */
  broadcastExcept(data: Payload, exceptId: string, options?: SendOptions): number {
    return this.#deliver(this.#connections.values(), data, exceptId, options)
  }

  /**
   * Sends to the members of a room, or of the union of several, each once. An empty room costs nothing.
   * @returns how many connections accepted it
   * @throws {HubError} WSHUB_ERR_INVALID_ROOM, WSHUB_ERR_INVALID_PAYLOAD or WSHUB_ERR_INVALID_OPTION
   */
  broadcastToRoom(room: string | readonly string[], data: Payload, options?: SendOptions): number {
    return this.#deliver(this.#rooms.union(asRooms(room)), data, undefined, options)
  }

  /** Like {@link Hub.broadcastToRoom}, without the connection of that id. */
  broadcastToRoomExcept(
    room: string | readonly string[],
    data: Payload,
    exceptId: string,
    options?: SendOptions,
  ): number {
    return this.#deliver(this.#rooms.union(asRooms(room)), data, exceptId, options)
  }

  /**
   * Refuses new connections with 503, closes all others behind what was sent to them, and lets go of servers and timers.
   * Further calls return the same promise.
   * @throws {HubError} WSHUB_ERR_INVALID_CLOSE when the code may not be sent or the reason is too long
   */
  close(options: CloseOptions = {}): Promise<CloseResult> {
    const { code = CloseCode.goingAway, reason = '', timeoutMs = DEFAULT_CLOSE_TIMEOUT_MS } = options
    checkClose(code, reason)
    this.#closing ??= this.#shutDown(code, reason, timeoutMs)
    return this.#closing
  }

  async #shutDown(code: number, reason: string, timeoutMs: number): Promise<CloseResult> {
    this.#state = 'closing'
    const connections = this.connections()
    for (const connection of connections) {
      if (connection.state === 'connecting') connection.terminate()
      else connection.close(code, reason)
    }
    let terminated = 0
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        const left = this.connections()
        terminated = left.length
        for (const connection of left) connection.terminate()
        resolve()
      }, timeoutMs)
    })
    await Promise.race([this.#emptied(), timeout])
    clearTimeout(timer)
    this.#keepalive.stop()
    this.#delivery.stop()
    this.#bridge.close()
    this.#acceptor.close()
    this.#state = 'closed'
    return { closed: connections.length - terminated, terminated }
  }

  /** Resolves when there is no connection and no unsettled `onClose`. */
  async #emptied(): Promise<void> {
    if (this.#connections.size > 0) {
      await new Promise<void>((resolve) => {
        this.#onEmpty = resolve
      })
    }
    while (this.#settling.size > 0) await Promise.all(this.#settling)
  }

  #open(
    transport: ConnectionTransport,
    handler: EventHandler<Meta>,
    metadata: Partial<Meta> | undefined,
  ): Connection<Meta> {
    const id = this.#idPrefix + (this.#idCount++).toString(36)
    const connection = new Connection(this.#host, id, transport, handler, metadata)
    this.#connections.set(id, connection)
    this.#keepalive.start()
    return connection
  }

  #release(connection: Connection<Meta>): ReadonlySet<string> {
    this.#connections.delete(connection.id)
    if (this.#connections.size === 0) {
      this.#keepalive.stop()
      // After the `onClose` that the caller is about to run.
      process.nextTick(() => this.#onEmpty?.())
    }
    return this.#rooms.removeMember(connection)
  }

  #deliver(
    targets: Iterable<Connection<Meta>>,
    data: Payload,
    exceptId: string | undefined,
    options: SendOptions | undefined,
  ): number {
    checkPayload(data)
    checkSendOptions(options)
    const except = exceptId === undefined ? undefined : this.#connections.get(exceptId)
    let message: OutgoingMessage | undefined
    let accepted = 0
    for (const connection of targets) {
      if (connection === except) continue
      message ??= new OutgoingMessage(data, this.#options.enableCompression)
      if (connection.deliver(message, options)) accepted++
    }
    return accepted
  }

  #leaveClosingServers(): void {
    for (const server of this.#bridge.closingServers()) {
      for (const connection of this.#connections.values()) {
        if (connection.server === server) connection.close(CloseCode.goingAway)
      }
    }
  }

  #checkOpen(): void {
    if (this.#state !== 'open')
      throw new HubError('WSHUB_ERR_HUB_CLOSED', 'the hub takes no more connections')
  }

  #checkNotFull(): void {
    const { maxConnections } = this.#options
    if (this.#connections.size >= maxConnections) {
      throw new HubError('WSHUB_ERR_HUB_FULL', `the hub is full: ${maxConnections} connections`)
    }
  }

  #checkOwn(connection: Connection<Meta>): void {
    if (connection?.hub === this) return
    throw new HubError('WSHUB_ERR_FOREIGN_CONNECTION', 'this is not a connection of this hub')
  }

  /** To the handler, else to the hub's `onError`, else a process warning. */
  #report(error: Error, connection: Connection<Meta>, handler?: EventHandler<Meta>): void {
    const { onError } = this.#options
    if (handler?.onError !== undefined) {
      runHandler(() => handler.onError?.(connection, error), {
        failed: (thrown) => this.#report(thrown, connection),
      })
    } else if (onError !== undefined) {
      // The option is written without the application's Meta: a hub may be shared by routes that know different ones.
      runHandler(() => onError(error, connection as unknown as Connection), {
        failed: (thrown) => process.emitWarning(thrown),
      })
    } else {
      if (error instanceof HubError && CLIENT_FAULTS.has(error.code)) {
        if (this.#warned.has(error.code)) return
        this.#warned.add(error.code)
      }
      process.emitWarning(error)
    }
  }
}

function asRooms(room: string | readonly string[]): readonly string[] {
  const rooms = typeof room === 'string' ? [room] : room
  if (Array.isArray(rooms) && rooms.every((name) => typeof name === 'string' && name !== '')) return rooms
  throw new HubError(
    'WSHUB_ERR_INVALID_ROOM',
    `a room is a string that is not empty, or an array of such, not ${show(room)}`,
  )
}
