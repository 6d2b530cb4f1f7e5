import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Server as HttpsServer } from 'node:https'
import type { Duplex } from 'node:stream'
import { HubError } from '../base/errors.ts'
import { hasBody, isWebSocketUpgrade, listIncludes } from '../protocol/handshake.ts'
import { PendingUpgrade } from './pending-upgrade.ts'
import { continueAsHttp, mayBeCut, noteResponse } from './plain-request.ts'
import type { UpgradeServer } from './upgrade-server.ts'

export type { PendingUpgrade } from './pending-upgrade.ts'

/**
 * A server with `upgrade` listeners besides ours (Socket.IO, Vite's HMR, a proxy) may be about to answer a
 * request that we do not. So our plain answer is held back: shortly, in ms, when it is about who the client
 * is (401, 403), since Socket.IO ends what is not its own after 1,000; and long when it may only mean that
 * the request is not ours (a 404, or the 400 of Socket.IO's own request listener).
 */
const HOLD_MS = 500
const LONG_HOLD_MS = 30_000

/** How often, in ms, our answer is looked for where another listener has refused the request already. */
const REFUSED_LOOK_MS = 25

/**
 * How often, in ms, pending upgrades are looked at: no event tells that a server has stopped listening, or
 * that a client has hung up behind bytes that nobody reads.
 */
const LOOK_MS = 1_000

/**
 * Since Node 25 the body of an upgrade request is read from the request, as any other, and no part of it is
 * in `head`.
 */
const IS_BODY_APART = Number(process.versions.node.split('.')[0]) >= 25

/** Node publishes `{ socket }` here for each TCP connection, before a byte of it is parsed. */
const SOCKET_CHANNEL = 'net.server.socket'

// Associations, not state: what belongs to a request, and to nothing once the request is gone. They are
// shared by all hubs because two hubs may hear of an upgrade, and the one whose route it is may not be the
// one that heard first.
const pendingUpgrades = new WeakMap<IncomingMessage, PendingUpgrade>()
// Whose limits hold for the upgrades of a server: those of the first of its hubs.
const bridges = new WeakMap<UpgradeServer, Set<UpgradeBridge>>()
const upgradedRequests = new WeakSet<IncomingMessage>()

/** How many upgrades may be pending, and for how long. */
export interface PendingLimits {
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
  /** An upgrade was refused by the bridge, not by a route. */
  refused(req: IncomingMessage, error: HubError): void
}

