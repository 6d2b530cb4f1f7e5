import type { ServerResponse } from 'node:http'
import type { Middleware, Response } from 'koa'
import { type EventHandler, Hub, type Metadata, type UpgradeInit, type Upgrader } from 'wshub'
import type { WsHubOptions } from './ws-hub-options.ts'

declare module 'koa' {
  interface ExtendableContext extends Upgrader {
    /** The hub of the nearest `wsHub()`. */
    hub: Hub
  }
}

export type { WsHubOptions }

/** The middleware, and the hub that it mounts. */
export type WsHubMiddleware<Meta extends object = Metadata> = Middleware & { readonly hub: Hub<Meta> }

/**
 * An association, not state: the responses whose status was set to that of an error after the 101. Those of
 * Node: middleware may wrap the one of Koa.
 */
const errorAnswers = new WeakSet<ServerResponse>()

/**
 * The status of a response after the 101. Koa ignores a status once headers are sent. An error status that is
 * set all the same shows that middleware has caught an error, and not only wrapped the body. The same
 * functions for all: otherwise V8 makes a dictionary of each response.
 */
const STATUS: PropertyDescriptor & ThisType<Response> = {
  configurable: true,
  get() {
    return this.res.statusCode
  },
  set(status: number) {
    if (status >= 400) errorAnswers.add(this.res) // setting a body afterwards sets 200
  },
}

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
    ctx.hub = hub
    ctx.upgradeWebSocket = ((handler: EventHandler, init?: UpgradeInit) => {
      const connection = hub.upgrade(ctx.req, handler, init, {
        remoteAddress: ctx.ip || undefined,
        isSecure: ctx.secure,
      })
      ctx.respond = false
      isUpgraded = true
      Object.defineProperty(ctx.response, 'status', STATUS)
      return connection
    }) as Upgrader['upgradeWebSocket'] // a hub knows no Meta of a single route
    try {
      await next()
    } catch (error) {
      if (isUpgraded) ctx.res.destroy(error as Error) // ends the connection with this error; a hub accepts any thrown value
      throw error
    }
    // A middleware has caught an error of the route. Koa sends no answer after the 101, so end it here.
    if (errorAnswers.has(ctx.res)) ctx.res.destroy()
  }
  return Object.assign(middleware, { hub })
}

export default wsHub
