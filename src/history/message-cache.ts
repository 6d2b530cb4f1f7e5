import { oldestKeys } from '../base/eviction.ts'
import type { HistoryMessage } from './history-message.ts'

/** The recent messages of a room. */
export interface CachedRoom {
  /** Removes a message, and those before it. */
  drop(message: HistoryMessage): void
}

/** Bounds the recent messages of all rooms of a hub: the oldest are removed first. */
export class MessageCache {
  readonly #maxBytes: number
  /** The messages in memory, oldest first, and the room of each. */
  readonly #rooms = new Map<HistoryMessage, CachedRoom>()
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Approximate bytes of memory that the messages take. */
  get bytes(): number {
    return this.#bytes
  }

  /** Counts messages that a room has added, and makes rooms drop the oldest ones above the limit. */
  add(room: CachedRoom, messages: readonly HistoryMessage[]): void {
    for (const message of messages) {
      this.#rooms.set(message, room)
      this.#bytes += message.bytes
    }
    while (this.#bytes > this.#maxBytes) this.#dropOldest()
  }

  /** A room has removed a message. Nothing here refers to the room once all of its messages are removed. */
  delete(message: HistoryMessage): void {
    if (this.#rooms.delete(message)) this.#bytes -= message.bytes
  }

  #dropOldest(): void {
    for (const message of oldestKeys(this.#rooms, this.#rooms.size)) {
      const room = this.#rooms.get(message) // undefined if its room has removed it with a later one
      this.delete(message)
      room?.drop(message)
    }
  }
}
