import type { IncomingMessage } from 'node:http'
import type { HubError } from '../base/errors.ts'
import type { PendingUpgrade } from './pending-upgrade.ts'
import type { HoldingBridge } from './shared-upgrade.ts'
import type { UpgradeServer } from './upgrade-server.ts'

/** A hub of a server. */
export interface ServerHub extends HoldingBridge {
  /** Whether the hub is closing. */
  readonly isLeaving: boolean
  readonly upgradeTimeoutMs: number
  readonly maxConnectionsPerSession: number
  /** @returns the reason why an upgrade has to be refused */
  admit(pending: PendingUpgrade): HubError | undefined
  serverClosed(server: UpgradeServer): void
}

/** A server with its hubs. */
export interface SharedServer {
  /** Whether all hubs of the server are closing. */
  readonly isLeft: boolean
  add(hub: ServerHub): void
  /** Detaches a hub, which is still told when the server closes. */
  remove(hub: ServerHub): void
  /** Detaches a hub, which is not told of the server any more. */
  forget(hub: ServerHub): void
}

/** Associations, not state: each entry belongs to a request or a server, and is lost with it. */
export interface UpgradeRegistry {
  readonly servers: WeakMap<UpgradeServer, SharedServer>
  /** The upgrade of each request: until it is accepted, so that what belongs to it can be released. */
  readonly upgrades: WeakMap<IncomingMessage, PendingUpgrade | 'accepted'>
}

/**
 * The number is that of the contract between copies: the interfaces above, and the public members of a
 * pending upgrade. A change of them takes the next number.
 */
const KEY = Symbol.for('wshub.upgrades.3')

/**
 * Shared by all hubs of the process, because several may see a request, and the one whose route it is may not
 * be the first. A process may also have several copies of this package, whose hubs see each other's servers:
 * its two builds, or the one of a dependency.
 */
export const registry: UpgradeRegistry = find()

function find(): UpgradeRegistry {
  const found: unknown = Reflect.get(globalThis, KEY)
  if (found !== undefined) return found as UpgradeRegistry // of another copy: nobody else uses the key
  const made: UpgradeRegistry = { servers: new WeakMap(), upgrades: new WeakMap() }
  Object.defineProperty(globalThis, KEY, { value: made })
  return made
}
