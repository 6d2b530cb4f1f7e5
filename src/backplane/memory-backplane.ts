import type { Backplane, BackplaneListener, BackplaneState } from './backplane.ts'
import { BackplaneLife } from './backplane-life.ts'
import { followBus } from './bus-members.ts'
import type { MemoryBus } from './memory-bus.ts'

/** Carries bytes between the hubs of one process: for tests, and for several hubs side by side. */
export class MemoryBackplane implements Backplane {
  readonly #bus: MemoryBus
  readonly #life = new BackplaneLife()
  #leave: (() => void) | undefined

  /** @param bus shared by the backplanes that receive each other's messages */
  constructor(bus: MemoryBus) {
    this.#bus = bus
  }

  get state(): BackplaneState {
    return this.#life.state
  }

  start(listener: BackplaneListener): Promise<void> {
    return this.#life.start(listener, () => {
      this.#leave = this.#bus.join({
        busChanged: () => followBus(this.#life, this.#bus.isCut),
        receive: ({ channel, bytes }) => this.#receive(channel, bytes),
      })
    })
  }

  publish(channel: string, bytes: Uint8Array): boolean {
    return this.state === 'connected' && this.#bus.send(channel, bytes)
  }

  subscribe(channel: string): Promise<void> {
    return this.#life.subscribe(channel, () => {
      if (this.state === 'connected') this.#life.channels.confirm(channel)
    })
  }

  unsubscribe(channel: string): void {
    this.#life.channels.delete(channel)
  }

  /** Messages that were published before are still delivered: the bus holds them. */
  async close(): Promise<void> {
    this.#leave?.()
    this.#life.close()
  }

  /** Copies the bytes: each receiver may write into its own. */
  #receive(channel: string, bytes: Buffer): void {
    if (this.#life.channels.has(channel)) this.#life.receive(channel, Buffer.from(bytes))
  }
}
