import { HubError, show } from '../base/errors.ts'
import { oldestKeys } from '../base/eviction.ts'
import { invalid } from '../base/option-rules.ts'
import { PacedWork } from '../base/paced-work.ts'
import { RoomRules } from '../base/room-rules.ts'
import { runHandler } from '../base/run-handler.ts'
import type { RunningHandlers } from '../base/running-handlers.ts'
import type { Link } from '../cluster/link.ts'
import { Departures } from './departures.ts'
import { Exchange } from './exchange.ts'
import type { ExchangeLimits } from './exchange-limits.ts'
import { type Identity, readIdentity } from './identity.ts'
import type { PresenceMode, ResolvedPresenceOptions, RoomPresence } from './presence-options.ts'
import { PresenceRoom } from './presence-room.ts'
import type { PresenceStats } from './presence-stats.ts'
import { RoomTable } from './room-table.ts'

/** The most members whose changes are reported in one turn of the event loop. */
const MAX_CHANGES_PER_TURN = 2_000
/** The most users that other nodes have named, are told of, or lose, in one turn: 1 to 3 µs each. */
const MAX_LOOKS_PER_TURN = 5_000
/** Time, in ms, for which a room without a connection here is followed after `hub.presence` asked for it. */
const WATCH_MS = 60_000
/** The most rooms that are followed for that reason alone; above it, the oldest are given up early. */
const MAX_WATCHED = 10_000

const ANONYMOUS: Identity = Object.freeze({ user: undefined, info: '' })

/** A connection of this process, as the presence of its rooms uses it. */
export interface PresenceSubject {
  /** The object that the application knows. */
  readonly connection: object
}

/** The hub of this process, as the presence of its rooms uses it. */
export interface PresenceHost {
  /** The id of this node. */
  readonly node: string
  /** Callbacks of the application that `hub.close()` waits for. */
  readonly running: RunningHandlers
  /** The members of a room, live. */
  members(room: string): ReadonlySet<object>
  inRoom(member: object, room: string): boolean
  /** @param where names the code of the application that threw, if it did */
  report(error: Error, where?: string): void
}

/** The presence of the rooms of a hub. */
export class Presence {
  readonly #options: ResolvedPresenceOptions
  readonly #host: PresenceHost
  readonly #link: Link
  readonly #exchange: Exchange | undefined
  readonly #modes: RoomRules<PresenceMode | undefined, PresenceMode | undefined>
  readonly #rooms = new RoomTable()
  /** The user of each connection that is in rooms of the mode `members`, and these rooms. */
  readonly #identities = new Map<object, { identity: Identity; readonly rooms: Set<string> }>()
  readonly #dirty = new Set<PresenceRoom>()
  readonly #work = new PacedWork(MAX_LOOKS_PER_TURN)
  readonly #departures: Departures
  /** The rooms that `hub.presence` asked for, the least recent first, and until when they are followed. */
  readonly #watched = new Map<string, number>()
  #changes = 0
  #isEndDue = false
  #isClosed = false

