import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Hub, HubDiagnostics } from 'wshub'
import { Guard } from './guard.ts'

type Name = keyof HubDiagnostics

/** Listens to the events of one hub, until it is closed. Errors of the listeners stay outside the hub. */
export class HubEvents {
  readonly #cluster: unknown
  readonly #listeners: { readonly name: Name; readonly listener: (message: unknown) => void }[] = []
  readonly #guard: Guard
  readonly #stopped: () => void

  /**
   * @param where names the function that listens, in a warning
   * @param stopped is called once: by {@link HubEvents.stop}, or when the hub is closed
   */
  constructor(hub: Hub<object>, where: string, stopped: () => void = () => {}) {
    this.#cluster = hub.cluster
    this.#guard = new Guard(where)
    this.#stopped = stopped
    this.on('wshub:hub:closed', () => this.stop())
  }

  /** Calls back for each event on a channel that concerns the hub. */
  on<Each extends Name>(name: Each, listen: (message: HubDiagnostics[Each]) => unknown): void {
    const listener = (message: unknown) => {
      const event = message as HubDiagnostics[Each] // as the channel is documented
      const hub = 'hub' in event ? event.hub : event.connection.hub
      // Not the hub itself: a gateway of Nest has a view of it.
      if (hub.cluster === this.#cluster) this.#guard.run(listen, event)
    }
    this.#listeners.push({ name, listener })
    subscribe(name, listener)
  }

  /** Stops listening. */
  stop(): void {
    if (this.#listeners.length === 0) return
    for (const { name, listener } of this.#listeners.splice(0)) unsubscribe(name, listener)
    this.#guard.run(this.#stopped)
  }
}
