import type { Backplane, BackplaneListener, BackplaneState } from 'wshub'

/** The most messages that a backplane refuses because it is full. */
export const MAX_REFUSED = 10_000

/** A published message: its node, its channel, its bytes. */
export interface Published {
  readonly by: BusBackplane
  readonly channel: string
  readonly bytes: Buffer
}

/**
 * An engine within the process that can fail. In a later turn of the event loop it delivers copies of each
 * message, in order, to all backplanes that were subscribed when it was published.
 */
export class Bus {
  readonly published: Published[] = []
  readonly #backplanes = new Set<BusBackplane>()
  #isUp = true

  get isUp(): boolean {
    return this.#isUp
  }

  backplane(): BusBackplane {
    const backplane = new BusBackplane(this)
    this.#backplanes.add(backplane)
    return backplane
  }

  /** Stops the engine: all lose their connection. */
  stop(): void {
    this.#isUp = false
    for (const backplane of this.#backplanes) backplane.moved()
  }

  /** Starts the engine again, without its earlier state. */
  start(): void {
    this.#isUp = true
    for (const backplane of this.#backplanes) backplane.moved()
  }

  /** Publishes anything, as anyone who can reach the engine could. */
  inject(channel: string, bytes: Uint8Array): void {
    for (const backplane of this.#backplanes) backplane.take(channel, bytes)
  }

  carry(published: Published): void {
    this.published.push(published)
    for (const backplane of this.#backplanes) backplane.take(published.channel, published.bytes)
  }

  forget(backplane: BusBackplane): void {
    this.#backplanes.delete(backplane)
  }
}

/** The backplane of one hub on a {@link Bus}. */
export class BusBackplane implements Backplane {
  readonly channels = new Set<string>()
  /** Counts `subscribe` and `unsubscribe`. */
  readonly asked = { subscribe: 0, unsubscribe: 0 }
  /** Envelopes that were delivered to the hub. */
  received = 0
  /** Loses the messages for which it returns `true`, on their way to the hub. */
  drop: (channel: string, bytes: Buffer) => boolean = () => false
  /**
   * Holds back the messages for which it returns `true`, on their way to the hub, until `release`: channels
   * take different paths.
   */
  delay: (channel: string, bytes: Buffer) => boolean = () => false
  /** Accepts no message, though connected; after {@link MAX_REFUSED} all, so that an endless loop ends. */
  isFull = false
  /** How many messages were refused since the backplane was made. */
  refused = 0
  /** Refuses these subscriptions. */
  refuse: (channel: string) => boolean = () => false
  /** The reason for which `start` rejects. */
  startError: Error | undefined
  readonly #bus: Bus
  #listener: BackplaneListener | undefined
  #state: BackplaneState = 'connecting'
  #isCut = false
  #isStalled = false
  readonly #incoming: { channel: string; bytes: Buffer }[] = []
  readonly #delayed: { channel: string; bytes: Buffer }[] = []
  #waiting: (() => void)[] = []

  constructor(bus: Bus) {
    this.#bus = bus
  }

  get state(): BackplaneState {
    return this.#state
  }

  async start(listener: BackplaneListener): Promise<void> {
    if (this.#listener !== undefined) throw new Error('started twice')
    this.#listener = listener
    if (this.startError !== undefined) throw this.startError
    await new Promise((resolve) => setImmediate(resolve))
    this.moved()
    await this.#connected()
  }

  publish(channel: string, bytes: Uint8Array): boolean {
    if (this.#state !== 'connected') return false
    if (this.isFull && this.refused < MAX_REFUSED) {
      this.refused++
      return false
    }
    if (!/^[A-Za-z0-9_.-]{1,200}$/.test(channel)) throw new Error(`no channel: ${channel}`)
    this.#bus.carry({ by: this, channel, bytes: Buffer.from(bytes) })
    return true
  }

  async subscribe(channel: string): Promise<void> {
    this.asked.subscribe++
    if (this.refuse(channel)) throw new Error(`no permission for ${channel}`)
    this.channels.add(channel)
    await this.#connected()
  }

  unsubscribe(channel: string): void {
    this.asked.unsubscribe++
    this.channels.delete(channel)
  }

  async close(): Promise<void> {
    this.#bus.forget(this)
    this.channels.clear()
    this.#become('closed')
    this.#wake()
  }

  /** Cuts the connection to the engine. */
  cut(): void {
    this.#isCut = true
    this.moved()
  }

  /** Allows the connection again. */
  restore(): void {
    this.#isCut = false
    this.moved()
  }

  /** Holds all messages: the engine, or the path to it, hangs without a sign. */
  stall(): void {
    this.#isStalled = true
  }

  /** Delivers the held messages. */
  resume(): void {
    this.#isStalled = false
    this.#deliver()
  }

  /** Delivers the messages that were held back, and holds back no more. */
  release(): void {
    this.delay = () => false
    for (const { channel, bytes } of this.#delayed.splice(0)) this.take(channel, bytes)
  }

  /** Reports an error of the client library. */
  complain(error: Error): void {
    this.#listener?.onError(error)
  }

  /** Called by the bus when a message was published. */
  take(channel: string, bytes: Uint8Array): void {
    if (this.#state !== 'connected' || !this.channels.has(channel)) return
    const message = { channel, bytes: Buffer.from(bytes) }
    if (this.delay(channel, message.bytes)) {
      this.#delayed.push(message)
      return
    }
    this.#incoming.push(message)
    if (this.#incoming.length === 1) setImmediate(() => this.#deliver())
  }

  /** Called by the bus when the connection to the engine has opened or closed. */
  moved(): void {
    if (this.#listener === undefined || this.#state === 'closed') return
    if (this.#bus.isUp && !this.#isCut) {
      this.#become('connected')
      this.#wake()
    } else {
      this.#incoming.length = 0
      this.#become(this.#state === 'connecting' ? 'connecting' : 'reconnecting')
    }
  }

  #deliver(): void {
    if (this.#isStalled) return
    for (const { channel, bytes } of this.#incoming.splice(0)) {
      if (this.drop(channel, bytes)) continue
      this.received++
      this.#listener?.onMessage(channel, bytes)
    }
  }

  #become(state: BackplaneState): void {
    if (this.#state === state) return
    this.#state = state
    this.#listener?.onStateChange(state)
  }

  async #connected(): Promise<void> {
    while (this.#state !== 'connected') {
      if (this.#state === 'closed') throw new Error('closed')
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }
}
