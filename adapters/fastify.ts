import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import {
  type CloseOptions,
  type EventHandler,
  Hub,
  type HubOptions,
  readCloseOptions,
  type UpgradeInit,
  type Upgrader,
} from 'wshub'

declare module 'fastify' {
  interface FastifyInstance {
    /** The hub of this scope. */
    readonly hub: Hub
  }
  interface FastifyReply extends Upgrader {}
}

/** The share of Fastify's `pluginTimeout` for closing connections before the server stops listening. */
const HOOK_SHARE = 0.8

/**
 * Options of a new hub, which `close` says how to close with the application; or `{ hub }` for an existing
 * one.
 */
export type HubPluginOptions =
  | (HubOptions & { readonly hub?: undefined; readonly close?: CloseOptions | undefined })
  | { readonly hub: Hub; readonly close?: undefined }

/**
 * The facts about a request that Fastify knows. Getters: the hub, not this adapter, calls user code, here
 * Fastify's trust function. A class: with getters in a literal, V8 makes a dictionary for each upgrade.
 */
class FastifyInit {
  readonly headers: NonNullable<UpgradeInit['headers']>
  readonly #request: FastifyRequest

  constructor(reply: FastifyReply) {
    this.headers = reply.getHeaders() as NonNullable<UpgradeInit['headers']> // its type admits undefined values, its object has none
    this.#request = reply.request
  }

  get remoteAddress(): string {
    return this.#request.ip
  }

  get isSecure(): boolean {
    return this.#request.protocol === 'https'
  }
}

const plugin: FastifyPluginAsync<HubPluginOptions> = async (fastify, options) => {
  const { close, ...hubOptions } = options
  const isShared = options.hub !== undefined
  readCloseOptions(close) // throws now, not when the application is closed
  const hub = Hub.from(isShared && close !== undefined ? options : hubOptions) // a shared hub takes no other option
  const detach = hub.attach(fastify.server)
  const upgraded = new WeakSet<FastifyReply>()
  fastify.decorate('hub', hub)
  fastify.decorateReply('upgradeWebSocket', function (
    this: FastifyReply,
    handler: EventHandler,
    init?: UpgradeInit,
  ) {
    const connection = hub.upgrade(this.request.raw, handler, init, new FastifyInit(this))
    this.hijack()
    upgraded.add(this)
    return connection
  } as Upgrader['upgradeWebSocket']) // a hub knows no Meta of a single route
  // Fastify only logs what a route throws after the upgrade, so the routes are wrapped.
  fastify.addHook('onRoute', (route) => {
    const { handler } = route
    route.handler = function (request, reply) {
      if (request.headers.upgrade === undefined) return handler.call(this, request, reply)
      const failed = (error: unknown): never => {
        if (upgraded.has(reply)) reply.raw.destroy(error as Error) // ends the connection with this error; a hub accepts any thrown value
        throw error
      }
      try {
        const result: unknown = handler.call(this, request, reply)
        // A reply is a thenable, too, but its then() throws without a function for its end.
        return isThenable(result) ? Promise.resolve(result).then(undefined, failed) : result
      } catch (error) {
        return failed(error)
      }
    }
  })
  fastify.addHook('onClose', async () => {
    detach()
    if (!isShared) await hub.close()
  })
  // A shared hub detects by itself that one of its servers closes.
  if (isShared) return
  // Before the server closes, since that waits for its sockets. In a scope of its own, whose preClose hooks
  // run after those of this scope, so that the application can send its last messages first.
  fastify.register(async (scope) => {
    scope.addHook('preClose', async () => {
      const goodbye = hub.close(close)
      const { pluginTimeout = 0 } = fastify.initialConfig
      if (pluginTimeout === 0) await goodbye
      // Fastify fails when a hook takes that long. onClose, which has no limit, waits for the rest.
      else await Promise.race([goodbye, sleep(pluginTimeout * HOOK_SHARE, undefined, { ref: false })])
    })
  })
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

/**
 * Mounts a hub in a Fastify scope: `app.hub` and `reply.upgradeWebSocket`. Closes it with the application.
 */
export const hubPlugin = fastifyPlugin(plugin, { fastify: '5.x', name: 'wshub' })

export default hubPlugin
