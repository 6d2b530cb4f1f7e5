import {
  type Appended,
  type BackplaneState,
  type HistoryLimits,
  type HistoryListener,
  type HistoryStore,
  type Mark,
  MemoryHistoryBus,
  type ReadRequest,
  type ReadResult,
  type StoredRecord,
} from 'wshub'
import { positionOf } from '../../src/history/position.ts'
import { decodeRecord } from '../../src/history/record.ts'
import type { Random } from './random.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** The delays and faults of an engine that stores histories. */
export interface StoreWeather {
  /** Most time, in ms, that a message takes in each direction. */
  readonly delayMs: number
  /** The share of messages of the feed that is lost on the way to one node. */
  readonly loseFeed: number
  /** The share of messages of the feed that arrives twice. */
  readonly repeatFeed: number
  /** The share of requests that is refused. */
  readonly refuse: number
  /** The share of requests that is carried out but answered with an error. */
  readonly forgetReply: number
}

export const CALM_STORE: StoreWeather = Object.freeze({
  delayMs: 2,
  loseFeed: 0,
  repeatFeed: 0,
  refuse: 0,
  forgetReply: 0,
})

/** A request for all messages that a room keeps. */
const ALL: ReadRequest = Object.freeze({ last: 100_000, maxMessages: 100_000, maxBytes: 100_000_000 })

/** Time, in ms, that a node takes to notice that its connection is lost. */
const MOST_NOTICE_MS = 5

/** A message as the engine has stored it. */
export interface Kept {
  readonly id: string
  readonly room: string
  readonly position: string
  /** The position of the message before it. */
  readonly before: string
}

/** The memory of the engine, which records the message before each message. */
class NotingBus extends MemoryHistoryBus {
  onAppend: (kept: Kept) => void = () => {}
  /** Called when the position of a message changes, because its room has begun another epoch. */
  onMove: (kept: Kept) => void = () => {}
  /** Called when a room has begun another epoch, of which only the node that asked learns at once. */
  onEpoch: () => void = () => {}
  readonly #epochs = new Map<string, string>()

  override append(room: string, record: Uint8Array, limits: HistoryLimits): StoredRecord {
    const head = this.head(room)
    const stored = super.append(room, record, limits)
    const before = head?.epoch === stored.epoch ? head : { epoch: stored.epoch, offset: 0, tag: '0' }
    this.#epochs.set(room, stored.epoch)
    this.onAppend({ id: idOf(record), room, position: positionOf(stored), before: positionOf(before) })
    return stored
  }

  override read(room: string, request: ReadRequest, limits: HistoryLimits): ReadResult {
    const result = super.read(room, request, limits)
    const { epoch } = result.head
    const former = this.#epochs.get(room)
    this.#epochs.set(room, epoch)
    if (former === undefined || former === epoch) return result
    this.onEpoch()
    const { records } = super.read(room, ALL, limits)
    for (const [index, { record, ...mark }] of records.entries()) {
      const previous = records[index - 1]
      const before = positionOf(previous ?? { epoch, offset: mark.previous, tag: '' })
      this.onMove({ id: idOf(record), room, position: positionOf(mark), before })
    }
    return result
  }
}

function idOf(record: Uint8Array): string {
  const { data } = decodeRecord(Buffer.from(record))
  return data.toString().split(' ')[0] ?? ''
}

/** An engine that keeps the history of rooms for all nodes, and fails as engines do. */
export class HistoryEngine {
  readonly bus = new NotingBus()
  readonly #clock: VirtualClock
  readonly #random: Random
  readonly trace: (line: string) => void
  readonly #stores = new Set<EngineStore>()
  #weather = CALM_STORE
  /** Whether messages of the feed, replies or rooms may have been lost without any node noticing. */
  hasLostSilently = false
  /** Whether appends are answered with the number of the message before. */
  readonly tellsPrevious: boolean
  /** Counts what was evicted or lost. */
  losses = 0

  constructor(clock: VirtualClock, random: Random, trace: (line: string) => void, tellsPrevious: boolean) {
    this.#clock = clock
    this.#random = random
    this.trace = trace
    this.tellsPrevious = tellsPrevious
    this.bus.onEpoch = () => {
      this.hasLostSilently = true
    }
  }

  get weather(): StoreWeather {
    return this.#weather
  }

  set weather(weather: StoreWeather) {
    this.#weather = weather
    if (weather !== CALM_STORE) this.hasLostSilently = true
  }

  /** The number of nodes that have a connection, or try to get one. */
  get size(): number {
    return this.#stores.size
  }

  join(owner: string): EngineStore {
    const store = new EngineStore(this, owner)
    this.#stores.add(store)
    return store
  }

