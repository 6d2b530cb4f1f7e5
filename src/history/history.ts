import { HubError, show } from '../base/errors.ts'
import { FaultDigest } from '../base/fault-digest.ts'
import { asError, textOf } from '../base/thrown.ts'
import { settlesWithin } from '../base/time-limit.ts'
import type { Origin } from '../delivery/backlog.ts'
import type { CompressionSettings } from '../delivery/delivery-options.ts'
import { GuardedStore } from './guarded-store.ts'
import type { HistoryHost, HistoryMember } from './history-member.ts'
import { HistoryMessage, sharedRooms } from './history-message.ts'
import { claimStore, type ResolvedHistoryOptions } from './history-options.ts'
import { type HistoryPage, readHistory } from './history-page.ts'
import { type HistoryStats, newHistoryStats } from './history-stats.ts'
import type { HistoryLimits, Mark } from './history-store.ts'
import { MemberCatchUps } from './member-catch-ups.ts'
import { MessageCache } from './message-cache.ts'
import { MessageReader } from './message-reader.ts'
import { PendingAppends } from './pending-appends.ts'
import { encodeRecord, type HistoryRecord } from './record.ts'
import type { ReplayFrom } from './replay-from.ts'
import { ReplayLoop } from './replay-loop.ts'
import { endedResume, type ResumeResult, resume } from './resume.ts'
import { RoomLogs } from './room-logs.ts'

/** Time, in ms, that a store may take to close. */
const CLOSE_TIMEOUT_MS = 5_000
/** Interval, in ms, at which repeated errors are reported as one. */
const FAULTS_MS = 5_000

/** A message for the members of rooms with a history. */
export type HistoryContent = Omit<HistoryRecord, 'union'>

/** The histories of the rooms of a hub. */
export class History {
  readonly #host: HistoryHost
  readonly #store: GuardedStore
  readonly #reader: MessageReader
  readonly #faults: FaultDigest
  readonly #faultTimer: NodeJS.Timeout
  readonly #logs: RoomLogs
  readonly #pending = new PendingAppends()
  readonly #catchUps = new MemberCatchUps()
  readonly #cache: MessageCache
  readonly #stats = newHistoryStats()
  #isClosed = false

  /**
   * @param graceMs how long a room is followed after its last member has left
   * @throws {HubError} WSHUB_ERR_INVALID_OPTION when the store belongs to a hub already
   */
  constructor(
    options: ResolvedHistoryOptions,
    compression: CompressionSettings | false,
    graceMs: number,
    host: HistoryHost,
  ) {
    claimStore(options.store)
    this.#host = host
    this.#faults = new FaultDigest((error) => host.report(error))
    this.#faultTimer = setInterval(() => this.#faults.flush(), FAULTS_MS).unref()
    const loop = new ReplayLoop((thrown) => host.report(asError(thrown, 'a replay')))
    this.#store = new GuardedStore(options.store, options.maxPendingBytes, loop)
    this.#reader = new MessageReader(options, compression, host, this.#faults)
    this.#cache = new MessageCache(options.maxCachedBytes)
    this.#logs = new RoomLogs(
      options.rooms,
      {
        host,
        store: this.#store,
        cache: this.#cache,
        loop,
        held: { all: 0 },
        catchUps: this.#catchUps,
        rooms: {
          inRoom: (member, room) => host.inRoom(member, room),
          isFollowing: (member, room, isPast) =>
            this.#logs.find(room)?.members.followers.has(member, isPast) === true,
          leftOut: (member, room, other) => this.#logs.find(other)?.members.reliedOn(member, room),
        },
        stats: this.#stats,
        messageOf: (log, stored, after) => this.#reader.messageOf(log, stored, after),
        failed: (error) => {
          // A store that is closed rejects the calls in progress.
          if (!this.#isClosed) this.#storeFailed(error)
        },
      },
      graceMs,
    )
    void this.#start()
  }

