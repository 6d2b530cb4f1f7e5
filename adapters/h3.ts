import type { ServerResponse } from 'node:http'
import { HTTPError, type Middleware } from 'h3'
import { type EventHandler, Hub, HubError, type Metadata, type UpgradeInit, type Upgrader } from 'wshub'
import { plainHeaders } from './fetch-headers.ts'
import { asRefusal } from './refusal.ts'
import type { WsHubOptions } from './ws-hub-options.ts'

declare module 'h3' {
  interface H3EventContext extends Upgrader {
    /** The hub of the nearest `wsHub()`. */
    hub: Hub
  }
}

export type { WsHubOptions }

/** The middleware, and the hub that it mounts. */
export type WsHubMiddleware<Meta extends object = Metadata> = Middleware & { readonly hub: Hub<Meta> }

/**
 * Middleware of h3 2, for an application on Node, that adds `event.context.hub` and
 * `event.context.upgradeWebSocket`. It finds its server by itself. A refusal is thrown as an `HTTPError`.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function wsHub<Meta extends object = Metadata>(
  options: WsHubOptions<Meta> = {},
): WsHubMiddleware<Meta> {
  const hub = Hub.from(options)
  hub.attach()
  const middleware: Middleware = async (event, next) => {
    const node = event.runtime?.node
    let isUpgraded = false
    event.context.hub = hub
    event.context.upgradeWebSocket = ((handler: EventHandler, init?: UpgradeInit) => {
      if (node === undefined) {
        throw new HubError('WSHUB_ERR_NOT_ATTACHED', 'the application is not served by a server of Node')
      }
      try {
        const connection = hub.upgrade(node.req, handler, init, {
          remoteAddress: event.req.ip,
          isSecure: event.url.protocol === 'https:',
          headers: plainHeaders(event.res.headers),
        })
        isUpgraded = true
        return connection
      } catch (error) {
        throw asHttpError(error)
      }
    }) as Upgrader['upgradeWebSocket'] // a hub knows no Meta of a single route
    try {
      const answer = await next()
      return isUpgraded ? new Response(null) : answer // so a route may return the connection; none of it is sent
    } catch (error) {
      const response = node?.res as ServerResponse | undefined // h3's type is a union that has no method in common
      if (isUpgraded) response?.destroy(error as Error) // ends the connection with this error; a hub accepts any thrown value
      throw error
    }
  }
  return Object.assign(middleware, { hub })
}

/** Returns a refusal as the error that h3 renders, and any other error as it is. */
function asHttpError(error: unknown): unknown {
  const refusal = asRefusal(error)
  if (refusal === undefined) return error
  const { message, status, headers } = refusal
  return new HTTPError({ status, message, headers, cause: error }) // its own `cause` is this object
}

export default wsHub
