import type { Middleware } from 'koa'
import {
  type Connection,
  type EventHandler,
  Hub,
  type HubOptions,
  type Metadata,
  type UpgradeInit,
} from 'wshub'

declare module 'koa' {
  interface ExtendableContext {
    /** The hub of the nearest `wsHub()`. */
    hub: Hub
    /**
     * Answers the request with 101 and opens a connection; headers set on the response travel along. A
     * refusal is thrown at once and rendered by Koa's error handling.
     * @throws {HubError} see `hub.upgrade`
     */
    upgradeWebSocket<Meta extends object = Metadata>(
      handler: EventHandler<Meta>,
      init?: UpgradeInit<Meta>,
    ): Promise<Connection<Meta>>
  }
}

/** Options of a new hub, or `{ hub }` to use one that exists. */
export type WsHubOptions<Meta extends object = Metadata> = HubOptions | { readonly hub: Hub<Meta> }

/** The middleware, and the hub that it mounts. */
export type WsHubMiddleware<Meta extends object = Metadata> = Middleware & { readonly hub: Hub<Meta> }

/**
 * Koa middleware that adds `ctx.hub` and `ctx.upgradeWebSocket`. It finds its server by itself.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function wsHub<Meta extends object = Metadata>(
  options: WsHubOptions<Meta> = {},
): WsHubMiddleware<Meta> {
  const hub = Hub.from(options)
  hub.attach()
  const middleware: Middleware = async (ctx, next) => {
    let isUpgraded = false
    let isErrorAnswered = false
    ctx.hub = hub
    ctx.upgradeWebSocket = ((handler: EventHandler, init?: UpgradeInit) => {
      const connection = hub.upgrade(ctx.req, handler, init, {
        remoteAddress: ctx.ip || undefined,
        isSecure: ctx.secure,
      })
      ctx.respond = false
      isUpgraded = true
      // Koa ignores a status once headers are sent; one that is set all the same tells an error from an
      // envelope for all bodies.
      Object.defineProperty(ctx.response, 'status', {
        configurable: true,
        get: () => ctx.res.statusCode,
        set: (status: number) => {
          isErrorAnswered ||= status >= 400 // a body behind it sets 200
        },
      })
      return connection
    }) as typeof ctx.upgradeWebSocket // a hub knows no Meta of a single route
    try {
      await next()
    } catch (error) {
      if (isUpgraded) ctx.res.destroy(error as Error) // ends the connection with it; a hub takes whatever was thrown
      throw error
    }
    // Koa does not even try to send an answer behind the 101: a middleware has caught an error of the route.
    if (isErrorAnswered) ctx.res.end()
  }
  return Object.assign(middleware, { hub })
}

export default wsHub
