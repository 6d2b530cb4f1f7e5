/**
 * A server of one of the frameworks, in its own process, that floods its clients and stops on SIGTERM as
 * described in docs/deploying.md. It first reports its port, and at the end how many messages each connection
 * had accepted, and the result of the close.
 */
import { createServer, type Server } from 'node:http'
import express from 'express'
import Fastify from 'fastify'
import Koa from 'koa'
import type { CloseOptions, EventHandler, Hub } from 'wshub'
import { wsHub as expressHub } from 'wshub/express'
import { hubPlugin } from 'wshub/fastify'
import { wsHub as koaHub } from 'wshub/koa'

const accepted: Record<string, number> = {}
const closeOptions: CloseOptions = { batch: 10, everyMs: 20, timeoutMs: 15_000 }

const handler: EventHandler = {
  onOpen(connection) {
    connection.sendText(connection.id)
    accepted[connection.id] = 0
  },
}

/** Each connection has its own counter: the next number is one more than the messages it has accepted. */
function flood(hub: Hub): void {
  for (let i = 0; i < 5; i++) {
    for (const connection of hub.connections()) {
      const count = (accepted[connection.id] ?? 0) + 1
      if (connection.sendText(`${count} ${'x'.repeat(200)}`)) accepted[connection.id] = count
    }
  }
}

function tell(message: unknown): void {
  process.send?.(message)
}

function run(hub: Hub, server: Server, leave: () => Promise<unknown>): void {
  process.once('disconnect', () => process.exit()) // also when the test has been killed
  const flooding = setInterval(() => flood(hub), 5)
  process.once('SIGTERM', async () => {
    const result = await leave()
    clearInterval(flooding)
    tell({ accepted, result, state: hub.state, stats: hub.stats() })
    process.removeAllListeners('disconnect') // from here on it must end by itself
    process.disconnect?.()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server does not listen on a port')
  tell({ port: address.port })
}

/** The lines of docs/deploying.md. */
function leave(hub: Hub, server: Server): Promise<unknown> {
  return hub.close(closeOptions).then((result) => {
    server.close()
    return result
  })
}

switch (process.argv[2]) {
  case 'Fastify': {
    const app = Fastify()
    await app.register(hubPlugin)
    app.get('/ws', (_req, reply) => reply.upgradeWebSocket(handler))
    await app.listen({ port: 0, host: '127.0.0.1' })
    run(app.hub, app.server, () => app.close().then(() => app.hub.close()))
    break
  }
  case 'Express': {
    const app = express()
    const hub = expressHub()
    app.use(hub)
    app.get('/ws', (_req, res) => res.upgradeWebSocket(handler))
    app.get(
      '/ready',
      (_req, res) => void res.status(hub.hub.state === 'open' ? 200 : 503).send(hub.hub.state),
    )
    const server = app.listen(0, '127.0.0.1', () => run(hub.hub, server, () => leave(hub.hub, server)))
    break
  }
  case 'Koa': {
    const app = new Koa()
    const hub = koaHub()
    app.use(hub)
    app.use((ctx) => {
      if (ctx.path === '/ws') return ctx.upgradeWebSocket(handler)
      ctx.status = hub.hub.state === 'open' ? 200 : 503
      ctx.body = hub.hub.state
      return
    })
    const server = createServer(app.callback()).listen(0, '127.0.0.1', () =>
      run(hub.hub, server, () => leave(hub.hub, server)),
    )
    break
  }
}
