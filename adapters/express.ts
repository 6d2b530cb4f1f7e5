import type { IncomingMessage } from 'node:http'
import {
  type Connection,
  type EventHandler,
  Hub,
  type Metadata,
  type UpgradeInit,
  type Upgrader,
} from 'wshub'
import type { WsHubOptions } from './ws-hub-options.ts'

declare global {
  namespace Express {
    interface Request {
      /** The hub of the nearest `wsHub()`. */
      hub: Hub
    }
    interface Response extends Upgrader {}
  }
}

export type { WsHubOptions }

type Next = (error?: unknown) => void

/** Express's request is Node's, and has more. */
interface ExpressRequest extends IncomingMessage {
  readonly ip?: string
  readonly secure?: boolean
  readonly next?: Next
}

/**
 * The facts about a request that Express knows. Getters: the hub, not this adapter, calls user code, here
 * Express's trust function. A class: with getters in a literal, V8 makes a dictionary for each upgrade.
 */
class ExpressInit {
  readonly #request: ExpressRequest

  constructor(request: ExpressRequest) {
    this.#request = request
  }

  get remoteAddress(): string | undefined {
    return this.#request.ip
  }

  get isSecure(): boolean | undefined {
    return this.#request.secure
  }
}

/** The middleware, and the hub that it mounts. */
export interface WsHubMiddleware<Meta extends object = Metadata> {
  (req: Express.Request, res: Express.Response, next: Next): void
  readonly hub: Hub<Meta>
}

/**
 * Express middleware that adds `req.hub` and `res.upgradeWebSocket`. It finds its server by itself.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function wsHub<Meta extends object = Metadata>(
  options: WsHubOptions<Meta> = {},
): WsHubMiddleware<Meta> {
  const hub = Hub.from(options)
  hub.attach()
  const middleware = (req: Express.Request, res: Express.Response, next: Next): void => {
    req.hub = hub
    const upgrade = (handler: EventHandler<Meta>, init?: UpgradeInit<Meta>): Promise<Connection<Meta>> => {
      const request = req as unknown as ExpressRequest // the global type says less
      try {
        return hub.upgrade(request, handler, init, new ExpressInit(request))
      } catch (error) {
        if (isRejectionCaught(res)) throw error
        // Thrown in an async route, it would be an unhandled rejection, which ends the process. `req.next` is
        // the `next` of the router that runs the route, so that router's error handlers come first.
        const refuse = request.next ?? next
        refuse(error)
        return new Promise(() => {}) // the code after an `await` would run without a connection
      }
    }
    res.upgradeWebSocket = upgrade as Upgrader['upgradeWebSocket'] // a hub knows no Meta of a single route
    next()
  }
  return Object.assign(middleware, { hub })
}

/** Returns whether Express catches rejections of routes: since version 5, which removed `res.sendfile`. */
function isRejectionCaught(res: Express.Response): boolean {
  return !('sendfile' in res)
}

export default wsHub
