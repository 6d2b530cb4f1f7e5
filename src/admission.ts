import { addressKey } from './client-address.ts'
import { HubError } from './errors.ts'

/** An address may use up a second's worth of upgrades at once. */
const BURST_MS = 1_000
/** Sums of fractions of a second are not exact. */
const TOLERANCE_MS = 0.001

/** Counts connections and upgrades by address, and refuses what is too much. Holds only addresses that count now. */
export class Admission {
  readonly #maxConnections: number
  readonly #maxUpgradesPerSecond: number
  readonly #connections = new Map<string, number>()
  /** A token bucket for each address: when it is full again, which is at most a second ahead. Full ones are swept out. */
  readonly #bucketFullAt = new Map<string, number>()
  #sweptAt = 0

  constructor(limits: {
    readonly maxConnectionsPerAddress: number
    readonly maxUpgradesPerSecondPerAddress: number
  }) {
    this.#maxConnections = limits.maxConnectionsPerAddress
    this.#maxUpgradesPerSecond = limits.maxUpgradesPerSecondPerAddress
  }

  /** @throws {HubError} WSHUB_ERR_TOO_MANY_UPGRADES or WSHUB_ERR_TOO_MANY_CONNECTIONS */
  check(address: string | undefined): void {
    if (address === undefined) return
    const key = addressKey(address)
    if (this.#maxUpgradesPerSecond > 0 && !this.#takeUpgrade(key)) {
      throw new HubError('WSHUB_ERR_TOO_MANY_UPGRADES', 'too many connections were opened in a second')
    }
    if (this.#maxConnections > 0 && (this.#connections.get(key) ?? 0) >= this.#maxConnections) {
      throw new HubError('WSHUB_ERR_TOO_MANY_CONNECTIONS', 'too many connections from this address')
    }
  }

  /** A connection from that address is there. */
  enter(address: string | undefined): void {
    if (address === undefined || this.#maxConnections === 0) return
    const key = addressKey(address)
    this.#connections.set(key, (this.#connections.get(key) ?? 0) + 1)
  }

  /** A connection from that address has gone. */
  leave(address: string | undefined): void {
    if (address === undefined || this.#maxConnections === 0) return
    const key = addressKey(address)
    const left = (this.#connections.get(key) ?? 0) - 1
    if (left > 0) this.#connections.set(key, left)
    else this.#connections.delete(key)
  }

  #takeUpgrade(key: string): boolean {
    const now = performance.now()
    if (now - this.#sweptAt >= BURST_MS) {
      this.#sweptAt = now
      for (const [other, fullAt] of this.#bucketFullAt) if (fullAt <= now) this.#bucketFullAt.delete(other)
    }
    const fullAt = Math.max(this.#bucketFullAt.get(key) ?? 0, now) + 1_000 / this.#maxUpgradesPerSecond
    if (fullAt - now > BURST_MS + TOLERANCE_MS) return false
    this.#bucketFullAt.set(key, fullAt)
    return true
  }
}
