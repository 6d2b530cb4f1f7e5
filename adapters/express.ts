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
       * Answers the request with 101 and opens a connection; headers set on the response travel along. A
       * refusal is thrown at once and rendered by the application's error handler. Express 4 does not catch
       * what an async route throws: there the refusal goes to the error handler directly, nothing is thrown,
       * and the promise never settles, so that neither the code behind an `await` runs nor a `finally` around
       * it. There, acquire nothing before it that has to be released: `onOpen` may acquire and `onClose`
       * release. `req.hub.upgrade` throws in Express 4 too.
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
export type WsHubOptions<Meta extends object = Metadata> = HubOptions | { readonly hub: Hub<Meta> }

type Next = (error?: unknown) => void

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
      // Express's request is Node's, and has more than the global type says.
      const request = req as unknown as IncomingMessage & {
        readonly ip?: string
        readonly secure?: boolean
        readonly next?: Next
      }
      try {
        return hub.upgrade(request, handler, init, {
          // Getters, so that the hub calls Express's trust function, as all user code that it reads `init`
          // with.
          get remoteAddress() {
            return request.ip
          },
          get isSecure() {
            return request.secure
          },
        })
      } catch (error) {
        if (isRejectionCaught(res)) throw error
        // Thrown in an async route it would be an unhandled rejection, which ends the process. `req.next` is
        // the `next` of the router that runs the route, so that its own error handlers come first.
        const refuse = request.next ?? next
        refuse(error)
        return new Promise(() => {}) // the code behind an `await` has no connection to run with
      }
    }
    res.upgradeWebSocket = upgrade as Express.Response['upgradeWebSocket'] // a hub knows no Meta of a single route
    next()
  }
  return Object.assign(middleware, { hub })
}

/**
 * Whether the application catches rejections of its routes: Express does from version 5, which has no
 * `res.sendfile` any more.
 */
function isRejectionCaught(res: Express.Response): boolean {
  return !('sendfile' in res)
}

export default wsHub
