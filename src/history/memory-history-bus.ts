import { type BusMember, BusMembers } from '../backplane/bus-members.ts'
import { HubError } from '../base/errors.ts'
import { oldestKeys } from '../base/eviction.ts'
import { checkKeys, integersOf } from '../base/option-rules.ts'
import type { HistoryLimits, Mark, ReadRequest, ReadResult, StoredRecord } from './history-store.ts'
import { MemoryRoom } from './memory-room.ts'

/** How much a {@link MemoryHistoryBus} keeps. An explicit `undefined` means the default. */
export interface MemoryHistoryLimits {
  /**
   * Most bytes of all rooms together, 65 536 or more. The least recently used room is evicted first. Default
   * 268 435 456.
   */
  maxBytes?: number | undefined
  /** Most bytes of a room, 16 384 or more; its oldest messages are removed first. Default 16 777 216. */
  maxBytesPerRoom?: number | undefined
}

const CUT = 'the bus of the history is cut'

/** The defaults of {@link MemoryHistoryLimits}. */
export const MEMORY_HISTORY_DEFAULTS = Object.freeze({ maxBytes: 268_435_456, maxBytesPerRoom: 16_777_216 })

/** A message that a store has appended. */
export interface AppendedMessage {
  readonly room: string
  readonly stored: StoredRecord
}

/**
 * The memory of one or more stores that {@link memoryHistory} makes: hubs of one process whose stores share a
 * bus share their histories. For tests, and for several hubs side by side.
 */
export class MemoryHistoryBus {
  readonly #maxBytes: number
  readonly #maxBytesPerRoom: number
  readonly #members = new BusMembers<AppendedMessage>()
  /** The rooms, the least recently used first. */
  readonly #rooms = new Map<string, MemoryRoom>()
  #bytes = 0

  /** @throws {HubError} WSHUB_ERR_INVALID_OPTION */
  constructor(limits: MemoryHistoryLimits = {}) {
    checkKeys(limits, MEMORY_HISTORY_DEFAULTS, 'a limit of a history in memory')
    const integer = integersOf(limits, MEMORY_HISTORY_DEFAULTS)
    this.#maxBytes = integer('maxBytes', 65_536, Number.MAX_SAFE_INTEGER)
    this.#maxBytesPerRoom = Math.min(
      integer('maxBytesPerRoom', 16_384, Number.MAX_SAFE_INTEGER),
      this.#maxBytes,
    )
  }

  /** Whether {@link cut} was called, and {@link restore} was not. */
  get isCut(): boolean {
    return this.#members.isCut
  }

  /** Bytes of memory that all rooms take. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * Behaves like an engine that cannot be reached: stores are `reconnecting`, refuse everything, and lose the
   * messages that they have not passed on yet.
   */
  cut(): void {
    this.#members.cut()
  }

  /** Ends a {@link cut}: stores are `connected` again. */
  restore(): void {
    this.#members.restore()
  }

  /** Removes the history of a room, or of all rooms, as an engine does when it is out of memory. */
  evict(room?: string): void {
    if (room === undefined) {
      this.#rooms.clear()
      this.#bytes = 0
      return
    }
    const history = this.#rooms.get(room)
    if (history === undefined) return
    this.#bytes -= history.bytes
    this.#rooms.delete(room)
  }

  /** Behaves like an engine that restarts without its latest writes to a room. */
  loseLatest(room: string, count: number): void {
    const history = this.#rooms.get(room)
    if (history === undefined) return
    this.#bytes -= history.bytes
    history.loseLatest(count)
    this.#bytes += history.bytes
  }

  /** Adds a member. @returns a function that removes it. @internal */
  join(member: BusMember<AppendedMessage>): () => void {
    return this.#members.join(member)
  }

  /** Appends a message, and passes it on in a later turn, as an engine does. @internal */
  append(room: string, record: Uint8Array, limits: HistoryLimits): StoredRecord {
    if (this.isCut) throw new HubError('WSHUB_ERR_NOT_STORED', CUT)
    if (!MemoryRoom.fits(record.length, this.#maxBytesPerRoom)) {
      throw new HubError('WSHUB_ERR_NOT_STORED', `a message of ${record.length} bytes is too big to be kept`)
    }
    const stored = this.#use(room, (history) => {
      const added = history.append(record)
      history.trim(limits)
      return added
    })
    this.#members.send({ room, stored }, stored.record.length) // or not, as an engine may lose it
    return stored
  }

  /** Reads messages of a room. @internal */
  read(room: string, request: ReadRequest, limits: HistoryLimits): ReadResult {
    this.#checkReachable()
    return this.#use(room, (history) => {
      history.trim(limits)
      return history.read(request)
    })
  }

  /** Returns the latest message of a room; `undefined` when it has no history. @internal */
  head(room: string): Mark | undefined {
    this.#checkReachable()
    if (!this.#rooms.has(room)) return undefined
    return this.#use(room, (history) => {
      history.trim() // the hubs ask for it from time to time, also when the room is quiet
      return history.head
    })
  }

  #use<Result>(room: string, use: (history: MemoryRoom) => Result): Result {
    const history = this.#rooms.get(room) ?? new MemoryRoom(room, this.#maxBytesPerRoom)
    const before = this.#rooms.delete(room) ? history.bytes : 0
    this.#rooms.set(room, history) // as the most recently used
    const result = use(history)
    this.#bytes += history.bytes - before
    if (this.#bytes > this.#maxBytes) this.#evictOthers(room)
    return result
  }

  #evictOthers(room: string): void {
    while (this.#bytes > this.#maxBytes && this.#rooms.size > 1) {
      for (const oldest of oldestKeys(this.#rooms, this.#rooms.size)) {
        if (oldest !== room && this.#bytes > this.#maxBytes) this.evict(oldest)
      }
    }
  }

  #checkReachable(): void {
    if (this.isCut) throw new Error(CUT)
  }
}
