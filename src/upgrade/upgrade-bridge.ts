import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Server as HttpServer, type IncomingMessage } from 'node:http'
import { Server as HttpsServer } from 'node:https'
import { Server as NetServer } from 'node:net'
import { HubError } from '../base/errors.ts'
import { AttachedServer, closedError } from './attached-server.ts'
import { Deadlines } from './deadlines.ts'
import type { PendingUpgrade, UpgradeKeeper } from './pending-upgrade.ts'
import { mayBeCut } from './plain-request.ts'
import { registry, type ServerHub } from './upgrade-registry.ts'
import { isHttp2, type UpgradeServer } from './upgrade-server.ts'

export type { PendingUpgrade } from './pending-upgrade.ts'

/**
 * The interval, in ms, of checks of pending upgrades: no event tells that a server has stopped listening, or
 * that a client has disconnected after bytes that nobody reads.
 */
const LOOK_MS = 1_000

/** Node publishes `{ socket }` here for each TCP connection, before any byte of it is parsed. */
const SOCKET_CHANNEL = 'net.server.socket'

/**
 * Node publishes `{ server }` here when a server has begun to listen. The other channel is too late for one
 * of HTTP/2 without TLS, whose first session has sent its settings by then.
 */
const LISTEN_CHANNEL = 'tracing:net.server.listen:asyncEnd'

/** The number of upgrades that may be pending, their time limit, and the most of one HTTP/2 session. */
export interface PendingLimits {
  readonly maxConnectionsPerSession: number
  readonly maxPendingUpgrades: number
  readonly upgradeTimeoutMs: number
}

/** The hub behind a bridge. */
export interface BridgeHost {
  /**
   * Counts a pending upgrade against the address of its client.
   * @returns a function that ends the counting
   * @throws {HubError} WSHUB_ERR_TOO_MANY_CONNECTIONS
   */
  enterPending(req: IncomingMessage): () => void
  /** Called when the bridge, not a route, has refused an upgrade. */
  refused(req: IncomingMessage, error: HubError): void
}

