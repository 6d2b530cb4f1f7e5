import { channel } from 'node:diagnostics_channel'
import { settlesWithin } from '../base/time-limit.ts'
import type { Calls } from '../cluster/calls.ts'
import type { CloseResult, ResolvedCloseOptions } from './close-options.ts'
import type { RoomServices } from './room-services.ts'
import type { Sessions } from './sessions.ts'
import { Shutdown } from './shutdown.ts'
import type { HubState } from './stats.ts'
import type { Upgrades } from './upgrades.ts'

const closedChannel = channel('wshub:hub:closed')

/** The life of a hub, and the end of all that it consists of. */
export class HubLife<Meta extends object> {
  readonly #sessions: Sessions<Meta>
  readonly #upgrades: Upgrades<Meta>
  readonly #shutdown: Shutdown<Meta>
  #state: HubState = 'open'
  #closing: Promise<CloseResult> | undefined

  constructor(sessions: Sessions<Meta>, upgrades: Upgrades<Meta>) {
    this.#sessions = sessions
    this.#upgrades = upgrades
    this.#shutdown = new Shutdown(sessions)
  }

  get state(): HubState {
    return this.#state
  }

  /** Must be called when the hub has lost its last connection, before the `onClose` of that one. */
  lastClosed(): void {
    this.#shutdown.lastClosed()
  }

  /** Closes everything, once. */
  close(goodbye: ResolvedCloseOptions, services: RoomServices<Meta>, calls: Calls): Promise<CloseResult> {
    this.#closing ??= this.#close(goodbye, services, calls)
    return this.#closing
  }

  async #close(
    goodbye: ResolvedCloseOptions,
    { history, presence }: RoomServices<Meta>,
    calls: Calls,
  ): Promise<CloseResult> {
    const endsAt = performance.now() + goodbye.timeoutMs
    this.#state = 'closing'
    this.#upgrades.refuseAll()
    const leftMs = () => Math.max(0, endsAt - performance.now())
    const stored = history?.settled
    if (stored !== undefined) await settlesWithin(goodbye.timeoutMs, stored)
    const result = await this.#shutdown.run({ ...goodbye, timeoutMs: leftMs() })
    await history?.close(leftMs())
    presence?.close()
    await calls.close(leftMs())
    this.#sessions.stop()
    this.#upgrades.close()
    this.#state = 'closed'
    if (closedChannel.hasSubscribers) closedChannel.publish({ hub: this.#sessions.hub })
    return result
  }
}
