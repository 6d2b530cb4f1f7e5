import type { Backplane, BackplaneListener, BackplaneState } from 'wshub'
import type { Random } from './random.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** The delays and faults of an engine. */
export interface Weather {
  /** Most time, in ms, that each of the two ways takes: to the engine, and from it. */
  readonly delayMs: number
  /** The share of messages that is lost on the way to one subscriber. */
  readonly drop: number
  /** The share of messages that arrives twice, on confirmed subscriptions. */
  readonly duplicate: number
  /** The share of messages that is not accepted. */
  readonly full: number
  /** The share of subscriptions that is refused. */
  readonly refuse: number
}

export const CALM: Weather = { delayMs: 2, drop: 0, duplicate: 0, full: 0, refuse: 0 }

/**
 * An engine that carries messages between nodes, and fails as engines do. It keeps the order of each
 * publisher and channel, and no other order.
 */
export class Engine {
  readonly #clock: VirtualClock
  readonly #random: Random
  readonly #trace: (line: string) => void
  readonly #members = new Set<EngineBackplane>()
  weather = CALM
  /** Whether anything may have been lost, or delayed for longer than a call waits. */
  hasLost = false
  /** Whether something was lost without either end being notified. */
  hasLostSilently = false
  /** Called with each message that a node publishes, whether the engine accepts it or not. */
  onOffer: (node: EngineBackplane, channel: string, bytes: Uint8Array) => void = () => {}
  /** Called with each message that the engine accepts. */
  onPublish: (node: EngineBackplane, channel: string, bytes: Buffer) => void = () => {}
  /** Called with each message that a node receives. */
  onReceive: (node: EngineBackplane, channel: string, bytes: Buffer) => void = () => {}
  /** Called when a node asks for a subscription. */
  onSubscribe: (node: EngineBackplane, channel: string) => void = () => {}
  /** Called when a node has ended a subscription. */
  onUnsubscribe: (node: EngineBackplane, channel: string) => void = () => {}

  constructor(clock: VirtualClock, random: Random, trace: (line: string) => void) {
    this.#clock = clock
    this.#random = random
    this.#trace = trace
  }

  join(owner: string): EngineBackplane {
    const member = new EngineBackplane(this, owner)
    this.#members.add(member)
    return member
  }

  leave(member: EngineBackplane): void {
    this.#members.delete(member)
  }

  /** Records a loss. @param isSilent whether neither end is notified */
  lose(isSilent: boolean): void {
    this.hasLost = true
    this.hasLostSilently ||= isSilent
  }

  /** The number of nodes that have a connection, or try to get one. */
  get size(): number {
    return this.#members.size
  }

  roll(share: number): boolean {
    return share > 0 && this.#random.chance(share)
  }

  delayMs(): number {
    return this.#random.between(0, this.weather.delayMs)
  }

  /** Schedules a task of an owner, after those that were scheduled for it under the same key. */
  schedule(owner: string, lanes: Map<string, number>, key: string, run: () => void, extraMs = 0): void {
    const { now } = this.#clock
    const at = Math.max(now + this.delayMs() + extraMs, lanes.get(key) ?? 0)
    lanes.set(key, at)
    this.#clock.post(owner, run, at - now)
  }

  /** Sends a message that has arrived here to the nodes that are subscribed now. */
  carry(by: EngineBackplane, channel: string, bytes: Buffer): void {
    for (const member of this.#members) {
      if (!member.subscribed.has(channel) || member.isDeaf) continue
      if (this.roll(this.weather.drop)) {
        this.lose(true)
        this.#trace(`engine loses ${describe(channel, bytes)} to ${member.owner}`)
        continue
      }
      const { generation } = member
      const deliver = (): void => {
        if (member.generation === generation && !member.isDeaf) member.receive(channel, bytes)
      }
      const lane = `${by.owner} ${channel}`
      this.schedule(member.owner, member.lanes, lane, deliver)
      // A hub detects repeated messages by their numbers, once its subscription is confirmed.
      if (member.confirmed.has(channel) && this.roll(this.weather.duplicate))
        this.schedule(member.owner, member.lanes, lane, deliver)
    }
  }

  note(line: string): void {
    this.#trace(line)
  }
}

/** One node's connection to the engine. */
export class EngineBackplane implements Backplane {
  readonly owner: string
  readonly #engine: Engine
  /** The channels that the engine sends to this node. */
  readonly subscribed = new Set<string>()
  /** The channels whose subscription was confirmed to the node. */
  readonly confirmed = new Set<string>()
  /** The channels that the node wants. */
  readonly #wanted = new Set<string>()
  /** The latest time for which something was scheduled, by direction. */
  readonly lanes = new Map<string, number>()
  readonly #lanesOut = new Map<string, number>()
  /** Counts the connections: messages on their way over an earlier one are lost. */
  generation = 0
  /** Whether the connection hangs: nothing is carried either way, and neither end is notified. */
  isDeaf = false
  #listener: BackplaneListener | undefined
  #state: BackplaneState = 'connecting'
  #isCut = false
  #waiting: { resolve: () => void; reject: (error: Error) => void }[] = []
  /** Subscriptions that wait for the end of {@link isDeaf}. */
  readonly #stuck: (() => void)[] = []

