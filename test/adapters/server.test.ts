import { once } from 'node:events'
import { connect } from 'node:net'
import express from 'express'
import Koa from 'koa'
import { afterEach, describe, expect, it } from 'vitest'
import { Hub } from 'wshub'
import { wsHub as expressHub } from 'wshub/express'
import { wsHub as koaHub } from 'wshub/koa'
import { makeServer } from '../support/http2-tunnel.ts'
import { destroyClients, inTime, RawClient, sampleAccept, until } from '../support/raw.ts'
import {
  closeAfterTest,
  closeApps,
  closeServer,
  echo,
  echoRoute,
  frameworks,
  listen,
  portOf,
} from './frameworks.ts'

afterEach(async () => {
  destroyClients()
  await closeApps()
})

/** A hub checks for stopped servers as often as its shortest time requires: every 25 ms with these. */
const quick = { closeTimeoutMs: 200 }

describe('Server', () => {
  describe.each(frameworks)('of $name', ({ start }) => {
    it.each(['listen', 'createServer', 'https'] as const)(
      'accepts an upgrade as its first request when it was made by %s',
      async (server) => {
        const app = await start({ routes: { '/ws': echoRoute }, server })
        const client = await RawClient.ask(app)
        const answer = await client.opened()
        expect(answer.head).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n/)
        expect(answer.header('upgrade')).toBe('websocket')
        expect(answer.header('connection')).toBe('Upgrade')
        expect(answer.header('sec-websocket-accept')).toBe(sampleAccept)
        await client.echoes()
        expect(app.hub.size).toBe(1)
      },
    )

    it('still answers ordinary requests', async () => {
      const app = await start({ routes: { '/ws': echoRoute, '/': (exchange) => exchange.send(200, 'page') } })
      await RawClient.open(app)
      const answer = await fetch(`http://127.0.0.1:${app.port}/`)
      expect(await answer.text()).toBe('page')
    })

    it('shares its application with a second server, both with one hub', async () => {
      const app = await start({ routes: { '/ws': echoRoute } })
      const second = await app.listenAgain()
      const clients = [await RawClient.open(app), await RawClient.open(second)]
      expect(app.hub.size).toBe(2)
      app.hub.broadcast('to all')
      for (const client of clients) expect(await client.message()).toBe('to all')
    })

    it('is closed by its framework with clients connected, who get 1001', async () => {
      const closes: number[] = []
      const app = await start({
        routes: {
          '/ws': (exchange) =>
            exchange.upgrade({ ...echo, onClose: (_conn, code) => void closes.push(code) }),
        },
      })
      const clients = [await RawClient.open(app), await RawClient.open(app)]
      const closed = app.close()
      for (const client of clients) {
        expect(await client.closed()).toBe(1001)
        await client.ended()
      }
      await inTime('the server to close', closed)
      expect(app.server.listening).toBe(false)
      // A server reports that its sockets have closed a tick before each socket does.
      await until(
        'both onClose',
        () => closes.length === 2,
        () => closes,
      )
      expect(closes).toEqual([1001, 1001])
      expect(app.hub.size).toBe(0)
    })

    it('is closed with server.close(), and clients get 1001', async () => {
      const app = await start({ routes: { '/ws': echoRoute } })
      const client = await RawClient.open(app)
      const closed = closeServer(app.server)
      expect(await client.closed()).toBe(1001)
      await inTime('the server to close', closed)
    })

    it('is closed with server.close() while clients of a second server stay', async () => {
      const app = await start({ hub: quick, routes: { '/ws': echoRoute }, server: 'createServer' })
      const second = await app.listenAgain()
      const staying = await RawClient.open(app)
      const leaving = await RawClient.open(second)
      const closed = closeServer(second.server)
      expect(await leaving.closed()).toBe(1001)
      await inTime('the server to close', closed)
      await staying.echoes()
      await RawClient.open(app)
    })

    it('closes only its own clients of a shared hub', async () => {
      const hub = new Hub(quick)
      const leaving = await start({ hub: { hub }, routes: { '/ws': echoRoute } })
      const staying = await start({ hub: { hub }, routes: { '/ws': echoRoute } })
      expect([leaving.hub, staying.hub]).toEqual([hub, hub])
      const leaver = await RawClient.open(leaving)
      const stayer = await RawClient.open(staying)
      expect(hub.size).toBe(2)
      const closed = leaving.close()
      expect(await leaver.closed()).toBe(1001)
      await inTime('the server to close', closed)
      await stayer.echoes()
      expect(hub.state).toBe('open')
    })

    it('has no upgrade listener any more when its hub is closed', async () => {
      const app = await start({ routes: { '/ws': echoRoute } })
      await RawClient.open(app)
      expect(app.server.listenerCount('upgrade')).toBe(1)
      const closed = app.hub.close({ timeoutMs: 50 })
      await inTime('the hub to close', closed)
      expect(app.server.listenerCount('upgrade')).toBe(0)
    })
  })

  describe('that listened before the hub was mounted', () => {
    it('takes upgrades for Express', async () => {
      const app = express()
      const server = app.listen(0, '127.0.0.1')
      await once(server, 'listening')
      const hub = expressHub()
      closeAfterTest(hub.hub, server)
      app.use(hub)
      app.get('/ws', (_req, res) => res.upgradeWebSocket(echo))
      await (await RawClient.open({ port: portOf(server) })).echoes()
    })

    it('takes upgrades for Koa', async () => {
      const app = new Koa()
      const server = makeServer((req, res) => void app.callback()(req, res)) // Koa composes the middleware that it has at that time.
      const target = await listen(server)
      const hub = koaHub()
      closeAfterTest(hub.hub, server)
      app.use(hub)
      app.use((ctx) => ctx.upgradeWebSocket(echo))
      await (await RawClient.open(target)).echoes()
    })

    it('takes upgrades for node:http', async () => {
      const hub = new Hub()
      const server = makeServer((req) => hub.upgrade(req, echo))
      const target = await listen(server)
      closeAfterTest(hub, server)
      hub.attach(server)
      await (await RawClient.open(target)).echoes()
    })
  })

  describe('of node:http', () => {
    it('keeps its connections after detach', async () => {
      const hub = new Hub()
      const server = makeServer((req, res) => {
        if (req.url === '/ws') hub.upgrade(req, echo)
        else res.end()
      })
      closeAfterTest(hub, server)
      const detach = hub.attach(server)
      expect(hub.attach(server)).toBe(detach)
      expect(server.listenerCount('upgrade')).toBe(1)
      const target = await listen(server)
      const client = await RawClient.open(target)
      detach()
      expect(server.listenerCount('upgrade')).toBe(0)
      await client.echoes()
    })

    it('is closed by server.close() after detach, and its clients get 1001', async () => {
      const hub = new Hub(quick)
      const server = makeServer((req) => hub.upgrade(req, echo))
      closeAfterTest(hub, server)
      const detach = hub.attach(server)
      const target = await listen(server)
      const client = await RawClient.open(target)
      detach()
      detach()
      const closed = closeServer(server)
      expect(await client.closed()).toBe(1001)
      await inTime('the server to close', closed)
      expect(server.listenerCount('close')).toBe(0)
    })

    it('can be attached again after detach', async () => {
      const hub = new Hub(quick)
      const server = makeServer((req) => hub.upgrade(req, echo))
      closeAfterTest(hub, server)
      const target = await listen(server)
      for (let i = 0; i < 20; i++) hub.attach(server)()
      hub.attach(server)
      expect(server.listenerCount('close')).toBe(1)
      const client = await RawClient.open(target)
      await client.echoes()
      const closed = closeServer(server)
      expect(await client.closed()).toBe(1001)
      await inTime('the server to close', closed)
    })

    it('answers 500 and names the solution when it was never attached', async () => {
      const hub = new Hub()
      let thrown: unknown
      const server = makeServer((req, res) => {
        try {
          hub.upgrade(req, echo)
        } catch (error) {
          thrown = error
          res.writeHead(500, { Connection: 'close' }).end()
        }
      })
      closeAfterTest(hub, server)
      expect((await RawClient.refused(await listen(server))).status).toBe(500)
      expect(thrown).toMatchObject({
        code: 'WSHUB_ERR_NOT_ATTACHED',
        message: expect.stringMatching(/hub\.attach\(server\).*on Bun/),
      })
    })

    it('keeps its own upgrade listener beside an Express hub', async () => {
      const hub = expressHub()
      const foreign = makeServer((_req, res) => res.writeHead(404).end())
      foreign.on('upgrade', (_req, socket) => {
        socket.end('HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n')
      })
      closeAfterTest(hub.hub, foreign)
      expect((await RawClient.refused(await listen(foreign))).status).toBe(418)
    })

    it('survives bytes that no HTTP client sends', async () => {
      const hub = new Hub()
      const server = makeServer((req) => hub.upgrade(req, echo))
      closeAfterTest(hub, server)
      hub.attach(server)
      const { port } = await listen(server)
      const socket = connect(port, '127.0.0.1')
      socket.end('\x16\x03\x01 nonsense\r\n\r\n')
      socket.resume()
      await inTime('the server to hang up', once(socket, 'close'))
      const client = await RawClient.open({ port })
      await client.echoes()
      await until('one connection', () => hub.size === 1)
    })
  })
})
