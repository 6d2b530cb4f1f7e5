import { channel } from 'node:diagnostics_channel'
import type { Connection } from './connection.ts'
import type { EventHandler } from './event-handler.ts'
import { type CallbackOwner, runCallback } from './run-callback.ts'

const openChannel = channel('wshub:open')

/** The most closed connections that wait for their `onOpen`; above that, the oldest no longer waits. */
const MAX_DEFERRED_CLOSES = 10_000

/** Openings whose connections are closed, and whose `onClose` waits for `onOpen`. */
export type DeferredCloses = Set<{ stopWaiting(): void }>

/** The connection that an {@link Opening} belongs to. */
export interface OpeningOwner<Meta extends object> extends CallbackOwner {
  readonly connection: Connection<Meta>
  readonly handler: EventHandler<Meta>
}

/**
 * The time until `onOpen` has settled. A connection that is closed meanwhile waits for that with its
 * `onClose`.
 */
export class Opening<Meta extends object> {
  /** Resolves when `onOpen` has settled. */
  readonly opened: Promise<Connection<Meta>>
  readonly #owner: OpeningOwner<Meta>
  #resolve: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined
  #runOnClose: (() => void) | undefined
  #deferred: DeferredCloses | undefined
  #stopWaiting: (() => void) | undefined

  constructor(owner: OpeningOwner<Meta>) {
    this.#owner = owner
    this.opened = new Promise((resolve) => {
      this.#resolve = () => resolve(owner.connection)
    })
  }

  /** Calls `onOpen`. @param then is called once it has settled, or is no longer waited for */
  run(then: () => void): void {
    const owner = this.#owner
    const { connection } = owner
    if (openChannel.hasSubscribers) openChannel.publish({ connection })
    this.#stopWaiting = runCallback('onOpen', () => owner.handler.onOpen?.(connection), owner, then)
    if (this.#stopWaiting === undefined) then()
  }

  /** Stops waiting for `onOpen`, if it has returned a promise. */
  stopWaiting(): void {
    this.#stopWaiting?.()
  }

  /**
   * Keeps `onClose` until `onOpen` has settled. The keepalive no longer watches a closed connection, so a
   * timer of its own limits that.
   * @param timeoutMs 0 = no limit, but for the number of those that wait
   * @param deferred has this opening meanwhile
   */
  deferOnClose(run: () => void, timeoutMs: number, deferred: DeferredCloses): void {
    const [oldest] = deferred.size >= MAX_DEFERRED_CLOSES ? deferred : []
    oldest?.stopWaiting()
    this.#runOnClose = run
    this.#deferred = deferred.add(this)
    if (timeoutMs > 0) this.#timer = setTimeout(() => this.stopWaiting(), timeoutMs).unref()
  }

  /** Resolves {@link Opening.opened}. @param receiver delivers the first messages, but not after the close */
  settle(receiver: { readonly isFlowing: boolean; start(): void }): void {
    clearTimeout(this.#timer)
    this.#deferred?.delete(this)
    this.#resolve?.()
    if (this.#runOnClose !== undefined) this.#runOnClose()
    // A turn later, so that the code after `await upgradeWebSocket(…)` runs before the first message.
    else if (!receiver.isFlowing) setImmediate(() => receiver.start())
  }
}
