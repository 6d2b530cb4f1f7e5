import type { PresenceRoom } from './presence-room.ts'

/** The rooms whose presence is followed here. */
export class RoomTable {
  readonly #rooms = new Map<string, PresenceRoom>()
  readonly #byHash = new Map<number, PresenceRoom>()

  get size(): number {
    return this.#rooms.size
  }

  [Symbol.iterator](): IterableIterator<PresenceRoom> {
    return this.#rooms.values()
  }

  names(): string[] {
    return [...this.#rooms.keys()]
  }

  get(name: string): PresenceRoom | undefined {
    return this.#rooms.get(name)
  }

  /** Returns the room whose name has that hash; of several such rooms, any. */
  withHash(hash: number): PresenceRoom | undefined {
    return this.#byHash.get(hash)
  }

  add(room: PresenceRoom): void {
    this.#rooms.set(room.name, room)
    this.#byHash.set(room.hash, room)
  }

  delete(room: PresenceRoom): void {
    this.#rooms.delete(room.name)
    if (this.#byHash.get(room.hash) === room) this.#byHash.delete(room.hash)
  }

  clear(): void {
    this.#rooms.clear()
    this.#byHash.clear()
  }

  /** Returns some rooms, others with each call. */
  next(most: number): PresenceRoom[] {
    const rooms: PresenceRoom[] = []
    for (const room of this.#rooms.values()) {
      if (rooms.length === most) break
      rooms.push(room)
    }
    // Moves them to the end. A kept iterator would keep alive each table that the Map outgrows meanwhile.
    for (const room of rooms) {
      this.#rooms.delete(room.name)
      this.#rooms.set(room.name, room)
    }
    return rooms
  }
}
