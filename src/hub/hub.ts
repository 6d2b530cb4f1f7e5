import { type InspectOptions, inspect } from 'node:util'
import { HubError, show } from '../base/errors.ts'
import type { Metadata } from '../base/metadata.ts'
import { invalid } from '../base/option-rules.ts'
import { asRooms } from '../base/room-names.ts'
import { syncResult } from '../base/sync-result.ts'
import { asError } from '../base/thrown.ts'
import { Calls } from '../cluster/calls.ts'
import { Cluster } from '../cluster/cluster.ts'
import type { Link } from '../cluster/link.ts'
import { EVERYONE } from '../cluster/wire/channel-names.ts'
import type { Connection } from '../connection/connection.ts'
import type { EventHandler } from '../connection/event-handler.ts'
import type { WebSocketLike } from '../connection/hub-websocket.ts'
import type { DropCount, DropReason } from '../delivery/drop-count.ts'
import type { HistoryPage } from '../history/history-page.ts'
import { checkReplayFrom, type ReplayFrom } from '../history/replay-from.ts'
import { endedResume, type ResumeResult } from '../history/resume.ts'
import type { RoomPresence } from '../presence/presence-options.ts'
import { CloseCode } from '../protocol/close-code.ts'
import { checkClose } from '../protocol/control-frame.ts'
import type { UpgradeRequest } from '../protocol/handshake.ts'
import { checkPayload, checkSendOptions, type Payload, type SendOptions } from '../protocol/message.ts'
import type { FrameworkInit, RegisterInit, UpgradeInit } from '../upgrade/upgrade-init.ts'
import { checkServer, type UpgradeServer } from '../upgrade/upgrade-server.ts'
import {
  type BroadcastOptions,
  type ConnectionRef,
  checkOwn,
  idOf,
  type PublishOptions,
  readAudience,
  without,
} from './audience.ts'
import { Broadcaster } from './broadcaster.ts'
import { type CloseOptions, type CloseResult, readCloseOptions } from './close-options.ts'
import { HubLife } from './hub-life.ts'
import { claimBackplane, type HubOptions, type ResolvedHubOptions, resolveHubOptions } from './hub-options.ts'
import { connectionsOf, disconnect, LocalNode } from './local-node.ts'
import { RoomFollowers } from './room-followers.ts'
import { RoomServices } from './room-services.ts'
import { Sessions } from './sessions.ts'
import { type HubState, type HubStats, type HubSummary, statsOf } from './stats.ts'
import { Upgrades } from './upgrades.ts'

/**
 * The WebSocket connections of an application, their rooms, and everything that is sent to more than one of
 * them. A hub belongs to one process. `Meta` is the type of `connection.metadata`.
 */
export class Hub<out Meta extends object = Metadata> {
  readonly #sessions: Sessions<Meta>
  readonly #upgrades: Upgrades<Meta>
  readonly #local: LocalNode<Meta>
  readonly #calls: Calls
  readonly #link: Link
  readonly #cluster: Cluster<Meta>
  readonly #services: RoomServices<Meta>
  readonly #broadcaster: Broadcaster<Meta>
  readonly #life: HubLife<Meta>

