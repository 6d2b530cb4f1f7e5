import { createServer } from 'node:http'
import Router from '@koa/router'
import express from 'express'
import fastify from 'fastify'
import Koa from 'koa'
import { afterEach, describe, expect, it } from 'vitest'
import { type EventHandler, Hub } from 'wshub'
import { wsHub as expressHub } from 'wshub/express'
import { hubPlugin } from 'wshub/fastify'
import { wsHub as koaHub } from 'wshub/koa'
import { destroyClients, inTime, RawClient } from '../support/raw.ts'
import { closeAfterTest, closeApps, closeServer, echo, listen, portOf } from './frameworks.ts'

afterEach(async () => {
  destroyClients()
  await closeApps()
})

/** Answers with its name. */
const say = (where: string): EventHandler => ({ onOpen: (conn) => void conn.sendText(where) })

async function said(port: number, path: string): Promise<string> {
  return (await RawClient.open({ port }, path)).message()
}

async function startFastify(app: ReturnType<typeof fastify>, hub = new Hub()): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  closeAfterTest(hub, app.server, () => app.close())
  return portOf(app.server)
}

describe('Scope', () => {
  describe('of Express', () => {
    async function start(app: express.Express, hub: Hub): Promise<number> {
      const server = createServer(app)
      closeAfterTest(hub, server)
      return (await listen(server)).port
    }

    it('is the application: routers and mounted sub-applications upgrade', async () => {
      const app = express()
      const sockets = expressHub()
      app.use(sockets)
      const router = express.Router()
      router.get('/ws/:room', (req, res) => res.upgradeWebSocket(say(`router ${req.params.room}`)))
      const inner = express.Router()
      inner.get('/ws', (req, res) => {
        expect(req.hub).toBe(sockets.hub)
        return res.upgradeWebSocket(say('inner'))
      })
      router.use('/inner', inner)
      app.use('/api', router)
      const sub = express()
      sub.get('/ws', (_req, res) => res.upgradeWebSocket(say('sub')))
      app.use('/sub', sub)
      const port = await start(app, sockets.hub)
      expect(await said(port, '/api/ws/garden?x=1')).toBe('router garden')
      expect(await said(port, '/api/inner/ws')).toBe('inner')
      expect(await said(port, '/sub/ws')).toBe('sub')
      expect(sockets.hub.size).toBe(3)
    })

    it('is one router or sub-application when mounted there', async () => {
      const app = express()
      const inRouter = expressHub()
      const inSub = expressHub()
      const router = express.Router()
      router.use(inRouter)
      router.get('/ws', (_req, res) => res.upgradeWebSocket(say('router')))
      const sub = express()
      sub.use(inSub)
      sub.get('/ws', (_req, res) => res.upgradeWebSocket(say('sub')))
      app.use('/router', router)
      app.use('/sub', sub)
      app.get('/ws', (_req, res) => {
        res.send(typeof res.upgradeWebSocket)
      })
      const port = await start(app, inRouter.hub)
      expect(await said(port, '/router/ws')).toBe('router')
      expect(await said(port, '/sub/ws')).toBe('sub')
      expect([inRouter.hub.size, inSub.hub.size]).toEqual([1, 1])
      const outside = await RawClient.refused({ port }, '/ws')
      expect([outside.status, outside.body]).toEqual([200, 'undefined'])
      await inSub.hub.close({ timeoutMs: 50 })
    })
  })

  describe('of Koa', () => {
    async function start(app: Koa, hub: Hub): Promise<number> {
      const server = createServer(app.callback())
      closeAfterTest(hub, server)
      return (await listen(server)).port
    }

    it('is the application: @koa/router with prefixes, parameters and nesting upgrades', async () => {
      const app = new Koa()
      const sockets = koaHub()
      app.use(sockets)
      const inner = new Router()
      inner.get('/ws', (ctx) => {
        expect(ctx.hub).toBe(sockets.hub)
        return ctx.upgradeWebSocket(say('inner'))
      })
      const router = new Router({ prefix: '/api' })
      router.get('/ws/:room', (ctx) => ctx.upgradeWebSocket(say(`router ${ctx.params.room}`)))
      router.use('/inner', inner.routes(), inner.allowedMethods())
      app.use(router.routes()).use(router.allowedMethods())
      const port = await start(app, sockets.hub)
      expect(await said(port, '/api/ws/garden')).toBe('router garden')
      expect(await said(port, '/api/inner/ws')).toBe('inner')
      expect((await RawClient.refused({ port }, '/nowhere')).status).toBe(404)
      const posted = await RawClient.refused({ port }, '/api/ws/garden', { method: 'POST' })
      expect(posted.status).toBe(405)
    })

    it('is the application without a router, awaited or not', async () => {
      const app = new Koa()
      const sockets = koaHub()
      app.use(sockets)
      app.use(async (ctx, next) => {
        if (ctx.path !== '/awaited') return next()
        await ctx.upgradeWebSocket(say('awaited'))
      })
      app.use((ctx) => {
        void ctx.upgradeWebSocket(say('forgotten'))
      })
      const port = await start(app, sockets.hub)
      expect(await said(port, '/awaited')).toBe('awaited')
      expect(await said(port, '/')).toBe('forgotten')
    })

    it('is one router when mounted there', async () => {
      const app = new Koa()
      const sockets = koaHub()
      const router = new Router()
      router.use(sockets)
      router.get('/ws', (ctx) => ctx.upgradeWebSocket(say('router')))
      app.use(router.routes())
      app.use((ctx) => {
        ctx.body = typeof ctx.upgradeWebSocket
      })
      const port = await start(app, sockets.hub)
      expect(await said(port, '/ws')).toBe('router')
      expect((await RawClient.refused({ port }, '/other')).body).toBe('undefined')
    })
  })

  describe('of Fastify', () => {
    it('is the application: prefixes and child scopes upgrade', async () => {
      const app = fastify()
      await app.register(hubPlugin)
      app.register(
        async (child) => {
          expect(child.hub).toBe(app.hub)
          child.get('/ws/:room', (request, reply) =>
            reply.upgradeWebSocket(say(`child ${(request.params as { room: string }).room}`)),
          )
          child.register(
            async (grandchild) => {
              grandchild.get('/ws', (_request, reply) => reply.upgradeWebSocket(say('grandchild')))
            },
            { prefix: '/inner' },
          )
        },
        { prefix: '/api' },
      )
      const port = await startFastify(app)
      expect(await said(port, '/api/ws/garden')).toBe('child garden')
      expect(await said(port, '/api/inner/ws')).toBe('grandchild')
      expect(app.hub.size).toBe(2)
    })

    it('is one child when registered there, also for two children with a hub each', async () => {
      const app = fastify()
      const hubs: Hub[] = []
      for (const name of ['first', 'second']) {
        app.register(
          async (child) => {
            await child.register(hubPlugin)
            hubs.push(child.hub)
            child.get('/ws', (_request, reply) => reply.upgradeWebSocket(say(name)))
          },
          { prefix: `/${name}` },
        )
      }
      app.get('/ws', (_request, reply) => reply.send(typeof reply.upgradeWebSocket))
      const port = await startFastify(app)
      expect(app.hasDecorator('hub')).toBe(false)
      const first = await RawClient.open({ port }, '/first/ws')
      const second = await RawClient.open({ port }, '/second/ws')
      expect([await first.message(), await second.message()]).toEqual(['first', 'second'])
      expect(hubs.map((hub) => hub.size)).toEqual([1, 1])
      hubs[0]?.broadcast('to the first')
      hubs[1]?.broadcast('to the second')
      expect([await first.message(), await second.message()]).toEqual(['to the first', 'to the second'])
      expect((await RawClient.refused({ port }, '/ws')).body).toBe('undefined')

      const closed = app.close()
      expect([await first.closed(), await second.closed()]).toEqual([1001, 1001])
      await inTime('the application to close', closed)
      expect(hubs.map((hub) => hub.state)).toEqual(['closed', 'closed'])
    })

    it('runs the hooks of the route’s scope only', async () => {
      const app = fastify()
      await app.register(hubPlugin)
      app.register(
        async (child) => {
          child.addHook('preHandler', async (_request, reply) => reply.code(401).send('who are you?'))
          child.get('/ws', (_request, reply) => reply.upgradeWebSocket(echo))
        },
        { prefix: '/private' },
      )
      app.get('/ws', (_request, reply) => reply.upgradeWebSocket(say('public')))
      const port = await startFastify(app)
      expect((await RawClient.refused({ port }, '/private/ws')).status).toBe(401)
      expect(await said(port, '/ws')).toBe('public')
    })

    it('leaves the hub open if it was passed', async () => {
      const hub = new Hub({ closeTimeoutMs: 200 })
      const app = fastify()
      await app.register(hubPlugin, { hub })
      expect(app.hub).toBe(hub)
      app.get('/ws', (_request, reply) => reply.upgradeWebSocket(echo))
      const port = await startFastify(app, hub)
      const client = await RawClient.open({ port })
      const closed = app.close()
      expect(await client.closed()).toBe(1001)
      await inTime('the application to close', closed)
      expect(hub.state).toBe('open')
      expect(app.server.listenerCount('upgrade')).toBe(0)
    })

    it('listens on both addresses of localhost, and both take upgrades', async () => {
      const app = fastify()
      await app.register(hubPlugin)
      app.get('/ws', (_request, reply) => reply.upgradeWebSocket(echo))
      await app.listen({ port: 0, host: 'localhost' })
      closeAfterTest(app.hub, app.server, () => app.close())
      const clients: RawClient[] = []
      for (const address of app.addresses()) {
        if (typeof address === 'string') throw new Error(`${address} is not an address of TCP`)
        const client = await RawClient.open({ port: address.port, host: address.address })
        await client.echoes()
        clients.push(client)
      }
      expect(app.hub.size).toBe(app.addresses().length)
      const closed = app.close()
      for (const client of clients) expect(await client.closed()).toBe(1001)
      await inTime('the application to close', closed)
      await closeServer(app.server)
    })
  })
})
