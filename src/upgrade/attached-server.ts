import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { HubError } from '../base/errors.ts'
import { hasBody, isWebSocketUpgrade, listIncludes } from '../protocol/handshake.ts'
import { noteResponse, whenAnswered } from './earlier-responses.ts'
import { HeldRefusal } from './held-refusal.ts'
import { PendingUpgrade } from './pending-upgrade.ts'
import { continueAsHttp, mayBeCut } from './plain-request.ts'
import { giveWay, shareUpgrade } from './shared-upgrade.ts'
import { registry, type ServerHub, type SharedServer } from './upgrade-registry.ts'
import type { UpgradeServer } from './upgrade-server.ts'

/**
 * Since Node 25 the body of an upgrade request is read from the request, as for any other, and `head`
 * contains no part of it.
 */
const IS_BODY_APART = Number(process.versions.node.split('.')[0]) >= 25

/**
 * A server whose upgrades lead into its ordinary requests. It has one listener an event for all its hubs, so
 * that each request is taken once.
 */
export class AttachedServer implements SharedServer {
  readonly #server: UpgradeServer
  /** The limits of the first hold for the upgrades of the server. */
  readonly #hubs = new Set<ServerHub>()
  /** Hubs that are told of the server's close; some have been detached. */
  readonly #followers = new Set<ServerHub>()

  private constructor(server: UpgradeServer) {
    this.#server = server
  }

  /** Attaches a hub to a server. */
  static attach(server: UpgradeServer, hub: ServerHub): void {
    const attached = registry.servers.get(server) ?? new AttachedServer(server)
    registry.servers.set(server, attached)
    attached.add(hub)
  }

  add(hub: ServerHub): void {
    if (this.#hubs.size === 0) {
      // First of all listeners, so that it sees the socket before anybody has written to it.
      this.#server.prependListener('upgrade', this.#onUpgrade)
      this.#server.prependListener('request', this.#onRequest)
    }
    if (this.#followers.size === 0) this.#server.on('close', this.#onClose)
    this.#hubs.add(hub)
    this.#followers.add(hub)
  }

  remove(hub: ServerHub): void {
    this.#hubs.delete(hub)
    if (this.#hubs.size > 0) return
    this.#server.off('upgrade', this.#onUpgrade)
    this.#server.off('request', this.#onRequest)
  }

  forget(hub: ServerHub): void {
    this.remove(hub)
    this.#followers.delete(hub)
    if (this.#followers.size > 0) return
    this.#server.off('close', this.#onClose)
    registry.servers.delete(this.#server)
  }

  get isLeft(): boolean {
    const hubs = [...this.#hubs]
    return hubs.length > 0 && hubs.every(({ isLeaving }) => isLeaving)
  }

  readonly #onClose = (): void => {
    for (const hub of this.#followers) hub.serverClosed(this.#server)
  }

  /** An upgrade is the last request of its connection, so nothing waits for its response. */
  readonly #onRequest = (req: IncomingMessage, response: ServerResponse): void => {
    if (!registry.pending.has(req)) noteResponse(req, response)
  }

  readonly #onUpgrade = (req: IncomingMessage, stream: Duplex, head: Buffer): void => {
    const server = this.#server
    const [hub] = this.#hubs
    if (hub === undefined) return // it was closed by an earlier listener of this event
    const isShared = server.listeners('upgrade').some((listener) => listener !== this.#onUpgrade)
    if (!isWebSocketUpgrade(req) && isShared) return
    // Since Node 25 it is a separate stream, which we do not use, and which fails together with the socket.
    if (stream !== req.socket) stream.on('error', ignore)
    const isPlainHttp = isPlain(req) && !mayBeCut(server, req)
    const others = isShared && !isPlainHttp ? new HeldRefusal(req.socket) : undefined
    const wasListening = server.listening
    whenAnswered(server, req.socket, hub.upgradeTimeoutMs, () => {
      if (isPlainHttp) continueAsHttp(server, req, head)
      else this.#lead(new PendingUpgrade(req, head, server, wasListening, others))
    })
  }

  /** Leads an upgrade into the request listeners. */
  #lead(pending: PendingUpgrade): void {
    const { req, response, server, others } = pending
    const [hub] = this.#hubs
    registry.pending.set(req, pending)
    if (hub === undefined) {
      // Closed while an earlier request of the connection was being answered.
      if (others === undefined) pending.refuse(closedError())
      else if (others.isRefused) giveWay(pending)
      else pending.abandon()
      return
    }
    const refusal = hub.admit(pending)
    if (others !== undefined) {
      shareUpgrade(hub, pending, others, refusal)
    } else if (refusal !== undefined) {
      hub.refuse(pending, refusal)
    } else {
      pending.claim()
      server.emit('request', req, response)
    }
  }
}

/** The reason for refusing an upgrade of a hub that is closing or closed. */
export function closedError(): HubError {
  return new HubError('WSHUB_ERR_HUB_CLOSED', 'the hub accepts no more connections')
}

/**
 * Returns whether a request is served as if it had no `Upgrade`, on a server where no other listener takes
 * it: an upgrade to another protocol, or a request with a body, which is not a handshake. Node leaves the
 * body of an upgrade unread, while its route would wait for it.
 */
function isPlain(req: IncomingMessage): boolean {
  return hasBody(req) ? !IS_BODY_APART : !listIncludes(req.headers.upgrade, 'websocket')
}

function ignore(): void {}
