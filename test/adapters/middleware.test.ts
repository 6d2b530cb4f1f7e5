import { createServer } from 'node:http'
import fastifyCookie from '@fastify/cookie'
import fastifyHelmet from '@fastify/helmet'
import fastifySession from '@fastify/session'
import Router from '@koa/router'
import compression from 'compression'
import cors from 'cors'
import express from 'express'
import expressSession from 'express-session'
import fastify, { type FastifyInstance } from 'fastify'
import helmet from 'helmet'
import Koa from 'koa'
import koaHelmet from 'koa-helmet'
import koaSession from 'koa-session'
import { afterEach, describe, expect, it } from 'vitest'
import { type Connection, type EventHandler, Hub } from 'wshub'
import { wsHub as expressHub } from 'wshub/express'
import { hubPlugin } from 'wshub/fastify'
import { wsHub as koaHub } from 'wshub/koa'
import { destroyClients, RawClient, request, type Target, until } from '../support/raw.ts'
import { closeAfterTest, closeApps, echo, listen, portOf } from './frameworks.ts'

declare module 'express-session' {
  interface SessionData {
    user?: string
  }
}

declare module 'fastify' {
  interface Session {
    user?: string
  }
}

const secret = 'a secret that is at least as long as 32 characters'

afterEach(async () => {
  destroyClients()
  await closeApps()
})

async function startExpress(build: (app: express.Express) => void): Promise<Target & { hub: Hub }> {
  const app = express()
  const { hub } = expressHub()
  app.use(expressHub({ hub }))
  build(app)
  const server = createServer(app)
  closeAfterTest(hub, server)
  return { ...(await listen(server)), hub }
}

async function startKoa(build: (app: Koa, router: Router) => void): Promise<Target & { hub: Hub }> {
  const app = new Koa()
  app.keys = [secret]
  const router = new Router()
  const hub = new Hub()
  app.use(koaHub({ hub }))
  build(app, router)
  app.use(router.routes()).use(router.allowedMethods())
  const server = createServer(app.callback())
  closeAfterTest(hub, server)
  return { ...(await listen(server)), hub }
}