/** Leads the upgrades of servers into their ordinary request pipeline, for one hub. */
export class UpgradeBridge {
  readonly #limits: PendingLimits
  readonly #host: BridgeHost
  /** The hub is closing. */
  isLeaving = false
  /** Upgrades that wait for the application. */
  readonly #pending = new Set<PendingUpgrade>()
  /**
   * Upgrades whose answer is held back since the request may be another listener's, the oldest first. They
   * are not counted as pending: clients of a neighbour that knock again and again would keep out ours.
   */
  readonly #held = new Set<PendingUpgrade>()
  /**
   * The servers attached, each with its detach function. Bounded by the servers of the process: a closed one
   * leaves.
   */
  readonly #servers = new Map<UpgradeServer, () => void>()
  /** Servers that were detached and still listen: connections of the hub may have come from there. */
  readonly #detached = new Map<UpgradeServer, () => void>()
  #looks: NodeJS.Timeout | undefined
  #discovering = false
  readonly #discover = (message: unknown): void => {
    const server = serverOf(message)
    if (server !== undefined) this.attach(server)
  }

  constructor(limits: PendingLimits, host: BridgeHost) {
    this.#limits = limits
    this.#host = host
  }

  /** Upgrades that are neither accepted nor answered yet. */
  get pendingCount(): number {
    return this.#pending.size
  }

  get upgradeTimeoutMs(): number {
    return this.#limits.upgradeTimeoutMs
  }

  /**
   * Counts an upgrade as pending until it is settled.
   * @returns the reason why it has to be refused instead
   */
  admit(pending: PendingUpgrade): HubError | undefined {
    const { req, server } = pending
    const { maxPendingUpgrades } = this.#limits
    // Here, because a framework that is being closed answers by itself, and without a Retry-After.
    if (isLeft(server)) return closedError()
    if (mayBeCut(server, req)) {
      return new HubError('WSHUB_ERR_TOO_MANY_HEADERS', 'the request has more headers than the server keeps')
    }
    if (this.#pending.size >= maxPendingUpgrades) {
      return new HubError(
        'WSHUB_ERR_TOO_MANY_PENDING',
        `more than ${maxPendingUpgrades} upgrades are pending`,
      )
    }
    let leave: () => void
    try {
      leave = this.#host.enterPending(req)
    } catch (error) {
      if (error instanceof HubError) return error
      throw error
    }
    const timer = this.#startDeadline(pending)
    this.#pending.add(pending)
    this.#looks ??= setInterval(() => this.#lookAtPending(), LOOK_MS).unref()
    pending.onSettled = () => {
      clearInterval(timer)
      leave()
      this.#pending.delete(pending)
      this.#held.delete(pending)
      if (this.#pending.size + this.#held.size > 0) return
      clearInterval(this.#looks)
      this.#looks = undefined
    }
    return undefined
  }

  /**
   * Holds an answer back, and sends the oldest of those that are too many: each has its whole body in memory.
   */
  hold(pending: PendingUpgrade): void {
    if (!this.#pending.delete(pending)) return
    this.#held.add(pending)
    const [oldest = pending] = this.#held
    if (this.#held.size > this.#limits.maxPendingUpgrades) this.send(oldest)
  }

  /** Sends an answer, which counts as pending until its client has it. */
  send(pending: PendingUpgrade): void {
    if (this.#held.delete(pending)) this.#pending.add(pending)
    pending.claim()
  }

  /** Answers an upgrade that is not admitted, or not any more. */
  refuse(pending: PendingUpgrade, error: HubError): void {
    if (pending.refuse(error)) this.#host.refused(pending.req, error)
  }

  /** Attaches a server, once; returns the function that detaches it. */
  attach(server: UpgradeServer): () => void {
    const attached = this.#servers.get(server)
    if (attached !== undefined) return attached
    const detach = (): void => {
      if (!this.#servers.delete(server)) return
      bridges.get(server)?.delete(this)
      server.off('upgrade', onUpgrade)
      server.off('request', onRequest)
      if (server.listening) this.#detached.set(server, forget)
      else server.off('close', forget)
    }
    const forget = (): void => {
      detach()
      this.#detached.delete(server)
      server.off('close', forget)
    }
    this.#servers.set(server, detach)
    bridges.set(server, (bridges.get(server) ?? new Set()).add(this))
    // First of all listeners, so that it sees the socket before anybody has written to it.
    server.prependListener('upgrade', onUpgrade)
    server.prependListener('request', onRequest)
    const forgetEarlier = this.#detached.get(server)
    if (forgetEarlier !== undefined) server.off('close', forgetEarlier)
    this.#detached.delete(server)
    server.on('close', forget)
    return detach
  }

  /**
   * Attaches every http(s) server of this process that takes a TCP connection from now on: a middleware is
   * not told its server, and the first request may be an upgrade. For a server that is not ours nothing
   * changes: without an `upgrade` listener Node gives an upgrade to the request listeners too. Only the
   * limits on pending upgrades hold for it as well.
   * @returns the function that ends the search
   */
  discover(): () => void {
    if (!this.#discovering) subscribe(SOCKET_CHANNEL, this.#discover)
    this.#discovering = true
    return () => {
      if (this.#discovering) unsubscribe(SOCKET_CHANNEL, this.#discover)
      this.#discovering = false
    }
  }

  /** The servers of this hub's connections that have stopped listening, which no event tells. */
  closingServers(): UpgradeServer[] {
    return [...this.#servers.keys(), ...this.#detached.keys()].filter((server) => !server.listening)
  }

  /** Ends pending upgrades, for which the server's own close would wait, and detaches from everything. */
  close(): void {
    for (const pending of [...this.#pending, ...this.#held]) {
      // A held one may be another listener's, and one of another hub's server is that hub's to end.
      if (!pending.isHeld && isLeft(pending.server)) this.refuse(pending, closedError())
    }
    if (this.#discovering) unsubscribe(SOCKET_CHANNEL, this.#discover)
    this.#discovering = false
    for (const detach of this.#servers.values()) detach()
    for (const [server, forget] of this.#detached) server.off('close', forget)
    this.#detached.clear()
  }

  /** Also for an answer that has begun: a client that does not read it would hold its socket for good. */
  #startDeadline(pending: PendingUpgrade): NodeJS.Timeout | undefined {
    const { upgradeTimeoutMs } = this.#limits
    if (upgradeTimeoutMs === 0) return undefined
    // Again and again, since an answer that is held back has its time once that is over.
    return setInterval(() => {
      if (pending.isHeld && pending.response.headersSent) return
      const message = `the upgrade was not answered within ${upgradeTimeoutMs} ms`
      this.refuse(pending, new HubError('WSHUB_ERR_UPGRADE_TIMEOUT', message))
    }, upgradeTimeoutMs).unref()
  }

  #lookAtPending(): void {
    for (const pending of [...this.#pending, ...this.#held]) {
      pending.takeEarlyBytes()
      if (!pending.isHeld && pending.wasListening && !pending.server.listening) {
        this.refuse(pending, closedError())
      }
    }
  }
}

/**
 * The upgrade that a request belongs to, still pending.
 * @throws {HubError} WSHUB_ERR_ALREADY_UPGRADED, WSHUB_ERR_NOT_ATTACHED or WSHUB_ERR_SOCKET_CLOSED
 */
export function findUpgrade(req: IncomingMessage): PendingUpgrade {
  if (upgradedRequests.has(req)) {
    throw new HubError('WSHUB_ERR_ALREADY_UPGRADED', 'this request has been upgraded already')
  }
  const pending = pendingUpgrades.get(req)
  if (pending === undefined) {
    throw new HubError(
      'WSHUB_ERR_NOT_ATTACHED',
      'the upgrade did not come through the hub: call hub.attach(server) before the server takes connections' +
        ' (on Bun also beside a middleware: a server cannot be found there)',
    )
  }
  if (pending.isTaken || !pending.socket.readable) {
    throw new HubError('WSHUB_ERR_SOCKET_CLOSED', 'the client has gone')
  }
  return pending
}

/** Takes the socket from its HTTP response: from now on it speaks WebSocket. */
export function completeUpgrade(pending: PendingUpgrade): void {
  pendingUpgrades.delete(pending.req)
  upgradedRequests.add(pending.req)
  pending.accept()
}

/** Stops waiting for other listeners: the request has come to one of our routes. */
export function claimUpgrade(req: IncomingMessage): void {
  pendingUpgrades.get(req)?.claim()
}

/**
 * The `upgrade` listener. It is one function for all hubs and servers, so that it can tell itself from
 * others.
 */
function onUpgrade(this: UpgradeServer, req: IncomingMessage, stream: Duplex, head: Buffer): void {
  if (pendingUpgrades.has(req) || upgradedRequests.has(req)) return // another hub has received it first
  const [bridge] = bridges.get(this) ?? []
  if (bridge === undefined) return // a hub was closed by an earlier listener of this event
  const isShared = this.listeners('upgrade').some((listener) => listener !== onUpgrade)
  const isOfWebSockets = isWebSocketUpgrade(req)
  if (!isOfWebSockets && isShared) return
  // Since Node 25 it is a stream of its own, which we do not use, and which fails with the socket.
  if (stream !== req.socket) stream.on('error', ignore)
  if (isPlain(req) && !mayBeCut(this, req)) {
    continueAsHttp(this, req, head, bridge.upgradeTimeoutMs)
    return
  }
  const pending = new PendingUpgrade(req, head, this)
  pendingUpgrades.set(req, pending)
  const refusal = bridge.admit(pending)
  if (isShared) {
    shareUpgrade(bridge, pending, refusal)
  } else if (refusal !== undefined) {
    bridge.refuse(pending, refusal)
  } else {
    pending.claim()
    this.emit('request', req, pending.response)
  }
}

/**
 * The `request` listener. An upgrade is the last request of its connection: nothing waits for its response.
 */
function onRequest(req: IncomingMessage, response: ServerResponse): void {
  if (!pendingUpgrades.has(req)) noteResponse(req, response)
}

/**
 * Whether a request is served as if it had no `Upgrade`, on a server where nobody else takes it: one to
 * another protocol, and one with a body, which is no handshake. Node leaves the body of an upgrade unread,
 * where its route would wait for it.
 */
function isPlain(req: IncomingMessage): boolean {
  return hasBody(req) ? !IS_BODY_APART : !listIncludes(req.headers.upgrade, 'websocket')
}

/** Asks the other listeners first, since most of them take at once what is theirs, and then our routes. */
function shareUpgrade(bridge: UpgradeBridge, pending: PendingUpgrade, refusal: HubError | undefined): void {
  const { req, response, server } = pending
  pending.holdOthers()
  setImmediate(() => {
    if (pending.isTaken) {
      pending.abandon()
      return
    }
    if (refusal !== undefined) {
      // It may be theirs all the same: they have as much time as a 401 would give them.
      pending.hold(HOLD_MS, () => bridge.refuse(pending, refusal))
      return
    }
    const everyMs = pending.isRefusedByOthers ? REFUSED_LOOK_MS : HOLD_MS
    let heldMs = 0
    pending.hold(everyMs, () => {
      heldMs += everyMs
      if (pending.isTaken) {
        pending.abandon()
        return
      }
      const isOver = heldMs >= LONG_HOLD_MS || !server.listening
      if (!response.headersSent && !isOver) return
      if (isAboutClient(response)) bridge.send(pending)
      else if (pending.isRefusedByOthers) pending.giveWay()
      else if (isOver) bridge.send(pending)
      else bridge.hold(pending)
    })
    server.emit('request', req, response)
  })
}

/**
 * Whether an answer says who the client is, which comes from a hook of ours and is not a sign that the
 * request is not.
 */
function isAboutClient({ headersSent, statusCode }: ServerResponse): boolean {
  return headersSent && (statusCode === 401 || statusCode === 403)
}

/** Whether all hubs of a server are closing. */
function isLeft(server: UpgradeServer): boolean {
  const ofServer = [...(bridges.get(server) ?? [])]
  return ofServer.length > 0 && ofServer.every(({ isLeaving }) => isLeaving)
}

function closedError(): HubError {
  return new HubError('WSHUB_ERR_HUB_CLOSED', 'the hub takes no more connections')
}

/** The http(s) server in a message of `net.server.socket`. */
function serverOf(message: unknown): UpgradeServer | undefined {
  const { server } = (message as { socket: { server?: unknown } }).socket // as Node documents the channel
  return server instanceof HttpServer || server instanceof HttpsServer ? server : undefined
}

function ignore(): void {}
