import type { PresenceRoom } from './presence-room.ts'
import type { MemberTally } from './roster.ts'

const NO_ROOMS: readonly PresenceRoom[] = []

/** The rooms whose presence is followed here. */
export class RoomTable {
  readonly #rooms = new Map<string, PresenceRoom>()
  /** Counts the members of the rooms, so that nothing has to visit all rooms for that. */
  readonly tally: MemberTally = { members: 0 }
  readonly #byHash = new Map<number, readonly PresenceRoom[]>()

  get size(): number {
    return this.#rooms.size
  }

  [Symbol.iterator](): IterableIterator<PresenceRoom> {
    return this.#rooms.values()
  }

  get(name: string): PresenceRoom | undefined {
    return this.#rooms.get(name)
  }

  /** Returns the rooms whose names have that hash: almost always one or none. */
  withHash(hash: number): readonly PresenceRoom[] {
    return this.#byHash.get(hash) ?? NO_ROOMS
  }

  add(room: PresenceRoom): void {
    this.#rooms.set(room.name, room)
    this.#byHash.set(room.hash, [...this.withHash(room.hash), room])
  }

  delete(room: PresenceRoom): void {
    this.#rooms.delete(room.name)
    room.uncount()
    const others = this.withHash(room.hash).filter((other) => other !== room)
    if (others.length > 0) this.#byHash.set(room.hash, others)
    else this.#byHash.delete(room.hash)
  }

  clear(): void {
    for (const room of this.#rooms.values()) room.uncount()
    this.#rooms.clear()
    this.#byHash.clear()
  }

  /** Returns the next rooms of a rotation through all. */
  next(most: number): PresenceRoom[] {
    const rooms: PresenceRoom[] = []
    for (const room of this.#rooms.values()) {
      if (rooms.length === most) break
      rooms.push(room)
    }
    // Moves them to the end. An iterator that is kept would keep in memory each table that the Map outgrows.
    for (const room of rooms) {
      this.#rooms.delete(room.name)
      this.#rooms.set(room.name, room)
    }
    return rooms
  }
}
