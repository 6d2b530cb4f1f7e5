import { deferred } from '../base/deferred.ts'
import { oldestKeys } from '../base/eviction.ts'
import { EVERYONE } from './wire/channel-names.ts'

/** The number of rooms without members that keep their subscription; beyond that, the oldest end early. */
const MAX_IDLE = 10_000

/** The subscription of a channel. */
export interface Subscription {
  readonly channel: string
  /** The room, or {@link EVERYONE}; `undefined` for a channel of the node itself. */
  readonly room: string | undefined
  /** Resolves when the engine has confirmed, or when the subscription has ended. */
  readonly settled: Promise<void>
  /** Whether the engine has confirmed. */
  isLive: boolean
  /** When the engine has confirmed, in ms of `performance.now()`. */
  liveAt: number
  /** Whether the room has no members left. */
  isIdle: boolean
}

/** The engine, as {@link Subscriptions} uses it. */
export interface SubscriptionsHost {
  subscribe(channel: string): Promise<void>
  unsubscribe(channel: string): void
  /** The engine refused a subscription; `retry` tries again. */
  failed(error: unknown): void
  /** The subscription has ended. */
  ended(channel: string): void
}

interface Entry extends Subscription {
  readonly settle: () => void
  /** When its grace period ends, while it is idle; in ms of `performance.now()`. */
  idleUntil: number
}

/**
 * The subscriptions of a node. That to a room's channel lasts for a grace period after its last member has
 * left, so members who come and go cause no traffic to the engine.
 */
export class Subscriptions {
  readonly #host: SubscriptionsHost
  readonly #graceMs: number
  readonly #maxIdle: number
  readonly #channelOf: (room: string) => string
  readonly #rooms = new Map<string, Entry>()
  readonly #channels = new Map<string, Entry>()
  /** In the order in which their grace periods end. */
  readonly #idle = new Set<Entry>()
  readonly #failed = new Set<Entry>()
  #timer: NodeJS.Timeout | undefined

  constructor(
    host: SubscriptionsHost,
    channelOf: (room: string) => string,
    graceMs: number,
    maxIdle = MAX_IDLE,
  ) {
    this.#host = host
    this.#channelOf = channelOf
    this.#graceMs = graceMs
    this.#maxIdle = maxIdle
  }

  /** The number of rooms that have a subscription. */
  get rooms(): number {
    return this.#rooms.size - (this.#rooms.has(EVERYONE) ? 1 : 0)
  }

  /** Returns the subscription of a channel; `undefined` when there is none. */
  find(channel: string): Subscription | undefined {
    return this.#channels.get(channel)
  }

  /**
   * Returns at most that many rooms whose subscriptions the engine has confirmed; {@link EVERYONE} may be
   * among them.
   */
  live(most: number): string[] {
    const rooms: string[] = []
    for (const [room, { isLive }] of this.#rooms) {
      if (rooms.length === most) break
      if (isLive) rooms.push(room)
    }
    return rooms
  }

  /**
   * Returns the rooms whose subscriptions the engine has confirmed, one after the other, and then from the
   * first again; {@link EVERYONE} may be among them. `undefined` when there is none.
   */
  nextLive(): string | undefined {
    for (const [room, entry] of this.#rooms) {
      if (!entry.isLive) continue
      // Moves it to the end. A kept iterator would keep alive each table that the Map outgrows meanwhile.
      this.#rooms.delete(room)
      this.#rooms.set(room, entry)
      return room
    }
    return undefined
  }

  /** Subscribes to a channel of the node itself, permanently. */
  pin(channel: string): Subscription {
    return this.#add(channel, undefined)
  }

  /** Subscribes to a room, or to {@link EVERYONE}, that has its first member. */
  occupied(room: string): void {
    const entry = this.#rooms.get(room)
    if (entry === undefined) {
      this.#rooms.set(room, this.#add(this.#channelOf(room), room))
    } else {
      entry.isIdle = false
      this.#idle.delete(entry)
    }
  }

  /** Ends the subscription of a room after its grace period: the last member has left. */
  vacated(room: string): void {
    const entry = this.#rooms.get(room)
    if (entry === undefined) return
    entry.isIdle = true
    entry.idleUntil = performance.now() + this.#graceMs
    this.#idle.add(entry)
    if (this.#idle.size > this.#maxIdle) this.#leaveOldest()
    this.#timer ??= setTimeout(() => this.#sweep(), this.#graceMs).unref()
  }

  /** Resolves when the engine has confirmed every listed room that still has members. */
  async settled(rooms: readonly string[]): Promise<void> {
    await Promise.all(rooms.map((room) => this.#rooms.get(room)?.settled))
  }

  /** Repeats the subscriptions that the engine refused. */
  retry(): void {
    const failed = [...this.#failed]
    this.#failed.clear()
    for (const entry of failed) this.#subscribe(entry)
  }

  /** Forgets all subscriptions and does not tell the engine, which is about to be closed. */
  close(): void {
    clearTimeout(this.#timer)
    for (const entry of this.#channels.values()) entry.settle()
    for (const entries of [this.#rooms, this.#channels, this.#idle, this.#failed]) entries.clear()
  }

  #add(channel: string, room: string | undefined): Entry {
    const { promise: settled, resolve: settle } = deferred()
    const entry: Entry = {
      channel,
      room,
      settled,
      settle,
      isLive: false,
      liveAt: 0,
      isIdle: false,
      idleUntil: 0,
    }
    this.#channels.set(channel, entry)
    this.#subscribe(entry)
    return entry
  }

  #subscribe(entry: Entry): void {
    const isWanted = () => this.#channels.get(entry.channel) === entry
    this.#host.subscribe(entry.channel).then(
      () => {
        entry.isLive = isWanted()
        entry.liveAt = performance.now()
        entry.settle()
      },
      (error: unknown) => {
        if (!isWanted()) return
        this.#failed.add(entry)
        this.#host.failed(error)
      },
    )
  }

  #sweep(): void {
    this.#timer = undefined
    const now = performance.now()
    for (const entry of this.#idle) {
      if (entry.idleUntil > now) {
        this.#timer = setTimeout(() => this.#sweep(), Math.ceil(entry.idleUntil - now)).unref()
        return
      }
      this.#leave(entry)
    }
  }

  #leaveOldest(): void {
    for (const entry of oldestKeys(this.#idle, this.#maxIdle)) this.#leave(entry)
  }

  #leave(entry: Entry): void {
    this.#idle.delete(entry)
    this.#failed.delete(entry)
    this.#channels.delete(entry.channel)
    if (entry.room !== undefined) this.#rooms.delete(entry.room)
    entry.settle()
    this.#host.unsubscribe(entry.channel)
    this.#host.ended(entry.channel)
  }
}