/** Passes the upgrades of servers through their ordinary request pipeline, for one hub. */
export class UpgradeBridge implements ServerHub, UpgradeKeeper {
  readonly #limits: PendingLimits
  readonly #host: BridgeHost
  #isLeaving = false
  /** The number of upgrades in the tick of their event, in which most are settled. */
  #entered = 0
  /** Upgrades that wait for the application. */
  readonly #pending = new Set<PendingUpgrade>()
  /**
   * Upgrades whose answer is held back since the request may be another listener's, the oldest first. They do
   * not count as pending: otherwise clients of a neighbour that reconnect again and again would exclude ours.
   */
  readonly #held = new Set<PendingUpgrade>()
  /** When those of both kinds must be settled. */
  readonly #deadlines: Deadlines<PendingUpgrade>
  /**
   * The attached servers, each with its detach function. Bounded by the servers of the process: a server that
   * closes is removed.
   */
  readonly #servers = new Map<UpgradeServer, () => void>()
  /** Servers that were detached and still listen: connections of the hub may have come through them. */
  readonly #detached = new Set<UpgradeServer>()
  #looks: NodeJS.Timeout | undefined
  #discovering = false
  readonly #discover = (message: unknown): void => {
    const { server } = (message as { socket: { server?: unknown } }).socket // as Node documents the channel
    if (server instanceof HttpServer || server instanceof HttpsServer) this.attach(server)
    else this.#discoverHttp2(server)
  }
  readonly #discoverListening = (message: unknown): void => {
    this.#discoverHttp2((message as { server: unknown }).server) // as Node documents the channel
  }

  constructor(limits: PendingLimits, host: BridgeHost) {
    this.#limits = limits
    this.#host = host
    this.#deadlines = new Deadlines(limits.upgradeTimeoutMs, (pending) => this.#timedOut(pending))
  }

  /** Upgrades that are neither accepted nor answered yet. */
  get pendingCount(): number {
    return this.#pending.size + this.#entered
  }

  get isLeaving(): boolean {
    return this.#isLeaving
  }

  get maxConnectionsPerSession(): number {
    return this.#limits.maxConnectionsPerSession
  }

  get upgradeTimeoutMs(): number {
    return this.#limits.upgradeTimeoutMs
  }

  /**
   * Counts an upgrade as pending until it is settled.
   * @returns the reason for which it has to be refused instead
   */
  admit(pending: PendingUpgrade): HubError | undefined {
    const { req, server } = pending
    const { maxPendingUpgrades } = this.#limits
    // Checked here, because a framework that is closing answers by itself, without a Retry-After.
    if (isLeft(server)) return closedError()
    if (mayBeCut(server, req)) {
      return new HubError('WSHUB_ERR_TOO_MANY_HEADERS', 'the request has more headers than the server keeps')
    }
    if (this.pendingCount >= maxPendingUpgrades) {
      return new HubError(
        'WSHUB_ERR_TOO_MANY_PENDING',
        `more than ${maxPendingUpgrades} upgrades are pending`,
      )
    }
    try {
      pending.uncount = this.#host.enterPending(req)
    } catch (error) {
      if (error instanceof HubError) return error
      throw error
    }
    this.#entered++
    pending.keeper = this
    return undefined
  }

  waiting(pending: PendingUpgrade): void {
    this.#entered--
    this.#pending.add(pending)
    this.#deadlines.add(pending)
    this.#looks ??= setInterval(() => this.#lookAtPending(), LOOK_MS).unref()
  }

  settled(pending: PendingUpgrade, isWaiting: boolean): void {
    if (!isWaiting) {
      this.#entered--
      return
    }
    this.#deadlines.delete(pending)
    this.#pending.delete(pending)
    this.#held.delete(pending)
  }

  /**
   * Holds an answer back, and sends the oldest ones if there are too many: each has its whole body in memory.
   */
  hold(pending: PendingUpgrade): void {
    if (!this.#pending.delete(pending)) return
    this.#held.add(pending)
    const [oldest = pending] = this.#held
    if (this.#held.size > this.#limits.maxPendingUpgrades) this.send(oldest)
  }

  /** Sends an answer, which counts as pending until its client has received it. */
  send(pending: PendingUpgrade): void {
    if (this.#held.delete(pending)) this.#pending.add(pending)
    pending.claim()
  }

  /** Answers an upgrade that is not admitted, or no longer. */
  refuse(pending: PendingUpgrade, error: HubError): void {
    if (pending.refuse(error)) this.#host.refused(pending.req, error)
  }

  /** Attaches a server, once; returns the function that detaches it. */
  attach(server: UpgradeServer): () => void {
    const attached = this.#servers.get(server)
    if (attached !== undefined) return attached
    const detach = (): void => {
      if (!this.#servers.delete(server)) return
      registry.servers.get(server)?.remove(this)
      if (server.listening) this.#detached.add(server)
      else this.serverClosed(server)
    }
    this.#servers.set(server, detach)
    this.#detached.delete(server)
    AttachedServer.attach(server, this)
    return detach
  }

  /** Called when a server has closed that is attached, or was. */
  serverClosed(server: UpgradeServer): void {
    this.#servers.get(server)?.()
    this.#detached.delete(server)
    registry.servers.get(server)?.forget(this)
  }

  /**
   * Attaches every http(s) server of this process that accepts a TCP connection from now on. Middleware does
   * not know its server, and the first request may be an upgrade. A server that is not ours behaves as
   * before: without an `upgrade` listener, Node passes an upgrade to the request listeners too. Only the
   * limits on pending upgrades apply to it as well.
   * @returns the function that ends the search
   */
  discover(): () => void {
    if (!this.#discovering) {
      subscribe(SOCKET_CHANNEL, this.#discover)
      subscribe(LISTEN_CHANNEL, this.#discoverListening)
    }
    this.#discovering = true
    return () => this.#stopDiscovering()
  }

  #stopDiscovering(): void {
    if (!this.#discovering) return
    unsubscribe(SOCKET_CHANNEL, this.#discover)
    unsubscribe(LISTEN_CHANNEL, this.#discoverListening)
    this.#discovering = false
  }

  #discoverHttp2(server: unknown): void {
    if (!(server instanceof NetServer) || !isHttp2(server)) return
    // A listener for requests has Node make requests of streams, which a server without one does not want.
    if (server.listenerCount('request') > 0) this.attach(server)
  }

  /** Returns the servers of this hub's connections that have stopped listening, which no event reports. */
  closingServers(): UpgradeServer[] {
    return [...this.#servers.keys(), ...this.#detached].filter((server) => !server.listening)
  }

  /** Refuses further upgrades: the hub is closing. */
  leave(): void {
    this.#isLeaving = true
  }

  /**
   * Ends pending upgrades, since the server's own close would wait for them, and detaches from everything.
   */
  close(): void {
    for (const pending of [...this.#pending, ...this.#held]) {
      // A held one may be another listener's; one of another hub's server is left to that hub.
      if (!pending.isHeld && isLeft(pending.server)) this.refuse(pending, closedError())
    }
    this.#stopDiscovering()
    for (const detach of this.#servers.values()) detach()
    for (const server of this.#detached) this.serverClosed(server)
    if (this.#pending.size + this.#held.size === 0) {
      this.#stopLooking()
      this.#deadlines.stop()
    }
  }

  #stopLooking(): void {
    clearInterval(this.#looks)
    this.#looks = undefined
  }

  /** Also ends an answer that has begun: a client that does not read it would hold its socket forever. */
  #timedOut(pending: PendingUpgrade): void {
    // Called again later, since the time of an answer that is held back starts when that is over.
    if (pending.isHeld && pending.response.headersSent) return
    const message = `the upgrade was not answered within ${this.#limits.upgradeTimeoutMs} ms`
    this.refuse(pending, new HubError('WSHUB_ERR_UPGRADE_TIMEOUT', message))
  }

  #lookAtPending(): void {
    if (this.#pending.size + this.#held.size === 0) this.#stopLooking()
    for (const pending of [...this.#pending, ...this.#held]) {
      if (!pending.isHeld) pending.client.readEarlyBytes()
      if (!pending.isHeld && pending.wasListening && !pending.server.listening) {
        this.refuse(pending, closedError())
      }
    }
  }
}

/**
 * Returns the pending upgrade that a request belongs to.
 * @throws {HubError} WSHUB_ERR_ALREADY_UPGRADED, WSHUB_ERR_NOT_ATTACHED or WSHUB_ERR_SOCKET_CLOSED
 */
export function findUpgrade(req: IncomingMessage): PendingUpgrade {
  const pending = registry.upgrades.get(req)
  if (pending === 'accepted') {
    throw new HubError('WSHUB_ERR_ALREADY_UPGRADED', 'this request has been upgraded already')
  }
  if (pending === undefined) {
    throw new HubError(
      'WSHUB_ERR_NOT_ATTACHED',
      'the upgrade did not come through the hub: call hub.attach(server) before the server accepts connections' +
        ' (on Bun always: middleware cannot find its server there)',
    )
  }
  if (pending.isTaken || !pending.client.socket.readable) {
    throw new HubError('WSHUB_ERR_SOCKET_CLOSED', 'the client has disconnected')
  }
  return pending
}

/** Takes the socket from its HTTP response: from now on it carries WebSocket frames. */
export function completeUpgrade(pending: PendingUpgrade): void {
  registry.upgrades.set(pending.req, 'accepted')
  pending.accept()
}

/** Stops waiting for other listeners, because one of our routes handles the request. */
export function claimUpgrade(req: IncomingMessage): void {
  const pending = registry.upgrades.get(req)
  if (pending !== 'accepted') pending?.claim()
}

/** Returns whether all hubs of a server are closing. */
function isLeft(server: UpgradeServer): boolean {
  return registry.servers.get(server)?.isLeft ?? false
}
