import type { EventEmitter } from 'node:events'
import { HubError } from '../base/errors.ts'
import type { PendingUpgrade } from './pending-upgrade.ts'
import { giveWay, shareUpgrade } from './shared-upgrade.ts'
import { SocketUpgrades } from './socket-upgrades.ts'
import { StreamUpgrades } from './stream-upgrades.ts'
import type { UpgradeTarget } from './upgrade-carrier.ts'
import { registry, type ServerHub, type SharedServer } from './upgrade-registry.ts'
import { isHttp2, type UpgradeServer } from './upgrade-server.ts'

/**
 * A server whose upgrades lead into its ordinary requests. It has one listener an event for all its hubs, so
 * that each request is taken once.
 */
export class AttachedServer implements SharedServer, UpgradeTarget {
  readonly #server: UpgradeServer
  /** The server: the overloads of the four types of servers have none in common. */
  readonly #events: EventEmitter
  readonly #sockets: SocketUpgrades
  /** There for a server of HTTP/2. */
  readonly #streams: StreamUpgrades | undefined
  /** The limits of the first hold for the upgrades of the server. */
  readonly #hubs = new Set<ServerHub>()
  /** Hubs that are told of the server's close; some have been detached. */
  readonly #followers = new Set<ServerHub>()

  private constructor(server: UpgradeServer) {
    this.#server = server
    this.#events = server
    this.#sockets = new SocketUpgrades(server, this)
    this.#streams = isHttp2(server) ? new StreamUpgrades(server, this, this.#sockets) : undefined
  }

  /** Attaches a hub to a server. */
  static attach(server: UpgradeServer, hub: ServerHub): void {
    const attached = registry.servers.get(server) ?? new AttachedServer(server)
    registry.servers.set(server, attached)
    attached.add(hub)
  }

  add(hub: ServerHub): void {
    if (this.#hubs.size === 0) {
      this.#sockets.listen()
      this.#streams?.listen()
    }
    if (this.#followers.size === 0) this.#events.on('close', this.#onClose)
    this.#hubs.add(hub)
    this.#followers.add(hub)
  }

  remove(hub: ServerHub): void {
    this.#hubs.delete(hub)
    if (this.#hubs.size > 0) return
    this.#sockets.unlisten()
    this.#streams?.unlisten()
  }

  forget(hub: ServerHub): void {
    this.remove(hub)
    this.#followers.delete(hub)
    if (this.#followers.size > 0) return
    this.#events.off('close', this.#onClose)
    registry.servers.delete(this.#server)
    if (hub.isLeaving) this.#streams?.goAway()
  }

  get first(): ServerHub | undefined {
    const [hub] = this.#hubs
    return hub
  }

  get isLeft(): boolean {
    return this.#hubs.size > 0 && areLeaving(this.#hubs)
  }

  get isLeaving(): boolean {
    return areLeaving(this.#followers)
  }

  readonly #onClose = (): void => {
    for (const hub of this.#followers) hub.serverClosed(this.#server)
  }

  lead(pending: PendingUpgrade, flaw?: HubError): void {
    const { req, response, others } = pending
    const hub = this.first
    registry.upgrades.set(req, pending)
    if (hub === undefined) {
      // Closed while an earlier request of the connection was being answered.
      if (others === undefined) pending.refuse(closedError())
      else if (others.isRefused) giveWay(pending)
      else pending.abandon()
      pending.watch()
      return
    }
    try {
      const refusal = flaw ?? hub.admit(pending)
      if (others !== undefined) {
        shareUpgrade(hub, pending, others, refusal)
      } else if (refusal !== undefined) {
        hub.refuse(pending, refusal)
      } else {
        pending.claim()
        this.#events.emit('request', req, response)
      }
    } finally {
      pending.watch()
    }
  }
}

function areLeaving(hubs: Iterable<ServerHub>): boolean {
  return [...hubs].every(({ isLeaving }) => isLeaving)
}

/** The reason for refusing an upgrade of a hub that is closing or closed. */
export function closedError(): HubError {
  return new HubError('WSHUB_ERR_HUB_CLOSED', 'the hub accepts no more connections')
}
