import type { IncomingMessage } from 'node:http'
import { Counts } from '../base/counts.ts'
import { HubError } from '../base/errors.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import { type AddressRule, addressKey } from './client-address.ts'

/** Full buckets are deleted at intervals of this time. */
const SWEEP_INTERVAL_MS = 1_000
/** How many proxies are remembered: those that were told last. */
const MAX_PROXIES = 1_000

/** Per-address limits, 0 for none, and how many upgrades may be pending in all. */
export interface AddressLimitOptions {
  readonly maxConnectionsPerAddress: number
  readonly maxUpgradesPerSecondPerAddress: number
  readonly maxPendingUpgrades: number
}

/**
 * Limits connections, pending upgrades and the rate of upgrades per client address. Keeps only addresses that
 * count now.
 */
export class AddressLimits {
  readonly #maxConnections: number
  readonly #maxUpgradesPerSecond: number
  /** Most pending upgrades of an address that may stand for many clients, or that has no other limit. */
  readonly #maxPendingShare: number
  readonly #addressOf: AddressRule | undefined
  readonly #connections = new Counts<string>()
  readonly #pending = new Counts<string>()
  /** Peers by which clients with other addresses came, as the framework says, the latest last. */
  readonly #proxies = new Set<string>()
  /**
   * Upgrades that an address may still make. Each bucket is full after a second, and full ones are deleted.
   */
  readonly #upgrades = new Map<string, TokenBucket>()
  #sweptAt = 0

  /** @param addressOf the hub's own rule of which address a client has; `undefined` when the route says it */
  constructor(limits: AddressLimitOptions, addressOf?: AddressRule) {
    this.#maxConnections = limits.maxConnectionsPerAddress
    this.#maxUpgradesPerSecond = limits.maxUpgradesPerSecondPerAddress
    this.#maxPendingShare = Math.max(1, Math.floor(limits.maxPendingUpgrades / 2))
    this.#addressOf = addressOf
  }

  /**
   * Counts an upgrade against its address, as a connection, before a route has seen it. Where only the
   * framework knows which address a client behind a proxy has, the proxy may have half of all pending
   * upgrades, once it has told of a client.
   * @returns a function that ends the counting
   * @throws {HubError} WSHUB_ERR_TOO_MANY_CONNECTIONS
   */
  enterPending(req: IncomingMessage): () => void {
    const address = this.#addressBeforeRoute(req)
    if (address === undefined || (this.#maxConnections === 0 && this.#maxUpgradesPerSecond === 0)) {
      return () => {}
    }
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
   * Checks an upgrade that has come to its route, and counts it as one of its second.
   * @param peer the address of the TCP peer, which is a proxy where the client has another one
   * @throws {HubError} WSHUB_ERR_TOO_MANY_UPGRADES or WSHUB_ERR_TOO_MANY_CONNECTIONS
   */
  check(address: string | undefined, peer = address): void {
    if (address === undefined) return
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

  /** A connection from that address was opened. */
  enter(address: string | undefined): void {
    if (address !== undefined && this.#maxConnections > 0) this.#connections.add(addressKey(address))
  }

  /** A connection from that address was closed. */
  leave(address: string | undefined): void {
    if (address !== undefined && this.#maxConnections > 0) this.#connections.remove(addressKey(address))
  }

  #addressBeforeRoute(req: IncomingMessage): string | undefined {
    try {
      return this.#addressOf === undefined ? req.socket.remoteAddress : this.#addressOf(req)
    } catch {
      return req.socket.remoteAddress // the application's own function threw: `check` throws that where a route can see it
    }
  }

  /** On the word of the framework alone: a client can write the headers of a proxy itself. */
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

function tooManyConnections(): HubError {
  return new HubError('WSHUB_ERR_TOO_MANY_CONNECTIONS', 'too many connections from this address')
}
