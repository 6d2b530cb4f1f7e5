import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyPluginAsync, FastifyReply } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import {
  type CloseOptions,
  type Connection,
  type EventHandler,
  Hub,
  type HubOptions,
  type Metadata,
  readCloseOptions,
  type UpgradeInit,
} from 'wshub'

declare module 'fastify' {
  interface FastifyInstance {
    /** The hub of this scope. */
    readonly hub: Hub
  }
  interface FastifyReply {
    /**
     * Answers the request with 101 and opens a connection; headers set on the reply travel along. Must be
     * called before anything is sent. A refusal is thrown at once and rendered by the error handler of the
     * scope.
     * @throws {HubError} see `hub.upgrade`
     */
    upgradeWebSocket<Meta extends object = Metadata>(
      handler: EventHandler<Meta>,
      init?: UpgradeInit<Meta>,
    ): Promise<Connection<Meta>>
  }
}

/** How much of Fastify's `pluginTimeout` the goodbye may take before the server stops listening. */
const HOOK_SHARE = 0.8

/**
 * Options of a new hub, which is closed with the application as `close` says; or `{ hub }` to use one that
 * exists.
 */
export type HubPluginOptions =
  | (HubOptions & { readonly hub?: undefined; readonly close?: CloseOptions | undefined })
  | { readonly hub: Hub; readonly close?: undefined }

const plugin: FastifyPluginAsync<HubPluginOptions> = async (fastify, options) => {
  const { close, ...hubOptions } = options
  const isShared = options.hub !== undefined
  readCloseOptions(close) // throws now what it would throw when the application is closed
  const hub = Hub.from(isShared && close !== undefined ? options : hubOptions) // a shared one takes no option beside it
  const detach = hub.attach(fastify.server)
  const upgraded = new WeakSet<FastifyReply>()
  fastify.decorate('hub', hub)
  fastify.decorateReply('upgradeWebSocket', function (
    this: FastifyReply,
    handler: EventHandler,
    init?: UpgradeInit,
  ) {
    const { request } = this
    const connection = hub.upgrade(request.raw, handler, init, {
      // Getters, so that the hub calls Fastify's trust function, as all user code that it reads `init` with.
      get remoteAddress() {
        return request.ip
      },
      get isSecure() {
        return request.protocol === 'https'
      },
      headers: this.getHeaders() as NonNullable<UpgradeInit['headers']>, // Fastify's type admits undefined values, its object has none
    })
    this.hijack()
    upgraded.add(this)
    return connection
  } as FastifyReply['upgradeWebSocket']) // a hub knows no Meta of a single route
  // Fastify only logs what a route throws behind the upgrade, so the routes are asked themselves.
  fastify.addHook('onRoute', (route) => {
    const { handler } = route
    route.handler = function (request, reply) {
      if (request.headers.upgrade === undefined) return handler.call(this, request, reply)
      const failed = (error: unknown): never => {
        if (upgraded.has(reply)) reply.raw.destroy(error as Error) // ends the connection with it; a hub takes whatever was thrown
        throw error
      }
      try {
        const result: unknown = handler.call(this, request, reply)
        return isPromise(result) ? result.then(undefined, failed) : result
      } catch (error) {
        return failed(error)
      }
    }
  })
  fastify.addHook('onClose', async () => {
    detach()
    if (!isShared) await hub.close()
  })
  // A shared hub notices the closing of one server by itself.
  if (isShared) return
  // Before the server closes, since that waits for its sockets; and in a scope of its own, whose preClose
  // hooks run behind those of this scope, so that the application can speak first.
  fastify.register(async (scope) => {
    scope.addHook('preClose', async () => {
      const goodbye = hub.close(close)
      const { pluginTimeout = 0 } = fastify.initialConfig
      if (pluginTimeout === 0) await goodbye
      // Fastify fails when a hook takes as long. The rest is waited for in onClose, which has no limit.
      else await Promise.race([goodbye, sleep(pluginTimeout * HOOK_SHARE, undefined, { ref: false })])
    })
  })
}

function isPromise(value: unknown): value is Promise<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

/**
 * Mounts a hub in a Fastify scope: `app.hub` and `reply.upgradeWebSocket`. It is closed with the application.
 */
export const hubPlugin = fastifyPlugin(plugin, { fastify: '5.x', name: 'wshub' })

export default hubPlugin
