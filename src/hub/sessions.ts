import { randomBytes } from 'node:crypto'
import type { Meters } from '../base/meters.ts'
import { asRooms } from '../base/room-names.ts'
import { RunningHandlers } from '../base/running-handlers.ts'
import type { Connection } from '../connection/connection.ts'
import type { ErrorSource } from '../connection/error-source.ts'
import type { EventHandler } from '../connection/event-handler.ts'
import { Keepalive } from '../connection/keepalive.ts'
import type { DeferredCloses } from '../connection/opening.ts'
import { Session } from '../connection/session.ts'
import type { SessionHost } from '../connection/session-host.ts'
import { Tally } from '../connection/tally.ts'
import type { Transport } from '../connection/transport.ts'
import { ViewHandler } from '../connection/view-handler.ts'
import type { Origin } from '../delivery/backlog.ts'
import { Delivery } from '../delivery/delivery.ts'
import type { ResolvedInit } from '../upgrade/upgrade-init.ts'
import { type HistogramName, hubMeters } from './distributions.ts'
import { ErrorReporter } from './error-reporter.ts'
import type { ResolvedHubOptions } from './hub-options.ts'
import { RoomIndex } from './room-index.ts'
import type { Census } from './stats.ts'

/** The hub around its sessions. */
export interface SessionsOwner<Meta extends object> {
  /** A session was added. */
  added(session: Session<Meta>): void
  /** A session is closed and was removed; its `onClose` has not been called yet. */
  removed(session: Session<Meta>): void
  /** Messages to a session that can be read again were dropped: in each log, all from the given one on. */
  resync(session: Session<Meta>, firsts: Iterable<Origin>): void
  /** Called at every sweep of the keepalive. */
  swept(): void
}

/** The sessions of a hub, their rooms, and everything that they share. */
export class Sessions<Meta extends object> implements SessionHost<Meta, Session<Meta>> {
  readonly hub: Connection<Meta>['hub']
  readonly options: ResolvedHubOptions
  /** The id of this node, with which the ids of its connections begin. */
  readonly node = randomBytes(9).toString('base64url')
  readonly rooms = new RoomIndex<Session<Meta>>()
  readonly running = new RunningHandlers()
  readonly deferred: DeferredCloses = new Set()
  readonly reporter: ErrorReporter<Meta>
  readonly meters: Meters<HistogramName>
  readonly tally: Tally
  readonly delivery: Delivery
  readonly keepalive: Keepalive
  readonly #owner: SessionsOwner<Meta>
  /** By the ids of their connections. */
  readonly #sessions = new Map<string, Session<Meta>>()
  #idCount = 0

  constructor(hub: Connection<Meta>['hub'], options: ResolvedHubOptions, owner: SessionsOwner<Meta>) {
    this.hub = hub
    this.options = options
    this.reporter = new ErrorReporter(hub, this.running, options.onError)
    this.meters = hubMeters(hub)
    this.tally = new Tally(this.meters)
    this.delivery = new Delivery(options, this.meters)
    this.keepalive = new Keepalive(this, options, () => owner.swept())
    this.#owner = owner
  }

  get size(): number {
    return this.#sessions.size
  }

  [Symbol.iterator](): IterableIterator<Session<Meta>> {
    return this.#sessions.values()
  }

  /** Returns the session of a connection; `undefined` when there is none in this process. */
  get(id: string): Session<Meta> | undefined {
    return this.#sessions.get(id)
  }

  /** Adds a session, which has yet to be opened. */
  add(
    transport: Transport,
    handler: EventHandler<Meta>,
    { metadata, expiresAt }: Pick<ResolvedInit, 'metadata' | 'expiresAt'>,
  ): Session<Meta> {
    // Joined: a template makes a tree of three strings, which takes twice the bytes and is slower to look up.
    const id = [this.node, (this.#idCount++).toString(36)].join('.')
    const session = new Session(this, id, transport, handler, metadata)
    if (expiresAt !== undefined) session.renew(expiresAt)
    this.#sessions.set(id, session)
    this.#owner.added(session)
    this.keepalive.start()
    return session
  }

  release(session: Session<Meta>): ReadonlySet<string> {
    this.#sessions.delete(session.id)
    if (this.#sessions.size === 0) this.keepalive.stop()
    this.#owner.removed(session)
    return this.rooms.removeMember(session)
  }

  /**
   * Puts a connection into a room, or into each of several.
   * @returns `false` when it is not open any more; it is in none of them then
   * @throws {HubError} WSHUB_ERR_INVALID_ROOM or WSHUB_ERR_TOO_MANY_ROOMS
   */
  join(id: string, room: string | readonly string[]): boolean {
    const names = asRooms(room)
    const session = this.#sessions.get(id)
    if (session === undefined || session.state === 'closing') return false
    this.rooms.checkLimits(session, names, this.options.limits)
    for (const name of names) this.rooms.add(session, name)
    return true
  }

  /** Takes a connection out of a room, or out of each of several. @returns whether it was in one of them */
  leave(id: string, room: string | readonly string[]): boolean {
    const names = asRooms(room)
    const session = this.#sessions.get(id)
    if (session === undefined) return false
    let left = false
    for (const name of names) left = this.rooms.remove(session, name) || left
    return left
  }

  roomsOf(session: Session<Meta>): ReadonlySet<string> {
    return this.rooms.roomsOf(session)
  }

  report(error: Error, source: ErrorSource<Meta>): void {
    const { handler } = source
    if (handler instanceof ViewHandler) {
      this.reporter.report(error, { ...source, handler: handler.inner })
      if (source.where === undefined) handler.failed(error)
    } else {
      this.reporter.report(error, source)
    }
  }

  resync(session: Session<Meta>, firsts: Iterable<Origin>): void {
    this.#owner.resync(session, firsts)
  }

  /** Returns the current figures of all connections, each of which it visits. */
  census(): Census {
    const connectionStates = { connecting: 0, open: 0, closing: 0 }
    let bufferedBytes = 0
    let slowConnections = 0
    for (const session of this) {
      const { state } = session
      if (state !== 'closed') connectionStates[state]++
      bufferedBytes += session.bufferedBytes
      if (session.outbox.bufferedBytes > this.options.maxBufferedBytes / 2) slowConnections++
    }
    return {
      connections: this.size,
      connectionStates,
      slowConnections,
      bufferedBytes,
      heldBytes: this.delivery.congestion.held.bytes,
      distributions: this.meters.snapshot(),
    }
  }

  /** Stops the timers. */
  stop(): void {
    this.keepalive.stop()
    this.delivery.stop()
  }
}