  constructor(engine: Engine, owner: string) {
    this.#engine = engine
    this.owner = owner
  }

  get state(): BackplaneState {
    return this.#state
  }

  async start(listener: BackplaneListener): Promise<void> {
    this.#listener = listener
    this.#engine.schedule(this.owner, this.lanes, 'start', () => this.#moved())
    await this.#connected()
  }

  publish(channel: string, bytes: Uint8Array): boolean {
    this.#engine.onOffer(this, channel, bytes)
    if (this.#state !== 'connected') return false
    if (this.#engine.roll(this.#engine.weather.full)) {
      this.#engine.lose(true)
      return false
    }
    const copy = Buffer.from(bytes)
    const { generation } = this
    this.#engine.note(`${this.owner} publishes ${describe(channel, copy)}`)
    this.#engine.onPublish(this, channel, copy)
    const arrive = (): void => {
      if (this.generation === generation && !this.isDeaf) this.#engine.carry(this, channel, copy)
    }
    this.#engine.schedule('world', this.#lanesOut, channel, arrive)
    return true
  }

  async subscribe(channel: string): Promise<void> {
    this.#wanted.add(channel)
    this.#engine.onSubscribe(this, channel)
    await this.#connected()
    if (this.#engine.roll(this.#engine.weather.refuse)) {
      this.#wanted.delete(channel)
      throw new Error('refused')
    }
    await this.#reached(() => {
      if (this.#wanted.has(channel)) this.subscribed.add(channel)
    })
    if (this.#wanted.has(channel)) this.confirmed.add(channel)
  }

  unsubscribe(channel: string): void {
    this.#wanted.delete(channel)
    this.confirmed.delete(channel)
    this.#engine.onUnsubscribe(this, channel)
    void this.#reached(() => {
      if (!this.#wanted.has(channel)) this.subscribed.delete(channel)
    }).catch(() => {}) // closed meanwhile
  }

  async close(): Promise<void> {
    this.#drop()
    this.#wanted.clear()
    this.#become('closed')
    this.#listener = undefined
  }

  /** Cuts the connection. */
  cut(): void {
    this.#engine.lose(false)
    this.#isCut = true
    this.#moved()
  }

  /** Lets the node connect again, and ends {@link isDeaf}. */
  restore(): void {
    this.isDeaf = false
    this.#isCut = false
    for (const proceed of this.#stuck.splice(0)) proceed()
    for (const channel of this.#wanted) if (this.#state === 'connected') this.subscribed.add(channel)
    this.#moved()
  }

  /** Makes the connection hang. */
  hang(): void {
    this.#engine.lose(true)
    this.isDeaf = true
  }

  /** Removes one subscription without notifying the node. */
  forget(index: number): void {
    this.#engine.lose(true)
    const channels = [...this.subscribed]
    const channel = channels[index % channels.length]
    if (channel !== undefined) this.subscribed.delete(channel)
  }

  /** Ends with its node. */
  die(): void {
    this.#listener = undefined
    this.#drop()
    this.#state = 'closed'
  }

  receive(channel: string, bytes: Buffer): void {
    if (this.#listener === undefined || this.#state !== 'connected') return
    this.#engine.note(`${this.owner} receives ${describe(channel, bytes)}`)
    this.#engine.onReceive(this, channel, bytes)
    this.#listener.onMessage(channel, Buffer.from(bytes))
  }

  #drop(): void {
    this.generation++
    this.subscribed.clear()
    this.#engine.leave(this)
  }

  #moved(): void {
    if (this.#listener === undefined || this.#state === 'closed') return
    if (this.#isCut) {
      if (this.#state !== 'connected') return
      this.generation++
      this.subscribed.clear()
      this.#become('reconnecting')
    } else if (this.#state !== 'connected') {
      for (const channel of this.#wanted) this.subscribed.add(channel)
      this.#become('connected')
    }
  }

  #become(state: BackplaneState): void {
    this.#state = state
    const waiting = this.#waiting
    if (state === 'connected' || state === 'closed') this.#waiting = []
    for (const { resolve, reject } of waiting) {
      if (state === 'connected') resolve()
      else if (state === 'closed') reject(new Error('closed'))
    }
    this.#listener?.onStateChange(state)
  }

  async #connected(): Promise<void> {
    if (this.#state === 'connected') return
    if (this.#state === 'closed') throw new Error('closed')
    await new Promise<void>((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  /** Runs a request at the engine, and resolves when this node has the reply. */
  async #reached(act: () => void): Promise<void> {
    const { generation } = this
    await new Promise<void>((resolve) => {
      const arrive = (): void => {
        if (this.generation === generation) act()
        this.#engine.schedule(this.owner, this.lanes, 'subscriptions', resolve)
      }
      this.#engine.schedule('world', this.#lanesOut, 'subscriptions', () => {
        if (this.isDeaf) this.#stuck.push(arrive)
        else arrive()
      })
    })
    // A connection that was lost meanwhile is made again with all channels that are wanted.
    await this.#connected()
  }
}

/** Returns a short form of a message for a trace, which differs when its bytes do. */
function describe(channel: string, bytes: Buffer): string {
  let hash = 0x811c9dc5
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193)
  return `${channel.slice(6)} kind ${bytes[1]} (${bytes.length} bytes, ${(hash >>> 0).toString(16)})`
}
