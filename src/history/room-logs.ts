import { RoomRules } from '../base/room-rules.ts'
import { type ResolvedHistoryOptions, type RoomHistoryOptions, readRoomHistory } from './history-options.ts'
import type { HistoryLimits } from './history-store.ts'
import type { LogParts } from './log-parts.ts'
import { RoomLog } from './room-log.ts'

/** Most rooms without members that are followed; above it, a room ends with its last member. */
const MAX_IDLE = 10_000
/** Interval, in ms, at which a share of the rooms is compared with the store, and the number of shares. */
const BEAT_MS = 1_000
const BEATS_PER_ROUND = 10
/** Most rooms in one request for their latest messages. */
const MAX_HEADS = 1_000

/** The logs of the rooms that have a member here, or had one until a grace period ago. */
export class RoomLogs {
  readonly #limits: RoomRules<RoomHistoryOptions | undefined, HistoryLimits | undefined>
  readonly #parts: LogParts
  readonly #graceMs: number
  readonly #logs = new Map<string, RoomLog>()
  /** The rooms without a member, and the ends of their grace periods. */
  readonly #idle = new Map<string, NodeJS.Timeout>()
  readonly #timer: NodeJS.Timeout
  #beats = 0
  #made = 0
  #isComparing = false

  constructor(rooms: ResolvedHistoryOptions['rooms'], parts: LogParts, graceMs: number) {
    this.#limits = new RoomRules('history.rooms', rooms, readRoomHistory)
    this.#parts = parts
    this.#graceMs = graceMs
    this.#timer = setInterval(() => void this.#compare(), BEAT_MS).unref()
  }

  get size(): number {
    return this.#logs.size
  }

  [Symbol.iterator](): IterableIterator<RoomLog> {
    return this.#logs.values()
  }

  /** Returns the log of a room; `undefined` when it is not followed. */
  find(room: string): RoomLog | undefined {
    return this.#logs.get(room)
  }

  /**
   * Returns how much history a room has; `undefined` = none.
   * @throws {HubError} WSHUB_ERR_INVALID_OPTION when `history.rooms` returns anything else
   */
  limitsOf(room: string): HistoryLimits | undefined {
    return this.#limits.of(room)
  }

  /** The room has its first member here. */
  occupied(room: string): void {
    clearTimeout(this.#idle.get(room))
    if (this.#idle.delete(room)) return
    const limits = this.limitsOf(room)
    if (limits === undefined) return
    this.#logs.set(room, new RoomLog(room, limits, this.#made++ % BEATS_PER_ROUND, this.#parts))
  }

  /** The room has lost its last member here. */
  vacated(room: string): void {
    if (!this.#logs.has(room)) return
    if (this.#idle.size >= MAX_IDLE) this.#end(room)
    else this.#idle.set(room, setTimeout(() => this.#end(room), this.#graceMs).unref())
  }

  close(): void {
    clearInterval(this.#timer)
    for (const room of [...this.#logs.keys()]) this.#end(room)
  }

  #end(room: string): void {
    clearTimeout(this.#idle.get(room))
    this.#idle.delete(room)
    this.#logs.get(room)?.close()
    this.#logs.delete(room)
  }

  /** Finds messages that were lost on their way and that no later message has revealed. */
  async #compare(): Promise<void> {
    const turn = this.#beats++ % BEATS_PER_ROUND
    if (this.#isComparing) return
    this.#isComparing = true
    try {
      const due = [...this].filter((log) => log.turn === turn && log.isPositioned)
      for (let start = 0; start < due.length; start += MAX_HEADS) {
        const logs = due.slice(start, start + MAX_HEADS)
        const before = logs.map(({ delivered }) => delivered)
        const heads = await this.#parts.store.heads(logs.map(({ room }) => room))
        for (const [index, log] of logs.entries()) log.compare(heads[index], before[index] ?? log.delivered)
      }
    } catch (error) {
      this.#parts.failed(error)
    } finally {
      this.#isComparing = false
    }
  }
}