async function startFastify(build: (app: FastifyInstance) => Promise<void>): Promise<Target & { hub: Hub }> {
  const app = fastify()
  await app.register(hubPlugin)
  await build(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  closeAfterTest(app.hub, app.server, () => app.close())
  return { port: portOf(app.server), hub: app.hub }
}

/** Logs in, and returns the cookies of the answer as a client sends them back. */
async function login(target: Target, path = '/login'): Promise<string> {
  const client = await RawClient.connect(target)
  client.write(request(path, { headers: { Connection: 'close' } }))
  const answer = await client.lastAnswer()
  const cookies = answer.headers.get('set-cookie') ?? []
  if (cookies.length === 0) throw new Error(`Waited for cookies, saw: ${answer.head}`)
  return cookies.map((cookie) => cookie.split(';')[0]).join('; ')
}

const greet = (user: string): EventHandler => ({
  ...echo,
  onOpen: (conn) => void conn.sendText(`Hello, ${user}!`),
})

/**
 * Checks that an upgrade without a session, or with a forged one, is refused with 401, and that one with a
 * session knows its user.
 */
async function checkSession(target: Target): Promise<void> {
  expect((await RawClient.refused(target)).status).toBe(401)
  const cookie = await login(target)
  expect((await RawClient.refused(target, '/ws', { headers: { Cookie: `${cookie}x` } })).status).toBe(401)
  const client = await RawClient.open(target, '/ws', { headers: { Cookie: cookie } })
  expect(await client.message()).toBe('Hello, ada!')
  await client.echoes()
}

describe('Middleware', () => {
  describe('express-session', () => {
    const session = () => expressSession({ secret, resave: false, saveUninitialized: false })

    it('shares the session with the connection', async () => {
      await checkSession(
        await startExpress((app) => {
          app.use(session())
          app.get('/login', (req, res) => {
            req.session.user = 'ada'
            res.sendStatus(204)
          })
          app.get('/ws', (req, res) => {
            const { user } = req.session
            if (user === undefined) return res.sendStatus(401)
            return res.upgradeWebSocket(greet(user))
          })
        }),
      )
    })

    it('can be changed and saved by a connection', async () => {
      const target = await startExpress((app) => {
        app.use(session())
        app.get('/login', (req, res) => {
          req.session.user = 'ada'
          res.sendStatus(204)
        })
        app.get('/who', (req, res) => {
          res.send(req.session.user)
        })
        app.get('/ws', (req, res) =>
          res.upgradeWebSocket({
            onMessage: async (conn: Connection, { data }) => {
              req.session.user = String(data)
              await new Promise<void>((resolve) => req.session.save(() => resolve()))
              conn.sendText('saved')
            },
          }),
        )
      })
      const headers = { Cookie: await login(target) }
      const client = await RawClient.open(target, '/ws', { headers })
      client.send('bob')
      expect(await client.message()).toBe('saved')
      const reader = await RawClient.connect(target)
      reader.write(request('/who', { headers }))
      expect((await reader.answer()).body).toBe('bob')
    })
  })

  describe('a session that a route makes and saves before the upgrade', () => {
    /** Checks that the cookie of the 101 belongs to a session that an ordinary request finds. */
    async function checkNewSession(target: Target): Promise<void> {
      const client = await RawClient.ask(target)
      const cookies = (await client.opened()).headers.get('set-cookie') ?? []
      await client.echoes()
      const reader = await RawClient.connect(target)
      reader.write(
        request('/who', { headers: { Cookie: cookies.map((cookie) => cookie.split(';')[0]).join('; ') } }),
      )
      expect((await reader.answer()).body).toBe('ada')
    }

    it('is saved by express-session, and its cookie is sent with the 101', async () => {
      await checkNewSession(
        await startExpress((app) => {
          app.use(expressSession({ secret, resave: false, saveUninitialized: false }))
          app.get('/who', (req, res) => void res.send(req.session.user))
          app.get('/ws', async (req, res) => {
            req.session.user = 'ada'
            await new Promise<void>((resolve, reject) => {
              req.session.save((error) => (error ? reject(error) : resolve()))
            })
            await res.upgradeWebSocket(echo)
          })
        }),
      )
    })

    it('is refused if express-session cannot save it', async () => {
      class Down extends expressSession.MemoryStore {
        override set(_id: string, _session: unknown, done?: (error?: unknown) => void): void {
          done?.(new Error('the store is down'))
        }
      }
      const target = await startExpress((app) => {
        app.use(expressSession({ secret, resave: false, saveUninitialized: false, store: new Down() }))
        app.get('/ws', async (req, res) => {
          req.session.user = 'ada'
          await new Promise<void>((resolve, reject) => {
            req.session.save((error) => (error ? reject(error) : resolve()))
          })
          await res.upgradeWebSocket(echo)
        })
        app.use((_error: unknown, _req: express.Request, res: express.Response, _next: unknown) => {
          res.status(503).end()
        })
      })
      expect((await RawClient.refused(target)).status).toBe(503)
    })

    it('is saved by koa-session, and its cookie is sent with the 101', async () => {
      await checkNewSession(
        await startKoa((app, router) => {
          app.use(koaSession(app))
          router.get('/who', (ctx) => {
            ctx.body = ctx.session?.user
          })
          router.get('/ws', async (ctx) => {
            if (ctx.session !== null) {
              ctx.session.user = 'ada'
              // An example of this repository types the session with its own keys.
              await (ctx.session as unknown as { manuallyCommit(): Promise<void> }).manuallyCommit()
            }
            return ctx.upgradeWebSocket(echo)
          })
        }),
      )
    })

    it('is saved by @fastify/session, and an earlier answer has to set its cookie', async () => {
      const target = await startFastify(async (app) => {
        await app.register(fastifyCookie)
        await app.register(fastifySession, { secret, cookie: { secure: false }, saveUninitialized: true })
        app.get('/', async (_request, reply) => reply.send())
        app.get('/who', async (request) => request.session.user)
        app.get('/ws', async (request, reply) => {
          request.session.user = 'ada'
          await request.session.save()
          await reply.upgradeWebSocket(echo)
        })
      })
      const headers = { Cookie: await login(target, '/') }
      const client = await RawClient.ask(target, '/ws', { headers })
      expect((await client.opened()).header('set-cookie')).toBeUndefined()
      const reader = await RawClient.connect(target)
      reader.write(request('/who', { headers }))
      expect((await reader.answer()).body).toBe('ada')
    })
  })

  describe('helmet, compression and cors', () => {
    it('run before a route that upgrades, and their headers are sent with the 101', async () => {
      const target = await startExpress((app) => {
        app.use(helmet(), compression({ threshold: 0 }), cors({ origin: 'https://app.example.com' }))
        app.get('/page', (_req, res) => {
          res.send('page '.repeat(1_000))
        })
        app.get('/ws', (_req, res) => res.upgradeWebSocket(echo))
      })
      const client = await RawClient.ask(target, '/ws', { headers: { 'Accept-Encoding': 'gzip' } })
      const answer = await client.opened()
      expect(answer.header('x-content-type-options')).toBe('nosniff')
      expect(answer.header('access-control-allow-origin')).toBe('https://app.example.com')
      expect(answer.header('content-encoding')).toBeUndefined()
      await client.echoes()

      const page = await fetch(`http://127.0.0.1:${target.port}/page`)
      expect(page.headers.get('content-encoding')).toMatch(/^(gzip|br)$/)
      expect(await page.text()).toBe('page '.repeat(1_000))
    })

    it('compress and decorate a refusal of an upgrade as any answer', async () => {
      const target = await startExpress((app) => {
        app.use(helmet(), compression({ threshold: 0 }), cors())
        app.get('/ws', (_req, res) => {
          res.status(403).send('no '.repeat(1_000))
        })
      })
      const answer = await RawClient.refused(target, '/ws', { headers: { 'Accept-Encoding': 'gzip' } })
      expect(answer.status).toBe(403)
      expect(answer.header('content-encoding')).toBe('gzip')
      expect(answer.header('x-content-type-options')).toBe('nosniff')
      expect(answer.header('connection')).toBe('close')
    })

    it('cors does not open the hub to other origins', async () => {
      const target = await startExpress((app) => {
        app.use(cors())
        app.get('/ws', (_req, res) => res.upgradeWebSocket(echo))
      })
      const answer = await RawClient.refused(target, '/ws', { headers: { Origin: 'https://evil.example' } })
      expect(answer.status).toBe(403)
    })
  })

  describe('express.json and express.static', () => {
    it('run before a route that upgrades', async () => {
      const target = await startExpress((app) => {
        app.use(express.json(), express.urlencoded({ extended: true }), express.static(import.meta.dirname))
        app.get('/ws', (_req, res) => res.upgradeWebSocket(echo))
      })
      await (await RawClient.open(target)).echoes()
    })
  })

  describe('@fastify/session, @fastify/cookie and @fastify/helmet', () => {
    it('share the session with the connection', async () => {
      await checkSession(
        await startFastify(async (app) => {
          await app.register(fastifyHelmet)
          await app.register(fastifyCookie)
          await app.register(fastifySession, { secret, cookie: { secure: false }, saveUninitialized: false })
          app.get('/login', async (req, reply) => {
            req.session.user = 'ada'
            return reply.code(204).send()
          })
          app.get('/ws', (req, reply) => {
            const { user } = req.session
            if (user === undefined) return reply.code(401).send('who are you?')
            return reply.upgradeWebSocket(greet(user))
          })
        }),
      )
    })

    it('set headers and cookies that are sent with the 101 and with a refusal', async () => {
      const target = await startFastify(async (app) => {
        await app.register(fastifyHelmet)
        await app.register(fastifyCookie)
        app.get('/ws', (_req, reply) => {
          reply.header('set-cookie', app.serializeCookie('theme', 'dark')) // `setCookie` waits for onSend
          reply.header('x-own', 'yes')
          return reply.upgradeWebSocket(echo)
        })
      })
      const client = await RawClient.ask(target)
      const answer = await client.opened()
      expect(answer.header('x-content-type-options')).toBe('nosniff')
      expect(answer.header('x-own')).toBe('yes')
      expect(answer.header('set-cookie')).toBe('theme=dark')
      await client.echoes()
      const refusal = await RawClient.refused(target, '/ws', { headers: { Origin: 'https://evil.example' } })
      expect([refusal.status, refusal.header('x-content-type-options')]).toEqual([403, 'nosniff'])
    })
  })

  describe('koa-session, koa-helmet and @koa/router', () => {
    it('share the session with the connection', async () => {
      await checkSession(
        await startKoa((app, router) => {
          app.use(koaHelmet())
          app.use(koaSession(app))
          router.get('/login', (ctx) => {
            if (ctx.session !== null) ctx.session.user = 'ada'
            ctx.status = 204
          })
          router.get('/ws', (ctx) => {
            const user: unknown = ctx.session?.user
            if (typeof user !== 'string') return ctx.throw(401, 'who are you?')
            return ctx.upgradeWebSocket(greet(user))
          })
        }),
      )
    })

    it('set headers and cookies that are sent with the 101', async () => {
      const target = await startKoa((app, router) => {
        app.use(koaHelmet())
        app.use(koaSession(app))
        router.get('/ws', async (ctx) => {
          ctx.cookies.set('theme', 'dark')
          if (ctx.session !== null) {
            ctx.session.user = 'ada'
            // An example of this repository types the session with its own keys.
            await (ctx.session as unknown as { manuallyCommit(): Promise<void> }).manuallyCommit()
          }
          return ctx.upgradeWebSocket(echo)
        })
      })
      const client = await RawClient.ask(target)
      const answer = await client.opened()
      expect(answer.header('x-content-type-options')).toBe('nosniff')
      expect(answer.header('set-cookie')).toMatch(/theme=dark.*koa\.sess=/)
      await client.echoes()
    })

    it('receive no error when a client resets an open connection', async () => {
      const errors: unknown[] = []
      const target = await startKoa((app, router) => {
        app.on('error', (error) => void errors.push(error))
        router.get('/ws', (ctx) => ctx.upgradeWebSocket(echo))
      })
      const client = await RawClient.open(target)
      await client.echoes()
      client.reset()
      await until('the connection to end', () => target.hub.size === 0)
      await (await RawClient.open(target)).echoes()
      expect(errors).toEqual([])
    })
  })
})