  /** The counts since the hub was made, and the number of rooms that are followed now. */
  get stats(): HistoryStats {
    return { ...this.#stats, rooms: this.#logs.size, cachedBytes: this.#cache.bytes }
  }

  /** Checks what `history.rooms` returns for each room. @throws {HubError} */
  check(rooms: readonly string[]): void {
    for (const room of rooms) this.#logs.limitsOf(room)
  }

  /** The room has its first member here. */
  occupied(room: string): void {
    this.#logs.occupied(room)
  }

  /** The room has lost its last member here. */
  vacated(room: string): void {
    this.#logs.vacated(room)
  }

  /** A connection has joined a room. */
  joined(member: HistoryMember, room: string): void {
    this.#catchUps.joined(member, room)
  }

  /** A connection has left a room, or is closed. */
  left(member: HistoryMember, room: string): void {
    this.#fellBehind(member, this.#logs.find(room)?.members.left(member) ?? [])
    this.#catchUps.left(member, room)
  }

  /** Returns the rooms that have a history, each once and sorted; `undefined` when none has. */
  keptRooms(rooms: readonly string[]): readonly string[] | undefined {
    const kept = rooms.filter((room) => this.#logs.limitsOf(room) !== undefined)
    if (kept.length < 2) return kept.length === 0 ? undefined : kept
    return [...new Set(kept)].sort()
  }

  /**
   * Stores a message in rooms with a history, then delivers it. A failure is reported.
   * @param rooms sorted
   * @returns the number of connections here that it is meant for
   */
  broadcast(rooms: readonly string[], content: HistoryContent): number {
    const record = encodeRecord({ ...content, union: rooms.length > 1 ? rooms : [] })
    for (const room of rooms) {
      this.#deliver(room, record, this.#limitsOf(room)).catch((error: HubError) => this.#faults.add(error))
    }
    return this.#count(rooms, content)
  }

  /**
   * Stores a message in a room.
   * @returns its place, once it is delivered to the members here
   * @throws {HubError} WSHUB_ERR_NO_HISTORY, WSHUB_ERR_NOT_STORED or WSHUB_ERR_INVALID_OPTION, as a rejection
   */
  async publish(room: string, content: HistoryContent): Promise<Mark> {
    const limits = this.#limitsOf(room)
    return this.#deliver(room, encodeRecord({ ...content, union: [] }), limits)
  }

  /**
   * Replays to a member of a room what it has missed, before it receives live messages.
   * @throws {HubError} WSHUB_ERR_HISTORY_AWAY, as a rejection
   */
  async resume(member: HistoryMember, room: string, from: ReplayFrom): Promise<ResumeResult> {
    const limits = this.#limitsOf(room)
    const log = this.#logs.find(room)
    if (log === undefined) return endedResume(member.isOpen ? 'left' : 'closed')
    const result = await resume(log, member, from, limits)
    this.#stats.resumed++
    this.#stats.replayed += result.replayed
    if (result.ended !== undefined) this.#stats.ended++
    else if (!result.complete) this.#stats.incomplete++
    return result
  }

  /**
   * Reads messages of a room as clients receive them.
   * @throws {HubError} WSHUB_ERR_NO_HISTORY or WSHUB_ERR_HISTORY_AWAY, as a rejection
   */
  async read(room: string, from: ReplayFrom): Promise<HistoryPage> {
    const limits = this.#limitsOf(room)
    return readHistory(from, limits, {
      read: (request) => this.#store.read(room, request, limits),
      dataOf: (stored) => this.#reader.dataOf(room, stored),
    })
  }

  /** Replays to a member what was dropped for it: in each room, from the given message on. */
  resync(member: HistoryMember, firsts: Iterable<Origin>): void {
    for (const first of firsts) {
      if (!(first instanceof HistoryMessage)) continue
      const log = this.#logs.find(first.log.room)
      if (log === first.log && this.#host.inRoom(member, log.room)) {
        this.#stats.resynced++
        log.members.resync(member, first)
        continue
      }
      // It has left the room, and a message may have been for another one as well, where it was left out.
      this.#fellBehind(member, sharedRooms(first.log, this.#host.roomsOf(member)))
    }
  }

  /**
   * Resolves when the messages that wait for the store now are stored or refused; `undefined` if none does.
   */
  get settled(): Promise<void> | undefined {
    return this.#pending.settled
  }

  /**
   * Ends all replays and closes the store.
   * @param timeoutMs how long to wait for messages that are not stored yet
   */
  async close(timeoutMs: number): Promise<void> {
    const { settled } = this.#pending
    if (settled !== undefined) await settlesWithin(timeoutMs, settled)
    this.#isClosed = true
    this.#logs.close()
    clearInterval(this.#faultTimer)
    const closed = this.#store.close().catch((error: unknown) => this.#storeFailed(error))
    await settlesWithin(CLOSE_TIMEOUT_MS, closed)
    this.#faults.flush()
  }

  async #start(): Promise<void> {
    try {
      await this.#store.start({
        onMessage: (room, stored) => this.#logs.find(room)?.receive(stored),
        onStateChange: (state) => {
          if (state !== 'connected') return
          for (const log of this.#logs) log.reconnected()
        },
        onError: (error) => this.#storeFailed(error),
      })
    } catch (error) {
      if (!this.#isClosed) this.#storeFailed(error)
    }
  }

  /** Messages are lost for a member in those of these rooms that it is in and that have a history. */
  #fellBehind(member: HistoryMember, rooms: Iterable<string>): void {
    for (const room of rooms) {
      if (this.#host.inRoom(member, room)) this.#logs.find(room)?.members.fellBehind(member)
    }
  }

  /** @throws {HubError} WSHUB_ERR_NO_HISTORY */
  #limitsOf(room: string): HistoryLimits {
    const limits = this.#logs.limitsOf(room)
    if (limits !== undefined) return limits
    throw new HubError('WSHUB_ERR_NO_HISTORY', `the room ${show(room)} has no history: see history.rooms`)
  }

  /**
   * Stores a message in a room.
   * @returns its place, once it is delivered to the members here
   * @throws {HubError} WSHUB_ERR_NOT_STORED, as a rejection
   */
  async #deliver(room: string, record: Buffer, limits: HistoryLimits): Promise<Mark> {
    const mark = await this.#append(room, record, limits)
    await this.#logs.find(room)?.reached(mark)
    return mark
  }