  /** @throws {HubError} WSHUB_ERR_INVALID_OPTION when an option is unknown or out of its range */
  constructor(options?: HubOptions<Meta>) {
    this.#sessions = new Sessions<Meta>(this, resolveHubOptions(options), {
      added: (session) => {
        this.#upgrades.gate.enter(session.connection.remoteAddress)
        if (this.size === 1) this.#link.occupied(EVERYONE)
      },
      removed: (session) => {
        this.#upgrades.gate.leave(session.connection.remoteAddress)
        if (this.size > 0) return
        this.#link.vacated(EVERYONE)
        this.#life.lastClosed()
      },
      resync: (session, firsts) => this.#services.history?.resync(session, firsts),
      swept: () => {
        // A closing hub closes them in its own order.
        if (this.state === 'open') this.#upgrades.leaveClosingServers()
      },
    })
    this.#upgrades = new Upgrades(this.#sessions)
    this.#life = new HubLife(this.#sessions, this.#upgrades)
    claimBackplane(this.options.backplane) // after all checks of the options
    this.#local = new LocalNode(this.#sessions)
    this.#calls = new Calls(this.#local, this.options)
    this.#link = this.#calls.link
    this.#services = new RoomServices(this.#local, this.#link, this.options)
    this.#sessions.rooms.watch(new RoomFollowers(this.#link, this.#services).listener)
    this.#cluster = new Cluster<Meta>(this.#calls)
    this.#broadcaster = new Broadcaster(this.#local, this.#link)
  }

  /**
   * Returns the hub of `{ hub }`, or a new one with these options. Adapters read their options with it.
   * @throws {HubError} WSHUB_ERR_INVALID_OPTION, also for an option beside a hub, which has its own
   */
  static from<Meta extends object = Metadata>(
    options: HubOptions<Meta> | { readonly hub: Hub<Meta> } = {},
  ): Hub<Meta> {
    if (typeof options !== 'object' || options === null || !('hub' in options)) return new Hub<Meta>(options)
    const { hub, ...others } = options
    if (hub === undefined) return new Hub<Meta>(others)
    // Not `instanceof`: two copies of the package may be loaded.
    if (typeof hub?.upgrade !== 'function') throw invalid('hub', 'is a Hub', hub)
    const [other] = Object.keys(others)
    if (other === undefined) return hub
    throw new HubError(
      'WSHUB_ERR_INVALID_OPTION',
      `${show(other)} has no effect beside { hub }: a hub keeps the options that it was created with`,
    )
  }

  /** `open` until `close` is called, `closed` when it has finished. A readiness probe may show it. */
  get state(): HubState {
    return this.#life.state
  }

  /** The options of this hub, with every default in place; frozen. */
  get options(): ResolvedHubOptions {
    return this.#sessions.options
  }

  /** Returns a summary for a log: no options, and only the number of connections. */
  toJSON(): HubSummary {
    return {
      node: this.#sessions.node,
      state: this.state,
      connections: this.#sessions.size,
      rooms: this.#sessions.rooms.size,
      cluster: this.#cluster.state,
    }
  }

  /** @internal */
  [inspect.custom](_depth: number, options: InspectOptions): string {
    return `Hub ${inspect(this.toJSON(), options)}`
  }

  /** The number of connections. */
  get size(): number {
    return this.#sessions.size
  }

  /**
   * Returns the current figures of this process and its counters since the hub was created. Adding up
   * `bufferedBytes` visits each connection. `hub.cluster.stats()` counts messages between processes.
   */
  stats(): HubStats {
    return statsOf(this.#sessions.tally, this.#upgrades.tally, {
      ...this.#sessions.census(),
      rooms: this.#sessions.rooms.size,
      pendingUpgrades: this.#upgrades.pendingCount,
      dropped: this.dropped,
      history: this.#services.history?.stats,
      presence: this.#services.presence?.stats,
    })
  }

  /** The messages dropped instead of sent since the hub was created, by reason, as of now. */
  get dropped(): Readonly<Record<DropReason, Readonly<DropCount>>> {
    return structuredClone(this.#sessions.delivery.dropped)
  }

  /** The hubs of all processes together; without a backplane, only this hub. */
  get cluster(): Cluster<Meta> {
    return this.#cluster
  }

  /** Returns the connection with that id; `undefined` when there is none in this process. */
  getConnection(id: string): Connection<Meta> | undefined {
    return this.#sessions.get(id)?.connection
  }

  /** Returns all connections, as of now. */
  connections(): Connection<Meta>[] {
    return connectionsOf(this.#sessions)
  }

  /**
   * Passes a server's upgrades through its ordinary request listeners, where a route can call {@link
   * Hub.upgrade}. Upgrades that no route of the hub takes are left to other `upgrade` listeners of that
   * server. When a server stops listening, its connections are closed with 1001 within a second.
   * @param server a server of `node:http`, `node:https` or `node:http2`; without one, every such server of
   *   this process that accepts a TCP connection from now on, as long as the hub is open
   * @returns a function that detaches again; connections stay open. A closed hub attaches nothing.
   * @throws {HubError} WSHUB_ERR_INVALID_OPTION for anything but a server, such as an application
   */
  attach(server?: UpgradeServer): () => void {
    if (server !== undefined) checkServer(server)
    return this.state === 'open' ? this.#upgrades.attach(server) : () => {}
  }

  /**
   * Answers an upgrade request with 101 and opens the connection. Headers that were set on the response are
   * sent with the 101.
   * @param framework for adapters: values for what `init` does not set; cookies of both are sent
   * @returns a promise of the connection, once `onOpen` has settled and before the first message. It never
   *   rejects.
   * @throws {HubError} at once, with an HTTP status, when the upgrade is refused: WSHUB_ERR_HUB_CLOSED,
   *   WSHUB_ERR_NOT_UPGRADE, WSHUB_ERR_METHOD, WSHUB_ERR_VERSION, WSHUB_ERR_BAD_HANDSHAKE, WSHUB_ERR_HOST,
   *   WSHUB_ERR_ORIGIN, WSHUB_ERR_HUB_FULL, WSHUB_ERR_TOO_MANY_UPGRADES, WSHUB_ERR_TOO_MANY_CONNECTIONS,
   *   WSHUB_ERR_SOCKET_CLOSED; or misused: WSHUB_ERR_INVALID_HANDLER, WSHUB_ERR_INVALID_HEADER,
   *   WSHUB_ERR_INVALID_OPTION, WSHUB_ERR_TOO_MUCH_METADATA, WSHUB_ERR_NOT_ATTACHED,
   *   WSHUB_ERR_ALREADY_UPGRADED
   */
  upgrade(
    req: UpgradeRequest,
    handler: EventHandler<Meta>,
    init: UpgradeInit<Meta> = {},
    framework: FrameworkInit = {},
  ): Promise<Connection<Meta>> {
    return this.#upgrades.accept(req, handler, init, framework)
  }

  /**
   * Makes a connection of a WebSocket of `ws` 8.3 or later that was opened elsewhere, open or still
   * connecting. It is written through its own `send`. If one of its members throws, the connection ends like
   * one whose callback threw.
   * @throws {HubError} WSHUB_ERR_HUB_CLOSED, WSHUB_ERR_HUB_FULL, WSHUB_ERR_INVALID_HANDLER,
   *   WSHUB_ERR_INVALID_OPTION, WSHUB_ERR_TOO_MUCH_METADATA, WSHUB_ERR_INVALID_SOCKET for anything else, or
   *   WSHUB_ERR_SOCKET_CLOSED when it is closing or closed; the socket is left unchanged then
   */
  register(
    socket: WebSocketLike,
    handler: EventHandler<Meta>,
    init: RegisterInit<Meta> = {},
  ): Connection<Meta> {
    return this.#upgrades.register(socket, handler, init)
  }

  /**
   * Puts a connection into a room, or into each of several. It receives messages of other nodes once the
   * backplane's engine has confirmed the subscription; `await hub.cluster.join({ id: connection.id }, room)`
   * waits for that.
   * @returns `false` when the connection is no longer open; nothing is joined then
   * @throws {HubError} WSHUB_ERR_INVALID_ROOM, also for a name over `limits.maxRoomNameBytes`;
   *   WSHUB_ERR_TOO_MANY_ROOMS above `limits.maxRoomsPerConnection`; WSHUB_ERR_FOREIGN_CONNECTION for a
   *   connection of another hub. Nothing is joined then
   */
  joinRoom(connection: Connection<Meta>, room: string | readonly string[]): boolean {
    checkOwn(this, connection)
    return this.#sessions.join(connection.id, room)
  }

  /**
   * Takes a connection out of a room, or out of each of several.
   * @returns whether it was in one of them
   * @throws {HubError} WSHUB_ERR_INVALID_ROOM, or WSHUB_ERR_FOREIGN_CONNECTION for a connection of another
   *   hub
   */
  leaveRoom(connection: Connection<Meta>, room: string | readonly string[]): boolean {
    checkOwn(this, connection)
    return this.#sessions.leave(connection.id, room)
  }

  /**
   * Closes connections of this process after everything sent to them: those in a room, or in the union of
   * several, or those that a predicate selects. `hub.cluster.disconnect` closes those of all processes.
   * @param code 1000 by default
   * @returns the number of connections that were open
   * @throws {HubError} WSHUB_ERR_INVALID_ROOM or WSHUB_ERR_INVALID_CLOSE; WSHUB_ERR_INVALID_OPTION for a
   *   predicate that returns a promise
   */
  disconnect(
    who: string | readonly string[] | ((connection: Connection<Meta>) => boolean),
    code: number = CloseCode.normal,
    reason = '',
  ): number {
    checkClose(code, reason)
    if (typeof who !== 'function') return disconnect(this.members(who), code, reason)
    const isChosen = (one: Connection<Meta>) => syncResult('the predicate of disconnect', who(one))
    return disconnect(this.connections().filter(isChosen), code, reason)
  }

  /** Returns the number of connections in the room, or in the union of several; 0 for an unknown room. */
  roomSize(room: string | readonly string[]): number {
    return this.#sessions.rooms.union(asRooms(room)).size
  }

  /** Returns the names of all rooms that have a member. */
  rooms(): string[] {
    return this.#sessions.rooms.names()
  }

  /** Returns the connections in the room, or in the union of several, each once, as of now. */
  members(room: string | readonly string[]): Connection<Meta>[] {
    return connectionsOf(this.#sessions.rooms.union(asRooms(room)))
  }

  /**
   * Sends to all connections, including those of the other nodes of the cluster. The message is framed once,
   * and compressed at most once for each window size, however many receive it.
   * @param data a string for a text message, bytes for a binary one
   * @returns the number of connections of this process that accepted it
   * @throws {HubError} WSHUB_ERR_INVALID_PAYLOAD for anything else; serialize objects yourself.
   *   WSHUB_ERR_INVALID_OPTION, and WSHUB_ERR_INVALID_ROOM for the option `exceptRooms`
   */
  broadcast(data: Payload, options?: BroadcastOptions): number {
    return this.#broadcaster.broadcast(readAudience(undefined, options), data, options)
  }

  /**
   * Does the same as {@link Hub.broadcast} without one connection, on whichever node it is.
   * @param except a connection or its id, also of a closed one; use the option `except` for several
   * @throws {HubError} as for {@link Hub.broadcast}; WSHUB_ERR_INVALID_OPTION also for a malformed id
   */
  broadcastExcept(data: Payload, except: ConnectionRef, options?: BroadcastOptions): number {
    return this.#broadcaster.broadcast(without(readAudience(undefined, options), except), data, options)
  }

  /**
   * Sends to the members of a room, or of the union of several, each once, including those of other nodes. An
   * empty room costs nothing here. Of several rooms with a history, a connection that joins or leaves one
   * while the message is being stored may miss it, or receive it twice.
   * @returns the number of connections of this process that accepted it
   * @throws {HubError} WSHUB_ERR_INVALID_ROOM, WSHUB_ERR_INVALID_PAYLOAD or WSHUB_ERR_INVALID_OPTION
   */
  broadcastToRoom(room: string | readonly string[], data: Payload, options?: BroadcastOptions): number {
    return this.#broadcaster.broadcast(readAudience(asRooms(room), options), data, options)
  }

  /**
   * Does the same as {@link Hub.broadcastToRoom} without one connection, on whichever node it is. Both `data`
   * and `except` may be strings: if you swap them, only a message that does not look like an id is refused.
   * @param except as for {@link Hub.broadcastExcept}
   * @throws {HubError} as for {@link Hub.broadcastToRoom} and {@link Hub.broadcastExcept}
   */
  broadcastToRoomExcept(
    room: string | readonly string[],
    data: Payload,
    except: ConnectionRef,
    options?: BroadcastOptions,
  ): number {
    return this.#broadcaster.broadcast(without(readAudience(asRooms(room), options), except), data, options)
  }

  /**
   * Stores a message in the history of a room, and delivers it to the members of the room on all nodes, each
   * in the order of the store. `broadcastToRoom` does the same without saying when.
   * @returns the position of the message, once it is stored and delivered to the members of this process
   * @throws {HubError} as a rejection: WSHUB_ERR_NOT_STORED when it was not stored, or the store has lost it
   *   again, and then nobody here receives it; see {@link HubError.mayBeStored}; WSHUB_ERR_NO_HISTORY;
   *   WSHUB_ERR_INVALID_ROOM, WSHUB_ERR_INVALID_PAYLOAD or WSHUB_ERR_INVALID_OPTION
   */
  async publish(room: string, data: Payload, options?: PublishOptions): Promise<{ position: string }> {
    return this.#broadcaster.publish(this.#services.historyOf(room), room, data, options)
  }

  /**
   * Puts a connection into a room with a history, sends it what it has missed, and then what comes: without a
   * gap, and nothing twice. What comes meanwhile waits its turn. Without `since` and `last`, only joins.
   * Another call for the same connection and room starts over, and the first one has `ended`; without `since`
   * and `last` it has `ended` itself, and the first one goes on.
   * @param from `since`: the position that the client says it has; `last`: for a client without one, or whose
   *   messages are not all kept any more
   * @returns whether it has missed nothing, once it receives live
   * @throws {HubError} as a rejection: WSHUB_ERR_NO_HISTORY; WSHUB_ERR_HISTORY_AWAY when the store could not
   *   be read, and then it has joined and receives live; what `joinRoom` throws; WSHUB_ERR_INVALID_OPTION
   */
  async resumeRoom(connection: Connection<Meta>, room: string, from: ReplayFrom = {}): Promise<ResumeResult> {
    checkOwn(this, connection)
    checkReplayFrom(from)
    const history = this.#services.historyOf(room)
    const session = this.#sessions.get(connection.id)
    if (session === undefined || !this.joinRoom(connection, room)) return endedResume('closed')
    return history.resume(session, room, from)
  }

  /**
   * Returns messages of a room, oldest first, as clients receive them: those after `since`, or the latest
   * `last`, or all that are kept. For a page that the server renders. Messages that were not meant for some
   * connections are among them.
   * @throws {HubError} as a rejection: WSHUB_ERR_NO_HISTORY, WSHUB_ERR_HISTORY_AWAY, WSHUB_ERR_INVALID_ROOM
   *   or WSHUB_ERR_INVALID_OPTION
   */
  async history(room: string, from: ReplayFrom = {}): Promise<HistoryPage> {
    checkReplayFrom(from)
    return this.#services.historyOf(room).read(room, from)
  }

  /**
   * Returns who is in a room with presence, on all nodes, from memory. A room without a connection here is
   * followed for a minute from then on; `presenceSettled` waits until the other nodes have answered.
   * @throws {HubError} WSHUB_ERR_NO_PRESENCE when the room has none; WSHUB_ERR_INVALID_ROOM or
   *   WSHUB_ERR_INVALID_OPTION
   */
  presence<Info = unknown>(room: string): RoomPresence<Info> {
    // The application says what its own `info` returns.
    return this.#services.presenceOf(room).show(room) as RoomPresence<Info>
  }

  /**
   * Resolves when all other nodes have told who is in a room: with `false` when one of them did not within
   * `cluster.callTimeoutMs`. Without a backplane, at once.
   * @throws {HubError} as for {@link Hub.presence}, as a rejection
   */
  async presenceSettled(room: string): Promise<boolean> {
    return this.#services.presenceOf(room).settled(room)
  }

  /**
   * Asks `presence.user` and `presence.info` again who is behind a connection, in all its rooms: its metadata
   * has changed.
   * @returns `false` when it is in no room whose members are listed
   * @throws {HubError} WSHUB_ERR_FOREIGN_CONNECTION for a connection of another hub; WSHUB_ERR_NO_PRESENCE
   *   without the option `presence`
   */
  updatePresence(connection: Connection<Meta>): boolean {
    checkOwn(this, connection)
    const presence = this.#services.requirePresence()
    const session = this.#sessions.get(connection.id)
    return session !== undefined && presence.update(session)
  }

  /**
   * Sends to one connection, on whichever node of the cluster it is.
   * @param to a connection, a member of the cluster, or the id of one
   * @returns `false` when the message certainly does not arrive; `true` for a connection of another node
   *   means that it was published
   * @throws {HubError} WSHUB_ERR_INVALID_PAYLOAD or WSHUB_ERR_INVALID_OPTION
   */
  sendTo(to: ConnectionRef, data: Payload, options?: SendOptions): boolean {
    checkPayload(data)
    checkSendOptions(options)
    const id = typeof to === 'string' ? to : idOf('to', to)
    return this.#local.sendTo(id, data, options) ?? this.#link.direct(id, data, options)
  }

  /**
   * Reports an error of the application outside its callbacks, such as in a job, as the hub reports errors of
   * callbacks: on `wshub:error`, and to `onError` or as a process warning.
   * @param where names the code that failed in the warning: `the nightly job`
   * @throws {HubError} WSHUB_ERR_INVALID_OPTION when `where` is not a text, or is empty
   */
  reportError(error: unknown, where: string): void {
    if (typeof where !== 'string' || where === '') throw invalid('where', 'names the code that failed', where)
    this.#local.report(asError(error, where), where)
  }

  /**
   * Refuses new connections with 503, closes all others after everything sent to them, leaves the cluster,
   * and releases the backplane, servers and timers. If callbacks of a connection are running, it is closed
   * when they have settled, after their replies; it receives no more messages. Resolves when every `onClose`
   * was called and has settled, or after `timeoutMs`; a callback that itself awaits it delays it until then.
   * Further calls return the same promise.
   * @throws {HubError} WSHUB_ERR_INVALID_CLOSE for a wrong code or a long reason; WSHUB_ERR_INVALID_OPTION
   */
  close(options?: CloseOptions): Promise<CloseResult> {
    return this.#life.close(readCloseOptions(options), this.#services, this.#calls)
  }
}
