import type { IncomingMessage } from 'node:http'
import { HubError, show } from '../base/errors.ts'
import { checkHandshake } from '../protocol/handshake.ts'
import { type AddressLimitOptions, AddressLimits } from './address-limits.ts'
import {
  type AddressRule,
  addressRule,
  type ProxyHeader,
  type SecureRule,
  secureRule,
  type TrustProxy,
} from './client-address.ts'
import { isEncrypted } from './is-encrypted.ts'
import { type HostRule, hostRule, type OriginRule, originRule } from './origin.ts'
import { type FrameworkInit, type ResolvedInit, resolveInit, type UpgradeInit } from './upgrade-init.ts'

/** The options of a hub that a gate needs. */
export interface GateOptions {
  readonly maxConnections: number
  readonly allowedOrigins: readonly string[]
  readonly allowedHosts: readonly string[]
  readonly trustProxy: TrustProxy
  readonly proxyHeader: ProxyHeader
  readonly limits: AddressLimitOptions & { readonly maxMetadataEntries: number }
}

/** The hub behind a gate. */
export interface GateHub {
  /** `open` while it accepts connections. */
  readonly state: string
  /** The number of connections. */
  readonly size: number
}

/** An upgrade that has passed all checks; only the 101 is left. */
export interface AdmittedUpgrade {
  readonly init: ResolvedInit
  /** The address of the client; `undefined` for a socket without one. */
  readonly remoteAddress: string | undefined
}

/** Decides who may connect. All checks are made before the 101: after it, no HTTP answer is possible. */
export class UpgradeGate {
  readonly #hub: GateHub
  readonly #maxConnections: number
  readonly #maxMetadataEntries: number
  readonly #addresses: AddressLimits
  /** The rule from `trustProxy` and `proxyHeader`; `undefined` while no proxy is trusted. */
  readonly #addressOf: AddressRule | undefined
  /** The same, for TLS. */
  readonly #isSecure: SecureRule | undefined
  readonly #isOriginAllowed: OriginRule
  readonly #isHostAllowed: HostRule

  /** @throws {HubError} WSHUB_ERR_INVALID_OPTION for a malformed address, origin or host */
  constructor(options: GateOptions, hub: GateHub) {
    const { trustProxy, proxyHeader, limits } = options
    this.#hub = hub
    this.#maxConnections = options.maxConnections
    this.#maxMetadataEntries = limits.maxMetadataEntries
    this.#addressOf = trustProxy === false ? undefined : addressRule(trustProxy, proxyHeader)
    this.#isSecure = trustProxy === false ? undefined : secureRule(trustProxy, proxyHeader)
    this.#isOriginAllowed = originRule(options.allowedOrigins)
    this.#isHostAllowed = hostRule(options.allowedHosts)
    this.#addresses = new AddressLimits(limits, this.#addressOf)
  }

  /**
   * Counts a pending upgrade against the address of its client.
   * @returns a function that ends the counting
   * @throws {HubError} WSHUB_ERR_TOO_MANY_CONNECTIONS
   */
  enterPending(req: IncomingMessage): () => void {
    return this.#addresses.enterPending(req)
  }

  /**
   * Checks an upgrade that a route accepts, in this order: hub, handshake, `init`, host, origin, room in the
   * hub, address.
   * @throws {HubError} the reason of the refusal, with its HTTP status
   */
  admit(req: IncomingMessage, init: UpgradeInit, framework: FrameworkInit): AdmittedUpgrade {
    this.checkOpen()
    checkHandshake(req)
    const resolved = resolveInit(init, this.#maxMetadataEntries, framework)
    this.#checkPage(req, resolved.isSecure)
    this.checkNotFull()
    const { remoteAddress: peer } = req.socket
    const remoteAddress =
      this.#addressOf === undefined ? (resolved.remoteAddress ?? peer) : this.#addressOf(req)
    this.#addresses.check(remoteAddress, peer)
    return { init: resolved, remoteAddress }
  }

  /** @throws {HubError} WSHUB_ERR_HUB_CLOSED */
  checkOpen(): void {
    if (this.#hub.state !== 'open')
      throw new HubError('WSHUB_ERR_HUB_CLOSED', 'the hub accepts no more connections')
  }

  /** @throws {HubError} WSHUB_ERR_HUB_FULL */
  checkNotFull(): void {
    if (this.#hub.size < this.#maxConnections) return
    throw new HubError('WSHUB_ERR_HUB_FULL', `the hub is full: ${this.#maxConnections} connections`)
  }

  /** Counts a connection that was opened. */
  enter(remoteAddress: string | undefined): void {
    this.#addresses.enter(remoteAddress)
  }

  /** Counts a connection that was closed. */
  leave(remoteAddress: string | undefined): void {
    this.#addresses.leave(remoteAddress)
  }

  /** Checks the page that a browser shows: its origin, and the host by which it found this server. */
  #checkPage(req: IncomingMessage, isSecureForFramework: boolean): void {
    const { origin, host } = req.headers
    if (!this.#isHostAllowed(host)) {
      throw new HubError('WSHUB_ERR_HOST', `the host ${show(host)} is not allowed`)
    }
    const isSecure = isEncrypted(req.socket) || (this.#isSecure?.(req) ?? isSecureForFramework)
    if (!this.#isOriginAllowed(origin, host, isSecure)) {
      throw new HubError('WSHUB_ERR_ORIGIN', `the origin ${show(origin)} is not allowed`)
    }
  }
}
