import { HubError } from '../base/errors.ts'

/** Limits on the rooms of one member. */
export interface RoomLimits {
  readonly maxRoomsPerConnection: number
  readonly maxRoomNameBytes: number
}

/** A listener to the first member and the end of each room. */
export interface RoomListener<T extends object> {
  /** The room has its first member. */
  occupied(room: string): void
  /** The room has lost its last member. */
  vacated(room: string): void
  /** A member has joined a room. */
  joined?(member: T, room: string): void
  /** A member has left a room. */
  left?(member: T, room: string): void
  /** Throws when something is wrong with one of these rooms, which a member is about to be put into. */
  check?(rooms: readonly string[]): void
}

const NO_MEMBERS: ReadonlySet<never> = new Set<never>()

/**
 * The rooms of a member. Applications get this very set, since a copy or a view of it would cost something at
 * each access. So the methods that change a set throw, and the index uses those of `Set` itself.
 */
class MemberRooms extends Set<string> {
  override add(): never {
    throw readOnly()
  }

  override delete(): never {
    throw readOnly()
  }

  override clear(): never {
    throw readOnly()
  }
}

const { add, delete: remove } = Set.prototype
const NO_ROOMS: ReadonlySet<string> = new MemberRooms()

function readOnly(): HubError {
  return new HubError(
    'WSHUB_ERR_INVALID_ROOM',
    'the rooms of a connection are changed with hub.joinRoom and hub.leaveRoom',
  )
}

/**
 * The members of rooms and the rooms of members. Pure data, without knowledge of connections. A room exists
 * while it has a member; a member is known while it is in a room.
 */
export class RoomIndex<T extends object> {
  readonly #members = new Map<string, Set<T>>()
  readonly #rooms = new Map<T, MemberRooms>()
  #listener: RoomListener<T> | undefined

  /** Notifies a listener from now on of rooms that are created and that end. */
  watch(listener: RoomListener<T>): void {
    this.#listener = listener
  }

  /**
   * Checks that a member may be put into rooms.
   * @throws {HubError} WSHUB_ERR_INVALID_ROOM or WSHUB_ERR_TOO_MANY_ROOMS
   */
  checkLimits(
    member: T,
    rooms: readonly string[],
    { maxRoomsPerConnection, maxRoomNameBytes }: RoomLimits,
  ): void {
    const present = this.roomsOf(member)
    const added = new Set(rooms.filter((name) => !present.has(name)))
    for (const name of added) {
      if (Buffer.byteLength(name) <= maxRoomNameBytes) continue
      throw new HubError('WSHUB_ERR_INVALID_ROOM', `a room's name has at most ${maxRoomNameBytes} bytes`)
    }
    if (present.size + added.size > maxRoomsPerConnection) {
      throw new HubError(
        'WSHUB_ERR_TOO_MANY_ROOMS',
        `a connection is in at most ${maxRoomsPerConnection} rooms`,
      )
    }
    this.#listener?.check?.(rooms)
  }

  /** Puts a member into a room; `false` when it was already there. */
  add(member: T, room: string): boolean {
    const members = this.#members.get(room)
    if (members === undefined) {
      this.#members.set(room, new Set([member]))
      this.#listener?.occupied(room)
    } else if (members.has(member)) return false
    else members.add(member)
    let rooms = this.#rooms.get(member)
    if (rooms === undefined) {
      rooms = new MemberRooms()
      this.#rooms.set(member, rooms)
    }
    add.call(rooms, room)
    this.#listener?.joined?.(member, room)
    return true
  }

  /** Takes a member out of a room; `false` when it was not there. */
  remove(member: T, room: string): boolean {
    const rooms = this.#rooms.get(member)
    if (rooms === undefined || !remove.call(rooms, room)) return false
    if (rooms.size === 0) this.#rooms.delete(member)
    this.#dropFrom(room, member)
    return true
  }

  /** Takes a member out of all its rooms and returns the rooms it was in. */
  removeMember(member: T): ReadonlySet<string> {
    const rooms = this.#rooms.get(member)
    if (rooms === undefined) return NO_ROOMS
    this.#rooms.delete(member)
    for (const room of rooms) this.#dropFrom(room, member)
    return rooms
  }

  /** Returns whether the member is in the room. */
  has(member: T, room: string): boolean {
    return this.#rooms.get(member)?.has(room) ?? false
  }

  /** Returns the members of a room, live; empty for a room that does not exist. */
  members(room: string): ReadonlySet<T> {
    return this.#members.get(room) ?? NO_MEMBERS
  }

  /** Returns the members of any of the rooms, each once. One room costs no copy. */
  union(rooms: readonly string[]): ReadonlySet<T> {
    const [first, ...others] = rooms
    if (first === undefined) return NO_MEMBERS
    if (others.length === 0) return this.members(first)
    const union = new Set(this.members(first))
    for (const room of others) for (const member of this.members(room)) union.add(member)
    return union
  }

  /** Returns the rooms of a member, live; empty for a member of none. */
  roomsOf(member: T): ReadonlySet<string> {
    return this.#rooms.get(member) ?? NO_ROOMS
  }

  /** Returns the names of all rooms that have a member. */
  names(): string[] {
    return [...this.#members.keys()]
  }

  /** The number of rooms that have a member. */
  get size(): number {
    return this.#members.size
  }

  #dropFrom(room: string, member: T): void {
    const members = this.#members.get(room)
    if (members?.delete(member) && members.size === 0) {
      this.#members.delete(room)
      this.#listener?.vacated(room)
    }
    this.#listener?.left?.(member, room)
  }
}
