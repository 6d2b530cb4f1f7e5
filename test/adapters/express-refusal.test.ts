import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import express from 'express'
import { afterEach, describe, expect, it } from 'vitest'
import { Handshake, type HubOptions } from 'wshub'
import { wsHub } from 'wshub/express'
import { type Answer, destroyClients, RawClient, request } from '../support/raw.ts'
import { closeAfterTest, closeApps, echo, listen } from './frameworks.ts'
import { failOnStrayErrors } from './stray-errors.ts'

// Express 4 is typed as Express 5, which declares the same for what is used here.
const express4 = createRequire(import.meta.url)('express4') as typeof express

failOnStrayErrors()

afterEach(async () => {
  destroyClients()
  await closeApps()
})

const foreign = { headers: { Origin: 'https://evil.example' } }

async function serve(
  make: typeof express,
  build: (app: express.Express) => void,
  options: HubOptions = {},
): Promise<number> {
  const app = make().set('env', 'test') // then it logs nothing
  const sockets = wsHub(options)
  app.use(sockets)
  build(app)
  const server = createServer(app)
  closeAfterTest(sockets.hub, server)
  return (await listen(server)).port
}

async function get(port: number, path: string): Promise<Answer> {
  const client = await RawClient.connect({ port })
  client.write(request(path))
  return client.answer() // an error handler of the application may keep the connection alive
}

describe.each([
  { name: 'Express 4', make: express4 },
  { name: 'Express 5', make: express },
])('A refusal in a route of $name', ({ make }) => {
  const kinds: readonly { kind: string; route: express.RequestHandler }[] = [
    {
      kind: 'sync',
      route: (_req, res) => {
        res.upgradeWebSocket(echo)
      },
    },
    {
      kind: 'async',
      route: async (_req, res) => {
        await res.upgradeWebSocket(echo)
      },
    },
    {
      kind: 'async, after a turn',
      route: async (_req, res) => {
        await new Promise((resolve) => setImmediate(resolve))
        await res.upgradeWebSocket(echo)
      },
    },
  ]

  describe.each(kinds)('that is $kind', ({ route }) => {
    it('is rendered with its status and headers', async () => {
      const port = await serve(make, (app) => void app.get('/ws', route), { maxConnections: 1 })
      const plain = await get(port, '/ws')
      expect([plain.status, plain.header('upgrade')]).toEqual([426, 'websocket'])
      expect(plain.header('connection')).toMatch(/\bclose\b/)

      expect((await RawClient.refused({ port }, '/ws', foreign)).status).toBe(403)
      await (await RawClient.open({ port })).echoes()
      const full = await RawClient.refused({ port })
      expect([full.status, full.header('retry-after')]).toEqual([503, '5'])
    })

    it('is decided by the error middleware of the application', async () => {
      const urls: string[] = []
      const port = await serve(make, (app) => {
        const router = make.Router()
        const inner = make.Router()
        inner.get('/ws', route)
        inner.use(((error, req, res, _next) => {
          urls.push(req.originalUrl, req.baseUrl + req.url)
          res.status(418).send(`inner ${error.code}`)
        }) satisfies express.ErrorRequestHandler)
        router.use('/inner', inner)
        router.get('/ws', route)
        app.use('/api', router)
        app.use(((error, req, res, _next) => {
          urls.push(req.originalUrl, req.baseUrl + req.url)
          res.status(419).send(`outer ${error.code}`)
        }) satisfies express.ErrorRequestHandler)
      })
      const inner = await RawClient.refused({ port }, '/api/inner/ws', foreign)
      expect([inner.status, inner.body]).toEqual([418, 'inner WSHUB_ERR_ORIGIN'])
      const outer = await get(port, '/api/ws')
      expect([outer.status, outer.body]).toEqual([419, 'outer WSHUB_ERR_NOT_UPGRADE'])
      expect(urls).toEqual(['/api/inner/ws', '/api/inner/ws', '/api/ws', '/api/ws'])
      await (await RawClient.open({ port }, '/api/inner/ws')).echoes()
    })

    it('runs no code after the await', async () => {
      let ran = false
      const port = await serve(make, (app) => {
        app.get('/ws', async (_req, res) => {
          await res.upgradeWebSocket(echo)
          ran = true
        })
      })
      expect((await RawClient.refused({ port }, '/ws', foreign)).status).toBe(403)
      expect((await get(port, '/ws')).status).toBe(426)
      expect(ran).toBe(false)
      await (await RawClient.open({ port })).echoes()
    })
  })

  it('is thrown by hub.upgrade, so that the route can release what it holds', async () => {
    let held = 0
    const port = await serve(make, (app) => {
      const upgrade = async (req: express.Request) => {
        held++
        try {
          await req.hub.upgrade(req, echo, { remoteAddress: req.ip, isSecure: req.secure })
        } finally {
          held--
        }
      }
      app.get('/ws', (req, _res, next) => void upgrade(req).catch(next))
    })
    expect((await RawClient.refused({ port }, '/ws', foreign)).status).toBe(403)
    expect((await get(port, '/ws')).status).toBe(426)
    await (await RawClient.open({ port })).echoes()
    expect(held).toBe(0)
  })

  it('renders a mistake in the call with 500', async () => {
    const port = await serve(make, (app) => {
      app.get('/ws', async (_req, res) => {
        await res.upgradeWebSocket({ onOpen: 1 } as never) // as JavaScript may pass it
      })
      app.use(((error, _req, res, _next) => {
        res.status(error.status).send(error.code)
      }) satisfies express.ErrorRequestHandler)
    })
    const answer = await RawClient.refused({ port })
    expect([answer.status, answer.body]).toEqual([500, 'WSHUB_ERR_INVALID_HANDLER'])
  })

  it('is rendered in the credentials example of docs/upgrades.md', async () => {
    const port = await serve(make, (app) => {
      app.get('/ws', async (req, res) => {
        const session = await verify(Handshake.bearerToken(req))
        await res.upgradeWebSocket(
          {
            async onExpire(conn) {
              const renewed = await refresh(session.user)
              if (renewed !== undefined) conn.renew(renewed)
            },
            ...echo,
          },
          { metadata: { user: session.user }, expiresAt: session.expiresAt },
        )
      })
    })
    expect((await get(port, '/ws')).status).toBe(426)
    expect((await RawClient.refused({ port }, '/ws', foreign)).status).toBe(403)
    const version = await RawClient.refused({ port }, '/ws', { headers: { 'Sec-WebSocket-Version': '8' } })
    expect([version.status, version.header('sec-websocket-version')]).toEqual([426, '13'])
    await (await RawClient.open({ port })).echoes()
  })
})

async function verify(token: string | undefined): Promise<{ user: string; expiresAt: Date }> {
  return { user: token ?? 'guest', expiresAt: new Date(Date.now() + 60_000) }
}

async function refresh(user: string): Promise<Date | undefined> {
  return user === 'guest' ? undefined : new Date(Date.now() + 60_000)
}
