import type { IncomingMessage, ServerResponse } from 'node:http'
import type { MiddlewareHandler } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { type EventHandler, Hub, HubError, type Metadata, type UpgradeInit, type Upgrader } from 'wshub'
import { plainHeaders } from './fetch-headers.ts'
import { asRefusal } from './refusal.ts'
import type { WsHubOptions } from './ws-hub-options.ts'

declare module 'hono' {
  interface ContextVariableMap extends Upgrader {
    /** The hub of the nearest `wsHub()`. */
    hub: Hub
  }
}

export type { WsHubOptions }

/** The middleware, and the hub that it mounts. */
export type WsHubMiddleware<Meta extends object = Metadata> = MiddlewareHandler & { readonly hub: Hub<Meta> }

/** The members of `c.env` on `@hono/node-server`; another server passes neither. */
interface NodeBindings {
  readonly incoming?: IncomingMessage
  readonly outgoing?: ServerResponse
}

/**
 * Hono middleware for an application on `@hono/node-server` that adds `c.var.hub` and
 * `c.var.upgradeWebSocket`. It finds its server by itself. A refusal is thrown as an `HTTPException` whose
 * `cause` is the `HubError`.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function wsHub<Meta extends object = Metadata>(
  options: WsHubOptions<Meta> = {},
): WsHubMiddleware<Meta> {
  const hub = Hub.from(options)
  hub.attach()
  const middleware: MiddlewareHandler = async (c, next) => {
    const { incoming, outgoing }: NodeBindings = c.env ?? {}
    let isUpgraded = false
    c.set('hub', hub)
    c.set('upgradeWebSocket', ((handler: EventHandler, init?: UpgradeInit) => {
      if (incoming === undefined) {
        throw new HubError('WSHUB_ERR_NOT_ATTACHED', 'the application is not served by @hono/node-server')
      }
      try {
        const connection = hub.upgrade(incoming, handler, init, { headers: plainHeaders(c.res.headers) })
        isUpgraded = true
        c.res = new Response(null) // so a route need not return one; nothing of it is sent
        return connection
      } catch (error) {
        throw asException(error)
      }
    }) as Upgrader['upgradeWebSocket']) // a hub knows no Meta of a single route
    await next()
    // Hono has caught what the route has thrown; it ends the connection with this error.
    if (isUpgraded && c.error !== undefined) outgoing?.destroy(c.error)
  }
  return Object.assign(middleware, { hub })
}

/** Returns a refusal as the error that Hono renders, and any other error as it is. */
function asException(error: unknown): unknown {
  const refusal = asRefusal(error)
  if (refusal === undefined) return error
  const { message, status, headers } = refusal
  const res = new Response(message, { status, headers })
  return new HTTPException(status as HTTPException['status'], { message, res, cause: error }) // Hono lists the known ones
}

export default wsHub
