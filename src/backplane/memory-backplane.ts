import { type Deferred, deferred } from '../base/deferred.ts'
import type { Backplane, BackplaneListener, BackplaneState } from './backplane.ts'
import type { BusSeat, MemoryBus } from './memory-bus.ts'

/** Carries bytes between the hubs of one process: for tests, and for several hubs side by side. */
export class MemoryBackplane implements Backplane {
  readonly #bus: MemoryBus
  readonly #channels = new Set<string>()
  #seat: BusSeat | undefined
  #listener: BackplaneListener | undefined
  #state: BackplaneState = 'connecting'
  #connected = handledDeferred()

  /** @param bus shared by the backplanes that receive each other's messages */
  constructor(bus: MemoryBus) {
    this.#bus = bus
  }

  get state(): BackplaneState {
    return this.#state
  }

  async start(listener: BackplaneListener): Promise<void> {
    if (this.#listener !== undefined) throw new Error('A backplane is started once')
    this.#listener = listener
    if (this.#state !== 'closed') {
      this.#seat = this.#bus.join({
        busChanged: () => this.#busChanged(),
        receive: (channel, bytes) => this.#receive(channel, bytes),
      })
    }
    await this.#connected.promise
  }

  publish(channel: string, bytes: Uint8Array): boolean {
    return this.#state === 'connected' && this.#seat?.send(channel, bytes) === true
  }

  subscribe(channel: string): Promise<void> {
    this.#channels.add(channel)
    return this.#connected.promise
  }

  unsubscribe(channel: string): void {
    this.#channels.delete(channel)
  }

  /** Messages that were published before are still delivered: the bus holds them. */
  async close(): Promise<void> {
    this.#seat?.leave()
    this.#channels.clear()
    this.#become('closed')
  }

  #busChanged(): void {
    if (!this.#bus.isCut) this.#become('connected')
    else if (this.#state === 'connected') this.#become('reconnecting')
  }

  /** Gives the listener bytes of its own: it may write into them. */
  #receive(channel: string, bytes: Buffer): void {
    if (this.#channels.has(channel)) this.#listener?.onMessage(channel, Buffer.from(bytes))
  }

  #become(state: BackplaneState): void {
    if (this.#state === state || this.#state === 'closed') return
    if (this.#state === 'connected') this.#connected = handledDeferred()
    this.#state = state
    if (state === 'connected') this.#connected.resolve()
    else if (state === 'closed') this.#connected.reject(new Error('The backplane is closed'))
    this.#listener?.onStateChange(state)
  }
}

/** Returns a deferred promise whose rejection need not be handled: whoever closes a backplane expects it. */
function handledDeferred(): Deferred<void> {
  const result = deferred()
  result.promise.catch(() => {})
  return result
}
