// WebSockets of wshub or of ws beside the empty route of a framework, `/empty`. Both keep their clients, as
// they do by default, and do nothing with them.

import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import Express from 'express'
import Fastify from 'fastify'
import Koa from 'koa'
import { WebSocketServer } from 'ws'
import { Hub } from 'wshub'
import { wsHub as expressHub } from 'wshub/express'
import { hubPlugin } from 'wshub/fastify'
import { wsHub as koaHub } from 'wshub/koa'
import { listenOnLoopback, serve } from './serve.mjs'

const HANDLER = {}
const require = createRequire(import.meta.url)

serve({
  version: require('wshub/package.json').version,

  /** @param options.library 'wshub' or 'ws' @param options.framework 'node', 'fastify', 'express' or 'koa' */
  async listen({ library, framework }) {
    const hub = library === 'wshub' ? new Hub({ maxConnections: 20_000 }) : undefined
    const server = await SERVERS[framework](hub)
    if (hub === undefined) new WebSocketServer({ server })
    return listenOnLoopback(server)
  },
})

const SERVERS = {
  node(hub) {
    const server = createServer()
    hub?.attach(server)
    server.on('request', (request, response) => {
      if (request.url === '/empty') response.writeHead(204).end()
      else hub?.upgrade(request, HANDLER)
    })
    return server
  },

  async fastify(hub) {
    const app = Fastify()
    if (hub !== undefined) {
      await app.register(hubPlugin, { hub })
      app.get('/', (_request, reply) => reply.upgradeWebSocket(HANDLER))
    }
    app.get('/empty', (_request, reply) => reply.code(204).send())
    await app.ready()
    return app.server
  },

  express(hub) {
    const app = Express()
    if (hub !== undefined) {
      app.use(expressHub({ hub }))
      app.get('/', (_request, response) => response.upgradeWebSocket(HANDLER))
    }
    app.get('/empty', (_request, response) => response.status(204).end())
    return createServer(app)
  },

  koa(hub) {
    const app = new Koa()
    if (hub !== undefined) {
      app.use(koaHub({ hub }))
      app.use((context, next) => (context.path === '/' ? context.upgradeWebSocket(HANDLER) : next()))
    }
    app.use((context) => {
      if (context.path === '/empty') context.status = 204
    })
    return createServer(app.callback())
  },
}