  leave(store: EngineStore): void {
    this.#stores.delete(store)
  }

  /** Stops for a while, and loses the latest messages, up to so many of each room. */
  fail(rooms: readonly string[], lost: number): void {
    this.bus.cut()
    for (const room of rooms) if (lost > 0) this.bus.loseLatest(room, lost)
    if (lost > 0) this.losses++
    this.trace(`the store fails and loses ${lost} messages of each room`)
    for (const store of this.#stores) store.cut()
  }

  /** Starts again after {@link fail}. */
  comeBack(): void {
    if (!this.bus.isCut) return
    this.trace('the store is back')
    this.bus.restore()
    for (const store of this.#stores) store.restore()
  }

  evict(room: string): void {
    this.losses++
    this.trace(`the store evicts ${room}`)
    this.bus.evict(room)
    this.hasLostSilently = true
  }

  /** Returns the position of the latest message of a room; `undefined` when the room has no history. */
  headOf(room: string): string | undefined {
    const head = this.bus.isCut ? undefined : this.bus.head(room)
    return head === undefined ? undefined : positionOf(head)
  }

  roll(share: number): boolean {
    return share > 0 && this.#random.chance(share)
  }

  /** Schedules a task of an owner after a random delay: it may overtake earlier ones. */
  later(owner: string, run: () => void): void {
    this.#clock.post(owner, run, this.#random.between(0, this.weather.delayMs))
  }

  /** Schedules a task of an owner, in the order of these calls. @returns when, in ms */
  inOrder(owner: string, notBefore: number, run: () => void, mostMs = this.weather.delayMs): number {
    const at = Math.max(this.#clock.now + this.#random.between(0, mostMs), notBefore)
    this.#clock.post(owner, run, at - this.#clock.now)
    return at
  }

  /** Passes a message on to the nodes that follow its room. */
  passOn(room: string, stored: StoredRecord): void {
    for (const store of this.#stores) {
      if (!store.follows(room)) continue
      if (this.roll(this.weather.loseFeed))
        this.trace(`the feed to ${store.owner} loses ${positionOf(stored)}`)
      else this.later(store.owner, store.feed(room, stored))
      if (this.roll(this.weather.repeatFeed)) this.later(store.owner, store.feed(room, stored))
    }
  }
}

/** A connection to the engine; a node makes another one when it is lost. */
interface Link {
  /** Whether the engine has lost it; the node may not know that yet. */
  isLost: boolean
  /** The rooms whose messages the engine sends over it. */
  readonly rooms: Set<string>
}

/** One node's access to the engine. */
export class EngineStore implements HistoryStore {
  readonly isShared = true
  readonly owner: string
  readonly #engine: HistoryEngine
  #listener: HistoryListener | undefined
  #state: BackplaneState = 'connecting'
  #link: Link | undefined
  #isCut = false
  #isRefused = false
  /** Requests that fail only when the node learns that its connection is lost. */
  readonly #open = new Set<(error: Error) => void>()
  /** Requests that wait for a connection. */
  #waiting: { resolve: () => void; reject: (error: Error) => void }[] = []
  readonly #wanted = new Set<string>()
  #outAt = 0
  /** When the latest subscription arrives, in ms: they have a connection of their own. */
  #subscribedAt = 0
  #movedAt = 0

  constructor(engine: HistoryEngine, owner: string) {
    this.#engine = engine
    this.owner = owner
  }

  get state(): BackplaneState {
    return this.#state
  }

  /** The number of rooms that its node has subscribed to. */
  get wantedRooms(): number {
    return this.#wanted.size
  }

  async start(listener: HistoryListener): Promise<void> {
    this.#listener = listener
    this.restore()
    await this.#connected()
  }

  async append(room: string, record: Uint8Array, limits: HistoryLimits): Promise<Appended> {
    const copy = Buffer.from(record)
    const stored = await this.#request(true, () => {
      const added = this.#engine.bus.append(room, copy, limits)
      this.#engine.passOn(room, added)
      return added
    })
    const { epoch, offset, tag } = stored
    return this.#engine.tellsPrevious ? stored : { epoch, offset, tag }
  }

  read(room: string, request: ReadRequest, limits: HistoryLimits): Promise<ReadResult> {
    return this.#request(false, () => this.#engine.bus.read(room, request, limits))
  }

  heads(rooms: readonly string[]): Promise<readonly (Mark | undefined)[]> {
    return this.#request(false, () => rooms.map((room) => this.#engine.bus.head(room)))
  }

  async subscribe(room: string): Promise<void> {
    this.#wanted.add(room)
    for (;;) {
      await this.#connected()
      const link = this.#link
      if (link?.rooms.has(room) === true) return
      // A connection that is lost meanwhile is made again with all rooms that are wanted.
      await this.#request(false, () => link?.rooms.add(room), true).catch(() => {})
      if (!this.#wanted.has(room)) return
    }
  }

  unsubscribe(room: string): void {
    this.#wanted.delete(room)
    this.#link?.rooms.delete(room)
  }

  async close(): Promise<void> {
    this.#state = 'closed'
    this.die()
    const error = new Error('closed')
    for (const { reject } of this.#waiting.splice(0)) reject(error)
    for (const fail of [...this.#open]) fail(error)
  }

  /** Ends with its node. */
  die(): void {
    this.#engine.leave(this)
    this.#listener = undefined
    if (this.#link !== undefined) this.#link.isLost = true
    this.#link = undefined
  }

  follows(room: string): boolean {
    return this.#link?.isLost === false && this.#link.rooms.has(room)
  }

  /** Returns a function that delivers a message of the feed. */
  feed(room: string, stored: StoredRecord): () => void {
    const link = this.#link
    return () => {
      if (this.#link !== link || this.#listener === undefined || !this.#wanted.has(room)) return
      this.#engine.trace(`${this.owner} is fed ${room} ${positionOf(stored)}`)
      this.#listener.onMessage(room, { ...stored, record: Buffer.from(stored.record) })
    }
  }

  /** Cuts the connection. */
  cut(): void {
    this.#isCut = true
    if (this.#link !== undefined) this.#link.isLost = true
    this.#moveSoon()
  }

  /** Refuses all requests, or no longer. */
  refuse(isRefused: boolean): void {
    this.#isRefused = isRefused
  }

  restore(): void {
    this.#isCut = false
    if (this.#engine.bus.isCut) return
    if (this.#link?.isLost !== false) this.#moveSoon()
  }

  /** Removes one subscription without notifying the node. */
  forget(index: number): void {
    const rooms = [...(this.#link?.rooms ?? [])]
    const room = rooms[index % rooms.length]
    if (room === undefined) return
    this.#engine.trace(`the feed to ${this.owner} forgets ${room}`)
    this.#engine.hasLostSilently = true
    this.#link?.rooms.delete(room)
  }

  /** Later, the node notices that its connection is lost, or makes a new one. */
  #moveSoon(): void {
    this.#movedAt = this.#engine.inOrder(this.owner, this.#movedAt, () => this.#moved(), MOST_NOTICE_MS)
  }

  #moved(): void {
    if (this.#listener === undefined) return
    if (this.#link?.isLost === true) {
      this.#link = undefined
      this.#become('reconnecting')
      for (const fail of [...this.#open]) fail(new Error('The connection was lost'))
    }
    if (this.#link !== undefined || this.#isCut || this.#engine.bus.isCut) return
    this.#link = { isLost: false, rooms: new Set(this.#wanted) }
    this.#become('connected')
    for (const { resolve } of this.#waiting.splice(0)) resolve()
  }

  #become(state: BackplaneState): void {
    this.#state = state
    this.#engine.trace(`the store of ${this.owner} is ${state}`)
    this.#listener?.onStateChange(state)
  }

  async #connected(): Promise<void> {
    if (this.#link !== undefined) return
    if (this.#state === 'closed') throw new Error('closed')
    await new Promise<void>((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  /** Runs a request at the engine, and resolves with the result. */
  #request<T>(isWrite: boolean, act: () => T, isSubscription = false): Promise<T> {
    const engine = this.#engine
    const link = this.#link
    return new Promise((resolve, reject) => {
      if (link === undefined) {
        reject(new Error('not connected'))
        return
      }
      const fail = (error: Error): void => {
        this.#open.delete(fail)
        reject(error)
      }
      this.#open.add(fail)
      const reply = (settle: () => void): void => {
        if (link.isLost) return
        engine.later(this.owner, () => {
          if (this.#link !== link || !this.#open.delete(fail)) return
          settle()
        })
      }
      const arrive = (): void => {
        // A request that was on its way when the connection was lost may still arrive.
        if (link.isLost && !(isWrite && engine.roll(1 / 2))) return
        if (this.#isRefused || engine.roll(engine.weather.refuse)) {
          reply(() => reject(new Error('refused')))
          return
        }
        try {
          const result = act()
          if (engine.roll(engine.weather.forgetReply)) reply(() => reject(new Error('no answer')))
          else reply(() => resolve(result))
        } catch (error) {
          reply(() => reject(error instanceof Error ? error : new Error(String(error))))
        }
      }
      if (isSubscription) this.#subscribedAt = engine.inOrder('world', this.#subscribedAt, arrive)
      else this.#outAt = engine.inOrder('world', this.#outAt, arrive)
    })
  }
}
