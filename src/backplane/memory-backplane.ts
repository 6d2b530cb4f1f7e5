import type { Backplane, BackplaneListener, BackplaneState } from './backplane.ts'

/** Most bytes that wait for the end of the turn; a test that publishes in an endless loop would fill the heap. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024

/** What a message counts beside its bytes. */
const MESSAGE_OVERHEAD_BYTES = 256

/** Joins the {@link MemoryBackplane}s of one process. */
export class MemoryBus {
  readonly #attached = new Set<MemoryBackplane>()
  #waiting: { readonly channel: string; readonly bytes: Buffer }[] = []
  #waitingBytes = 0
  #isCut = false

  /** Whether {@link cut} was called, and {@link restore} was not. */
  get isCut(): boolean {
    return this.#isCut
  }

  /** Behaves as an engine that is away: the backplanes are `reconnecting`, and what was on its way is lost. */
  cut(): void {
    if (this.#isCut) return
    this.#isCut = true
    this.#waiting = []
    this.#waitingBytes = 0
    for (const backplane of this.#attached) backplane.busChanged()
  }

  /** Ends a {@link cut}: the backplanes are `connected` again. */
  restore(): void {
    if (!this.#isCut) return
    this.#isCut = false
    for (const backplane of this.#attached) backplane.busChanged()
  }

  /** @internal */
  attach(backplane: MemoryBackplane): void {
    this.#attached.add(backplane)
  }

  /** @internal */
  detach(backplane: MemoryBackplane): void {
    this.#attached.delete(backplane)
  }

  /** @internal Delivers in a later turn, as an engine does. */
  send(channel: string, bytes: Uint8Array): boolean {
    const size = bytes.byteLength + MESSAGE_OVERHEAD_BYTES
    if (this.#waitingBytes + size > MAX_WAITING_BYTES) return false
    this.#waitingBytes += size
    if (this.#waiting.push({ channel, bytes: Buffer.from(bytes) }) === 1) setImmediate(() => this.#deliver())
    return true
  }

  #deliver(): void {
    const messages = this.#waiting
    this.#waiting = []
    this.#waitingBytes = 0
    for (const { channel, bytes } of messages) {
      for (const backplane of this.#attached) backplane.receive(channel, bytes)
    }
  }
}

/** Carries bytes between the hubs of one process: for tests, and for several hubs side by side. */
export class MemoryBackplane implements Backplane {
  readonly #bus: MemoryBus
  readonly #channels = new Set<string>()
  /** Who waits for `connected`. */
  readonly #waiting = new Set<{ readonly resolve: () => void; readonly reject: (error: Error) => void }>()
  #listener: BackplaneListener | undefined
  #state: BackplaneState = 'connecting'

  /** @param bus what the backplanes share that hear one another */
  constructor(bus: MemoryBus) {
    this.#bus = bus
  }

  get state(): BackplaneState {
    return this.#state
  }

  async start(listener: BackplaneListener): Promise<void> {
    this.#listener = listener
    this.#bus.attach(this)
    setImmediate(() => this.busChanged())
    await this.#connected()
  }

  publish(channel: string, bytes: Uint8Array): boolean {
    return this.#state === 'connected' && this.#bus.send(channel, bytes)
  }

  subscribe(channel: string): Promise<void> {
    this.#channels.add(channel)
    const confirmed = this.#connected()
    confirmed.catch(() => {}) // a caller that does not wait is not told of the close that it asked for itself
    return confirmed
  }

  unsubscribe(channel: string): void {
    this.#channels.delete(channel)
  }

  /** What was published before goes its way: it is the bus that holds it. */
  async close(): Promise<void> {
    this.#bus.detach(this)
    this.#channels.clear()
    this.#become('closed')
  }

  /** @internal */
  busChanged(): void {
    if (!this.#bus.isCut) this.#become('connected')
    else if (this.#state === 'connected') this.#become('reconnecting')
  }

  /** @internal Gives the listener bytes of its own: it may write into them. */
  receive(channel: string, bytes: Buffer): void {
    if (this.#channels.has(channel)) this.#listener?.onMessage(channel, Buffer.from(bytes))
  }

  #become(state: BackplaneState): void {
    if (this.#state === state || this.#state === 'closed') return
    this.#state = state
    const waiting = [...this.#waiting]
    if (state !== 'reconnecting') this.#waiting.clear()
    for (const { resolve, reject } of waiting) {
      if (state === 'connected') resolve()
      if (state === 'closed') reject(new Error('The backplane is closed'))
    }
    this.#listener?.onStateChange(state)
  }

  async #connected(): Promise<void> {
    if (this.#state === 'closed') throw new Error('The backplane is closed')
    if (this.#state === 'connected') return
    await new Promise<void>((resolve, reject) => this.#waiting.add({ resolve, reject }))
  }
}
