import type { Hub } from 'wshub'
import type { GuardedUpgrade } from './gateway-upgrade.ts'

/** Tells a gateway that a client has connected. */
export type ConnectCallback = (connection: unknown, request: unknown) => void

/** A path, and the gateways that are served there. */
export class Gateway<Meta extends object> {
  /** The value of `@WebSocketServer()`. */
  readonly server: Hub<Meta>
  readonly upgrade: GuardedUpgrade<Meta>
  readonly onConnect: ConnectCallback[] = []

  constructor(hub: Hub<Meta>, upgrade: GuardedUpgrade<Meta>) {
    this.server = viewOf(hub)
    this.upgrade = upgrade
  }
}

/**
 * Returns another object that does what the hub does. Nest tells the paths of gateways apart by the server
 * that the adapter has created for each, and all of them are on one hub.
 */
function viewOf<Meta extends object>(hub: Hub<Meta>): Hub<Meta> {
  return new Proxy(hub, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target) // private members are of the hub alone
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
