import type { IncomingMessage } from 'node:http'
import {
  type Connection,
  type EventHandler,
  Hub,
  type HubOptions,
  type Metadata,
  type UpgradeInit,
} from 'wshub'

declare global {
  namespace Express {
    interface Request {
      /** The hub of the nearest `wsHub()`. */
      hub: Hub
    }
    interface Response {
      /**
       * Answers the request with 101 and opens a connection; headers set on the response travel along. A refusal is thrown
       * at once and rendered by the application's error handler.
       * @throws {HubError} see `hub.upgrade`
       */
      upgradeWebSocket<Meta extends object = Metadata>(
        handler: EventHandler<Meta>,
        init?: UpgradeInit<Meta>,
      ): Promise<Connection<Meta>>
    }
  }
}

/** Options of a new hub, or `{ hub }` to use one that exists. */
export type WsHubOptions = HubOptions | { readonly hub: Hub }

/** The middleware, and the hub that it mounts. */
export interface WsHubMiddleware {
  (req: Express.Request, res: Express.Response, next: (error?: unknown) => void): void
  readonly hub: Hub
}

/**
 * Express middleware that adds `req.hub` and `res.upgradeWebSocket`. It finds its server by itself.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function wsHub(options: WsHubOptions = {}): WsHubMiddleware {
  const hub = 'hub' in options ? options.hub : new Hub(options)
  hub.attach()
  const middleware = (req: Express.Request, res: Express.Response, next: () => void): void => {
    req.hub = hub
    res.upgradeWebSocket = ((handler: EventHandler, init?: UpgradeInit) =>
      hub.upgrade(req as unknown as IncomingMessage, handler, {
        remoteAddress: (req as { ip?: string }).ip,
        ...init,
      })) as Express.Response['upgradeWebSocket'] // Express's request is Node's; a hub knows no Meta of a single route
    next()
  }
  return Object.assign(middleware, { hub })
}

export default wsHub