  async #append(room: string, record: Buffer, limits: HistoryLimits): Promise<Mark> {
    const number = this.#pending.begin()
    try {
      const mark = await this.#store.append(room, record, limits)
      this.#stats.appended++
      this.#stats.appendedBytes += record.length
      this.#logs.find(room)?.appended(mark, record)
      return mark
    } catch (error) {
      this.#stats.refused++
      throw error
    } finally {
      this.#pending.end(number)
    }
  }

  #count(rooms: readonly string[], { exceptIds, exceptRooms }: HistoryContent): number {
    const [first = ''] = rooms
    if (rooms.length === 1 && exceptIds.length === 0 && exceptRooms.length === 0) {
      return this.#host.members(first).size
    }
    const meant = new Set<HistoryMember>()
    for (const room of rooms) {
      for (const member of this.#host.members(room)) {
        const isExcluded =
          exceptIds.includes(member.id) || exceptRooms.some((other) => this.#host.inRoom(member, other))
        if (!isExcluded) meant.add(member)
      }
    }
    return meant.size
  }

  #storeFailed(cause: unknown): void {
    if (cause instanceof HubError) {
      this.#faults.add(cause)
      return
    }
    const message = `the store of the history failed: ${textOf(cause, 'message') ?? 'no reason is known'}`
    this.#faults.add(new HubError('WSHUB_ERR_HISTORY_AWAY', message, { cause }))
  }
}
