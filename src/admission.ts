import { addressKey } from './client-address.ts'
import { HubError } from './errors.ts'

const WINDOW_MS = 1_000

/** Counts connections and upgrades by address, and refuses what is too much. Holds only addresses that count now. */
export class Admission {
  readonly #maxConnections: number
  readonly #maxUpgradesPerSecond: number
  readonly #connections = new Map<string, number>()
  /** Upgrades of the second that began at `#windowStart`. */
  readonly #upgrades = new Map<string, number>()
  #windowStart = 0

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
    if (this.#maxUpgradesPerSecond > 0 && this.#countUpgrade(key) > this.#maxUpgradesPerSecond) {
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

  #countUpgrade(key: string): number {
    const now = performance.now()
    if (now - this.#windowStart >= WINDOW_MS) {
      this.#windowStart = now
      this.#upgrades.clear()
    }
    const count = (this.#upgrades.get(key) ?? 0) + 1
    this.#upgrades.set(key, count)
    return count
  }
}
