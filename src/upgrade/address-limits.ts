import type { IncomingMessage } from 'node:http'
import { Counts } from '../base/counts.ts'
import { HubError } from '../base/errors.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import { type AddressRule, addressKey } from './client-address.ts'

/** The interval at which full buckets are deleted. */
const SWEEP_INTERVAL_MS = 1_000
/** The number of proxies that are remembered: the most recent ones. */
const MAX_PROXIES = 1_000

/** Limits per address, 0 = none, and the number of upgrades that may be pending in total. */
export interface AddressLimitOptions {
  readonly maxConnectionsPerAddress: number
  readonly maxUpgradesPerSecondPerAddress: number
  readonly maxPendingUpgrades: number
}

/**
 * Limits connections, pending upgrades and the rate of upgrades per client address. Keeps only addresses with
 * something to count.
 */
export class AddressLimits {
  readonly #maxConnections: number
  readonly #maxUpgradesPerSecond: number
  /** The most pending upgrades of an address that may represent many clients, or that has no other limit. */
  readonly #maxPendingShare: number
  /** Whether addresses are counted at all. */
  readonly #isLimited: boolean
  readonly #addressOf: AddressRule | undefined
  readonly #connections = new Counts<string>()
  readonly #pending = new Counts<string>()
  /** Peers through which clients with other addresses came, according to the framework, the latest last. */
  readonly #proxies = new Set<string>()
  /**
   * The upgrades that each address may still make. A bucket is full after a second, and full ones are
   * deleted.
   */
  readonly #upgrades = new Map<string, TokenBucket>()
  #sweptAt = 0

  /**
   * @param addressOf the hub's own rule for the address of a client; `undefined` when the framework knows it
   */
  constructor(limits: AddressLimitOptions, addressOf?: AddressRule) {
    this.#maxConnections = limits.maxConnectionsPerAddress
    this.#maxUpgradesPerSecond = limits.maxUpgradesPerSecondPerAddress
    this.#maxPendingShare = Math.max(1, Math.floor(limits.maxPendingUpgrades / 2))
    this.#isLimited = this.#maxConnections > 0 || this.#maxUpgradesPerSecond > 0
    this.#addressOf = addressOf
  }

  /**
   * Counts an upgrade against its address, as a connection, before a route has seen it. If only the framework
   * knows the address of a client behind a proxy, the proxy may have half of all pending upgrades, once a
   * client with another address has come through it.
   * @returns a function that ends the counting
   * @throws {HubError} WSHUB_ERR_TOO_MANY_CONNECTIONS
   */
  enterPending(req: IncomingMessage): () => void {
    if (!this.#isLimited) return nothing
    const address = this.#addressBeforeRoute(req)
    if (address === undefined) return nothing
    const key = addressKey(address)
    const pending = this.#pending.of(key)
    const isTooMuch =
      this.#maxConnections === 0 || this.#proxies.has(key)
        ? pending >= this.#maxPendingShare
        : pending + this.#connections.of(key) >= this.#maxConnections
    if (isTooMuch) throw tooManyConnections()
    this.#pending.add(key)
    return () => this.#pending.remove(key)
  }

  /**
   * Checks an upgrade that has reached its route, and counts it against the rate.
   * @param peer the address of the TCP peer, which is a proxy if the client has another one
   * @throws {HubError} WSHUB_ERR_TOO_MANY_UPGRADES or WSHUB_ERR_TOO_MANY_CONNECTIONS
   */
  check(address: string | undefined, peer = address): void {
    if (address === undefined || !this.#isLimited) return
    const key = addressKey(address)
    if (this.#addressOf === undefined && peer !== undefined && peer !== address)
      this.#noteProxy(addressKey(peer))
    if (this.#maxUpgradesPerSecond > 0 && !this.#takeUpgrade(key)) {
      throw new HubError('WSHUB_ERR_TOO_MANY_UPGRADES', 'too many connections were opened in a second')
    }
    if (this.#maxConnections > 0 && this.#connections.of(key) >= this.#maxConnections) {
      throw tooManyConnections()
    }
  }

  /** Counts a connection from that address that was opened. */
  enter(address: string | undefined): void {
    if (address !== undefined && this.#maxConnections > 0) this.#connections.add(addressKey(address))
  }

  /** Stops counting a connection from that address that was closed. */
  leave(address: string | undefined): void {
    if (address !== undefined && this.#maxConnections > 0) this.#connections.remove(addressKey(address))
  }

  #addressBeforeRoute(req: IncomingMessage): string | undefined {
    try {
      return this.#addressOf === undefined ? req.socket.remoteAddress : this.#addressOf(req)
    } catch {
      return req.socket.remoteAddress // the application's function threw; `check` throws that again, where a route can catch it
    }
  }

  /** Trusts only the framework here: a client can write the headers of a proxy itself. */
  #noteProxy(key: string): void {
    this.#proxies.delete(key)
    this.#proxies.add(key)
    if (this.#proxies.size <= MAX_PROXIES) return
    const [oldest = key] = this.#proxies
    this.#proxies.delete(oldest)
  }

  #takeUpgrade(key: string): boolean {
    const now = performance.now()
    if (now - this.#sweptAt >= SWEEP_INTERVAL_MS) {
      this.#sweptAt = now
      for (const [other, bucket] of this.#upgrades) if (bucket.isFull(now)) this.#upgrades.delete(other)
    }
    let bucket = this.#upgrades.get(key)
    if (bucket === undefined) {
      bucket = new TokenBucket(this.#maxUpgradesPerSecond)
      this.#upgrades.set(key, bucket)
    }
    return bucket.tryTake(now)
  }
}

function nothing(): void {}

function tooManyConnections(): HubError {
  return new HubError('WSHUB_ERR_TOO_MANY_CONNECTIONS', 'too many connections from this address')
}
