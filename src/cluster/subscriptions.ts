import { oldestKeys } from '../base/eviction.ts'
import { EVERYONE } from './wire/channel-names.ts'

/** Rooms without members whose channels are kept at once; beyond it the oldest go before their time. */
const MAX_IDLE = 10_000

/** A channel that a node listens to. */
export interface Subscription {
  readonly channel: string
  /** The room, or {@link EVERYONE}; `undefined` for a channel of the node itself. */
  readonly room: string | undefined
  /** Resolves when the engine has confirmed, or when the channel is not wanted any more. */
  readonly settled: Promise<void>
  /** Whether the engine has confirmed. */
  isLive: boolean
  /** When it has, in ms of `performance.now()`. */
  liveAt: number
  /** Whether nobody is in the room any more. */
  isIdle: boolean
}

/** What a {@link Subscriptions} listens with. */
export interface SubscriptionsHost {
  subscribe(channel: string): Promise<void>
  unsubscribe(channel: string): void
  /** The engine has refused; `retry` tries again. */
  failed(error: unknown): void
  /** The channel is not listened to any more. */
  left(channel: string): void
}

interface Entry extends Subscription {
  readonly settle: () => void
  /** When its grace ends, while it is idle. */
  idleUntil: number
}

/**
 * The channels that a node listens to. A room's is kept for a grace period after its last member has left, so that members
 * who come and go do not hammer the engine.
 */
export class Subscriptions {
  readonly #host: SubscriptionsHost
  readonly #graceMs: number
  readonly #maxIdle: number
  readonly #channelOf: (room: string) => string
  readonly #rooms = new Map<string, Entry>()
  readonly #channels = new Map<string, Entry>()
  /** In the order in which their grace ends. */
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

  /** How many rooms are listened to. */
  get rooms(): number {
    return this.#rooms.size - (this.#rooms.has(EVERYONE) ? 1 : 0)
  }

  /** The subscription of a channel; `undefined` when it is not listened to. */
  find(channel: string): Subscription | undefined {
    return this.#channels.get(channel)
  }

  /** Some rooms, {@link EVERYONE} among them, whose channels the engine has confirmed. */
  live(most: number): string[] {
    const rooms: string[] = []
    for (const [room, { isLive }] of this.#rooms) {
      if (rooms.length === most) break
      if (isLive) rooms.push(room)
    }
    return rooms
  }

  /** One room after the other, {@link EVERYONE} among them, whose channels the engine has confirmed; `undefined` when there is none. */
  nextLive(): string | undefined {
    for (const [room, entry] of this.#rooms) {
      if (!entry.isLive) continue
      // To the end. An iterator kept for the next time would keep each table alive that the Map outgrows meanwhile.
      this.#rooms.delete(room)
      this.#rooms.set(room, entry)
      return room
    }
    return undefined
  }

  /** Listens to a channel of the node itself, for good. */
  pin(channel: string): Subscription {
    return this.#add(channel, undefined)
  }

  /** A room, or {@link EVERYONE}, has its first member. */
  occupied(room: string): void {
    const entry = this.#rooms.get(room)
    if (entry === undefined) {
      this.#rooms.set(room, this.#add(this.#channelOf(room), room))
    } else {
      entry.isIdle = false
      this.#idle.delete(entry)
    }
  }

  /** The last member has left. */
  vacated(room: string): void {
    const entry = this.#rooms.get(room)
    if (entry === undefined) return
    entry.isIdle = true
    entry.idleUntil = performance.now() + this.#graceMs
    this.#idle.add(entry)
    if (this.#idle.size > this.#maxIdle) this.#leaveOldest()
    this.#timer ??= setTimeout(() => this.#sweep(), this.#graceMs).unref()
  }

  /** Resolves when what others publish into these rooms from now on comes, as far as anybody is in them. */
  async settled(rooms: readonly string[]): Promise<void> {
    await Promise.all(rooms.map((room) => this.#rooms.get(room)?.settled))
  }

  /** Subscribes again where the engine has refused. */
  retry(): void {
    const failed = [...this.#failed]
    this.#failed.clear()
    for (const entry of failed) this.#subscribe(entry)
  }

  /** Forgets everything, without a word to the engine: it is about to be closed. */
  close(): void {
    clearTimeout(this.#timer)
    for (const entry of this.#channels.values()) entry.settle()
    for (const entries of [this.#rooms, this.#channels, this.#idle, this.#failed]) entries.clear()
  }

  #add(channel: string, room: string | undefined): Entry {
    let settle = () => {}
    const settled = new Promise<void>((resolve) => {
      settle = resolve
    })
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
    this.#host.left(entry.channel)
  }
}
