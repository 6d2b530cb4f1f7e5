import type { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { hasBody, isWebSocketUpgrade, listIncludes } from '../protocol/handshake.ts'
import { noteResponse, whenAnswered } from './earlier-responses.ts'
import { HeldRefusal } from './held-refusal.ts'
import { PendingUpgrade } from './pending-upgrade.ts'
import { continueAsHttp, mayBeCut } from './plain-request.ts'
import type { UpgradeCarrier, UpgradeTarget } from './upgrade-carrier.ts'
import { registry } from './upgrade-registry.ts'
import { hasOtherListeners, type UpgradeServer } from './upgrade-server.ts'

/**
 * Since Node 25 the body of an upgrade request is read from the request, as for any other, and `head`
 * contains no part of it.
 */
const IS_BODY_APART = Number(process.versions.node.split('.')[0]) >= 25

/** The upgrades of HTTP/1.1: each takes the socket of its request. */
export class SocketUpgrades implements UpgradeCarrier {
  readonly #server: UpgradeServer
  /** The server: the overloads of the four types of servers have none in common. */
  readonly #events: EventEmitter
  readonly #target: UpgradeTarget

  constructor(server: UpgradeServer, target: UpgradeTarget) {
    this.#server = server
    this.#events = server
    this.#target = target
  }

  listen(): void {
    // First of all listeners, so that it sees the socket before anybody has written to it.
    this.#events.prependListener('upgrade', this.#onUpgrade)
    this.#events.prependListener('request', this.#onRequest)
  }

  unlisten(): void {
    this.#events.off('upgrade', this.#onUpgrade)
    this.#events.off('request', this.#onRequest)
  }

  /** Whether the server has `upgrade` listeners that are not ours. */
  get isShared(): boolean {
    return hasOtherListeners(this.#events, 'upgrade', this.#onUpgrade)
  }

  /** An upgrade is the last request of its connection, so nothing waits for its response. */
  readonly #onRequest = (req: IncomingMessage, response: ServerResponse): void => {
    if (req.httpVersionMajor === 1 && !registry.upgrades.has(req)) noteResponse(req, response)
  }

  readonly #onUpgrade = (req: IncomingMessage, stream: Duplex, head: Buffer): void => {
    const server = this.#server
    const hub = this.#target.first
    if (hub === undefined) return // it was closed by an earlier listener of this event
    const { isShared } = this
    if (!isWebSocketUpgrade(req) && isShared) return
    // Since Node 25 it is a separate stream, which we do not use, and which fails together with the socket.
    if (stream !== req.socket) stream.on('error', ignore)
    const isPlainHttp = isPlain(req) && !mayBeCut(server, req)
    const others = isShared && !isPlainHttp ? new HeldRefusal(req.socket) : undefined
    const wasListening = server.listening
    whenAnswered(server, req.socket, hub.upgradeTimeoutMs, () => {
      if (isPlainHttp) continueAsHttp(server, req, head)
      else this.#target.lead(new PendingUpgrade(req, head, server, wasListening, others))
    })
  }
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
