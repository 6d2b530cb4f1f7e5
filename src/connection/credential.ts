import { HubError, show } from '../base/errors.ts'

/**
 * An expired credential stays valid for this many ms while a callback that may renew it runs, if
 * `openTimeoutMs` is 0.
 */
const RENEWAL_TIMEOUT_MS = 10_000

/** The connection that a {@link Credential} belongs to. */
export interface CredentialOwner {
  /** Whether the connection is open, and not waiting for its callbacks in order to close. */
  readonly isServed: boolean
  /** Stops delivering messages. */
  holdMessages(): void
  /** Calls `onExpire`. @returns as `runCallback` does */
  runOnExpire(then: () => void): (() => void) | undefined
  /** Limits the time of `onExpire`. */
  setDeadline(ms: number): void
  /**
   * `onExpire` has settled, or is no longer waited for: messages are delivered again, or the connection is
   * closed.
   */
  renewalEnded(): void
}

/** The credential of a connection: the time at which it expires, and its renewal by `onExpire`. */
export class Credential {
  readonly #owner: CredentialOwner
  /** The time limit of a callback that may renew it. */
  readonly renewalTimeoutMs: number
  /** In ms since the epoch; `undefined` = never. */
  expiresAt: number | undefined
  #isRenewing = false
  #stopWaiting: (() => void) | undefined

  constructor(owner: CredentialOwner, openTimeoutMs: number) {
    this.#owner = owner
    this.renewalTimeoutMs = openTimeoutMs || RENEWAL_TIMEOUT_MS
  }

  get isExpired(): boolean {
    return this.expiresAt !== undefined && this.expiresAt <= Date.now()
  }

  /** Whether `onExpire` is running. */
  get isRenewing(): boolean {
    return this.#isRenewing
  }

  /** Lets `onExpire` renew the credential. */
  askForRenewal(): void {
    const owner = this.#owner
    if (!owner.isServed || this.#isRenewing) return // a second `onExpire` has nothing to add
    this.#isRenewing = true
    owner.holdMessages()
    this.#stopWaiting = owner.runOnExpire(() => this.#end())
    if (this.#stopWaiting === undefined) this.#end()
    else if (owner.isServed) owner.setDeadline(this.renewalTimeoutMs)
  }

  /** Stops waiting for `onExpire`. */
  stopWaiting(): void {
    this.#stopWaiting?.()
  }

  #end(): void {
    if (!this.#isRenewing) return
    this.#isRenewing = false
    this.#stopWaiting = undefined
    this.#owner.renewalEnded()
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
