import { HubError, show } from '../base/errors.ts'
import type { Ending } from './close-cause.ts'
import type { Connection } from './connection.ts'
import { EXPIRED } from './endings.ts'
import type { EventHandler } from './event-handler.ts'
import { type CallbackOwner, runCallback } from './run-callback.ts'

/**
 * An expired credential stays valid for this many ms while a callback that may renew it runs, if
 * `openTimeoutMs` is 0.
 */
const RENEWAL_TIMEOUT_MS = 10_000

/** The connection that a {@link Credential} belongs to. */
export interface CredentialOwner<Meta extends object> extends CallbackOwner {
  readonly connection: Connection<Meta>
  readonly handler: EventHandler<Meta>
  /** Holds messages back while `onExpire` runs. */
  readonly receiver: { hold(): void; release(): void }
  /** Whether `onOpen` has not settled. */
  readonly isOpening: boolean
  /** Whether the connection is open, and not waiting for its callbacks in order to close. */
  readonly isServed: boolean
  /** Whether messages that arrive are delivered. */
  readonly isDelivering: boolean
  /** Limits the time of a callback; 0 = no limit. */
  setDeadline(ms: number): void
  /** Calls {@link Credential.expired} at that time; `undefined` = never. */
  setExpiry(at: number | undefined): void
  close(ending: Ending): void
}

/** The credential of a connection: the time at which it expires, and its renewal by `onExpire`. */
export class Credential<out Meta extends object> {
  readonly #owner: CredentialOwner<Meta>
  readonly #openTimeoutMs: number
  #expiresAt: number | undefined
  #isRenewing = false
  #stopWaiting: (() => void) | undefined

  constructor(owner: CredentialOwner<Meta>, openTimeoutMs: number) {
    this.#owner = owner
    this.#openTimeoutMs = openTimeoutMs
  }

  /** In ms since the epoch; `undefined` = never. */
  get expiresAt(): number | undefined {
    return this.#expiresAt
  }

  get isExpired(): boolean {
    return this.#expiresAt !== undefined && this.#expiresAt <= Date.now()
  }

  /** Whether `onExpire` is running. */
  get isRenewing(): boolean {
    return this.#isRenewing
  }

  /** Sets the time of expiry. @throws {HubError} WSHUB_ERR_INVALID_OPTION when `at` is no time */
  renew(at: Date | number | undefined): void {
    this.#expiresAt = at === undefined ? undefined : readExpiry(at)
    this.#owner.setExpiry(this.#expiresAt)
  }

  /** Lets `onExpire` renew the credential that has expired. */
  expired(): void {
    const owner = this.#owner
    if (!owner.isOpening) this.#askForRenewal()
    // It waits for `onOpen`, which may renew it and has its own deadline, or else gets this one.
    else if (owner.isServed && this.#openTimeoutMs === 0) owner.setDeadline(RENEWAL_TIMEOUT_MS)
  }

  /** Stops waiting for `onExpire`. */
  stopWaiting(): void {
    this.#stopWaiting?.()
  }

  #askForRenewal(): void {
    const owner = this.#owner
    if (!owner.isServed || this.#isRenewing) return // a second `onExpire` has nothing to add
    this.#isRenewing = true
    owner.receiver.hold()
    const onExpire = () => owner.handler.onExpire?.(owner.connection)
    this.#stopWaiting = runCallback('onExpire', onExpire, owner, () => this.#end())
    if (this.#stopWaiting === undefined) this.#end()
    else if (owner.isServed) owner.setDeadline(this.#openTimeoutMs || RENEWAL_TIMEOUT_MS)
  }

  /** `onExpire` has settled, or is no longer waited for. */
  #end(): void {
    if (!this.#isRenewing) return
    this.#isRenewing = false
    this.#stopWaiting = undefined
    const owner = this.#owner
    if (!owner.isDelivering) return
    if (owner.isServed) owner.setDeadline(0)
    owner.receiver.release()
    if (this.isExpired) owner.close(EXPIRED)
  }
}

/** Returns ms since the epoch. @throws {HubError} WSHUB_ERR_INVALID_OPTION when `at` is no time */
export function readExpiry(at: Date | number): number {
  const ms: unknown = at instanceof Date ? at.getTime() : at
  if (typeof ms === 'number' && !Number.isNaN(ms)) return ms
  throw new HubError(
    'WSHUB_ERR_INVALID_OPTION',
    `expiresAt is a valid Date or ms since the epoch, not ${show(at)}`,
  )
}