  constructor(
    options: ResolvedPresenceOptions,
    host: PresenceHost,
    link: Link,
    limits: ExchangeLimits,
    isClustered: boolean,
  ) {
    this.#options = options
    this.#host = host
    this.#link = link
    this.#modes = new RoomRules('presence.rooms', options.rooms, readMode)
    this.#departures = new Departures(options.leaveGraceMs, this.#work, {
      departed: (room, at, haveLeft) => this.#departed(room, at, haveLeft),
    })
    if (!isClustered) return
    this.#exchange = new Exchange(link, this.#rooms, limits, this.#work, {
      node: host.node,
      changed: (room) => this.#changed(room),
      beat: () => this.#forgetWatched(),
    })
  }

  /** The current figures. */
  get stats(): PresenceStats {
    const { members } = this.#rooms.tally
    const repairs = this.#exchange?.repaired ?? 0
    return { rooms: this.#rooms.size, members, changes: this.#changes, repairs }
  }

  /** Checks what `presence.rooms` returns for each room. @throws {HubError} */
  check(rooms: readonly string[]): void {
    for (const room of rooms) this.#modes.of(room)
  }

  /** The room has its first connection here. */
  occupied(name: string): void {
    const mode = this.#modes.of(name)
    if (mode !== undefined) this.#follow(name, mode)
  }

  /** Returns whether the room is still followed although its last connection here has left. */
  isFollowed(name: string): boolean {
    return this.#rooms.get(name) !== undefined
  }

  /** A connection has joined a room. */
  joined(member: PresenceSubject, name: string): void {
    const mode = this.#modeOf(name)
    if (mode === undefined) return
    if (mode === 'count') {
      this.#withRoom(name, (room) => room.add(ANONYMOUS))
      return
    }
    const known = this.#identities.get(member)?.identity
    const identity = known ?? this.#read(member)
    // The callbacks of the application may have closed or moved the connection.
    if (!this.#host.inRoom(member, name)) return
    let entry = this.#identities.get(member)
    if (entry === undefined) {
      entry = { identity, rooms: new Set() }
      this.#identities.set(member, entry)
    }
    if (entry.rooms.has(name)) return
    entry.rooms.add(name)
    const { identity: latest } = entry
    this.#withRoom(name, (room) => room.add(latest))
  }

  /** A connection has left a room. */
  left(member: object, name: string): void {
    const mode = this.#modeOf(name)
    if (mode === undefined) return
    if (mode === 'count') {
      this.#withRoom(name, (room) => room.remove(ANONYMOUS))
      return
    }
    const entry = this.#identities.get(member)
    if (entry?.rooms.delete(name) !== true) return
    if (entry.rooms.size === 0) this.#identities.delete(member)
    this.#withRoom(name, (room) => room.remove(entry.identity))
  }

  /** Asks again for the user of a connection. @returns `false` when it is in no room of the mode `members` */
  update(member: PresenceSubject): boolean {
    if (!this.#identities.has(member)) return false
    const identity = this.#read(member)
    const entry = this.#identities.get(member)
    if (entry === undefined) return false
    const before = entry.identity
    entry.identity = identity
    for (const name of entry.rooms) {
      this.#withRoom(name, (room) => {
        if (before.user === identity.user) {
          room.update(identity)
          return
        }
        room.remove(before)
        room.add(identity)
      })
    }
    return true
  }

  /** Returns the presence of a room. @throws {HubError} WSHUB_ERR_NO_PRESENCE or WSHUB_ERR_INVALID_OPTION */
  show(name: string): RoomPresence {
    return (
      this.#watch(name)?.show(this.#isConnected) ?? { members: [], count: 0, isComplete: !this.#isClosed }
    )
  }

  /**
   * Resolves when all other nodes have answered.
   * @returns `false` when one did not in time
   * @throws {HubError} WSHUB_ERR_NO_PRESENCE or WSHUB_ERR_INVALID_OPTION, as a rejection
   */
  async settled(name: string): Promise<boolean> {
    const room = this.#watch(name)
    if (this.#isClosed) return false
    if (room === undefined || this.#exchange === undefined) return true
    return this.#exchange.settled(room)
  }

  /** Publishes the last changes, and reports no further ones. */
  close(): void {
    for (const room of this.#rooms) this.#exchange?.publish(room)
    this.#isClosed = true
    this.#departures.close()
    this.#work.close()
    this.#exchange?.close()
    this.#rooms.clear()
    this.#dirty.clear()
    this.#identities.clear()
    this.#watched.clear()
  }

  get #isConnected(): boolean {
    return this.#link.state === 'connected'
  }

  /**
   * Returns the mode in which a room is followed; `undefined` = it is not. Does not ask the application
   * again, which may now answer something else.
   */
  #modeOf(name: string): PresenceMode | undefined {
    return this.#rooms.get(name)?.mode
  }

  #read(member: PresenceSubject): Identity {
    return readIdentity(this.#options, member.connection, (error, where) => this.#host.report(error, where))
  }

  #withRoom(name: string, change: (room: PresenceRoom) => void): void {
    const room = this.#rooms.get(name)
    if (room === undefined) return
    change(room)
    this.#changed(room)
  }

  #follow(name: string, mode: PresenceMode): PresenceRoom {
    const known = this.#rooms.get(name)
    if (known !== undefined) return known
    const { maxMembersPerRoom } = this.#options
    const room = new PresenceRoom(name, mode, this.#host.node, maxMembersPerRoom, this.#rooms.tally)
    this.#rooms.add(room)
    this.#exchange?.follow(room)
    return room
  }

  /**
   * Returns a room, and follows it from now on, even if no connection here is in it; `undefined` when it is
   * empty and there can be no other node.
   */
  #watch(name: string): PresenceRoom | undefined {
    const mode = this.#modes.of(name)
    if (mode === undefined) {
      throw new HubError(
        'WSHUB_ERR_NO_PRESENCE',
        `the room ${show(name)} has no presence: see presence.rooms`,
      )
    }
    const known = this.#rooms.get(name)
    if (this.#exchange === undefined || this.#isClosed) return known
    if (known !== undefined && known.ownCount > 0) return known
    this.#watched.delete(name)
    this.#watched.set(name, performance.now() + WATCH_MS)
    if (this.#watched.size > MAX_WATCHED) {
      for (const oldest of oldestKeys(this.#watched, MAX_WATCHED)) this.#unwatch(oldest)
    }
    if (known !== undefined) return known
    this.#link.occupied(name)
    return this.#follow(name, mode)
  }

  #forgetWatched(): void {
    const now = performance.now()
    for (const [name, until] of this.#watched) {
      if (until > now) return
      this.#unwatch(name)
    }
  }

  #unwatch(name: string): void {
    this.#watched.delete(name)
    const room = this.#rooms.get(name)
    if (room !== undefined) this.#changed(room) // the end of the turn checks whether it is needed
  }

  #changed(room: PresenceRoom): void {
    if (this.#isClosed) return
    this.#dirty.add(room)
    if (this.#isEndDue) return
    this.#isEndDue = true
    setImmediate(this.#endTurn)
  }

  readonly #endTurn = (): void => {
    this.#isEndDue = false
    let most = MAX_CHANGES_PER_TURN
    for (const room of [...this.#dirty]) {
      if (most <= 0) break
      this.#dirty.delete(room)
      most -= this.#endTurnOf(room, most)
    }
    for (const room of this.#dirty) {
      this.#changed(room)
      return
    }
  }

  /** @returns how many members were examined */
  #endTurnOf(room: PresenceRoom, most: number): number {
    if (this.#rooms.get(room.name) !== room) return 0
    if (this.#exchange === undefined) room.takeDelta(0, Number.POSITIVE_INFINITY)
    else this.#exchange.publish(room)
    const before = room.touched
    const departure = this.#departures.of(room)
    const change = room.takeChange(this.#isConnected, most, departure.at, departure.members)
    const looked = before - room.touched
    this.#departures.looked(departure, looked)
    const isUnfinished = (room.touched > 0 && !room.isQuiet) || room.isUnsent
    if (isUnfinished) this.#changed(room)
    const isNeeded = room.ownCount > 0 || this.#watched.has(room.name)
    // Set once: later changes on other nodes do not postpone the end.
    if (isNeeded) room.idleUntil = 0
    else if (!isUnfinished && room.idleUntil === 0) room.idleUntil = this.#departures.idle(room)
    if (change !== undefined) this.#tell(room, change)
    return 1 + looked
  }

  #tell(room: PresenceRoom, change: Parameters<NonNullable<ResolvedPresenceOptions['onChange']>>[1]): void {
    const { onChange } = this.#options
    if (onChange === undefined) return
    this.#changes++
    const pending = runHandler('the option presence.onChange', () => onChange(room.name, change), {
      failed: (error, where) => this.#host.report(error, where),
    })
    this.#host.running.watch(pending)
  }

  /** The grace period of some members of a room, or of the room, is over. */
  #departed(room: PresenceRoom, at: number, haveLeft: boolean): void {
    if (this.#rooms.get(room.name) !== room) return
    if (haveLeft) {
      const change = room.takeChange(this.#isConnected, 0, at, [])
      if (change !== undefined) this.#tell(room, change)
    }
    this.#changed(room) // while it told nothing, perhaps
    if (room.idleUntil !== at) return
    room.idleUntil = 0
    if (room.ownCount > 0 || this.#watched.has(room.name) || room.isUnsent) return
    this.#rooms.delete(room)
    this.#departures.forget(room)
    this.#exchange?.unfollow(room)
    if (this.#host.members(room.name).size === 0) this.#link.vacated(room.name)
  }
}

/** @throws {HubError} WSHUB_ERR_INVALID_OPTION */
function readMode(mode: PresenceMode | undefined, room: string): PresenceMode | undefined {
  if (mode === undefined || mode === 'members' || mode === 'count') return mode
  throw invalid(`presence.rooms(${show(room)})`, 'is members, count or undefined', mode)
}
