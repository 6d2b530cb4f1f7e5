import { once } from 'node:events'
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
} from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import express from 'express'
import fastify from 'fastify'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Hub } from 'wshub'
import { wsHub as expressHub } from 'wshub/express'
import { hubPlugin } from 'wshub/fastify'
import { type Application, type ConnectOptions, connect, UpgradeRefusedError } from 'wshub/testing'
import { selfSigned } from '../adapters/frameworks.ts'
import { until } from '../support/raw.ts'
import { handler, kinds, type Made } from './applications.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** The answer to a refused upgrade. */
async function refusal(
  app: Application,
  url: string,
  options?: ConnectOptions,
): Promise<UpgradeRefusedError> {
  const outcome = await connect(app, url, options).catch((error: unknown) => error)
  if (outcome instanceof UpgradeRefusedError) return outcome
  throw new Error('the upgrade was not refused', { cause: outcome })
}

/** Sockets and servers of any kind that are open in this process. */
const sockets = () => process.getActiveResourcesInfo().filter((name) => /TCP|Pipe|TLS/.test(name))

describe('#connect', () => {
  describe.each(kinds)('to $name', ({ make }) => {
    let made: Made
    let before: string[]

    beforeEach(() => {
      before = sockets()
      made = make({ protocols: ['chat', 'echo'], enableCompression: true })
      cleanups.push(() => made.close())
    })

    it('carries a message both ways, text and binary', async () => {
      const client = await connect(made.app, '/echo')
      client.send('Grüße')
      client.send(Buffer.from([0, 255]))
      client.send(new Uint8Array([1]))
      client.send(new ArrayBuffer(2))
      client.send('')
      expect(await client.next()).toEqual({ type: 'text', data: 'Grüße' })
      expect(await client.next()).toEqual({ type: 'binary', data: Buffer.from([0, 255]) })
      expect(await client.next()).toEqual({ type: 'binary', data: Buffer.from([1]) })
      expect(await client.next()).toEqual({ type: 'binary', data: Buffer.from([0, 0]) })
      expect(await client.next()).toEqual({ type: 'text', data: '' })
    })

    it('carries megabytes both ways', async () => {
      const big = make({ maxMessageSize: 5_000_000, maxBufferedBytes: 10_000_000 })
      cleanups.push(() => big.close())
      const client = await connect(big.app, '/echo')
      const data = Buffer.alloc(4_000_000, 'wshub')
      client.send(data)
      client.send('marker')
      const message = await client.next()
      expect(message.type).toBe('binary')
      expect(data.equals(Buffer.from(message.data))).toBe(true)
      expect(await client.next()).toEqual({ type: 'text', data: 'marker' })
    })

    it('opens no port', async () => {
      const client = await connect(made.app, '/echo')
      expect(made.hub.size).toBe(1)
      expect(sockets()).toEqual(before)
      client.send('marker')
      await client.next()
      expect(sockets()).toEqual(before)
    })

    it('shares the session of an ordinary request, and shows the headers of the 101', async () => {
      const login = await refusal(made.app, '/login')
      expect(login).toMatchObject({ status: 200, body: 'welcome' })
      const cookie = login.headers['set-cookie']?.map((value) => value.split(';')[0]).join('; ') ?? ''
      const client = await connect(made.app, '/private', { headers: { cookie } })
      expect(client.response.statusCode).toBe(101)
      expect(client.response.headers['set-cookie']).toEqual(expect.arrayContaining(['seen=1']))
      expect(client.response.headers['x-room']).toBe('lobby')
      expect(await client.next()).toEqual({ type: 'text', data: 'hello ada of 127.0.0.1' })

      const remoteAddress = '203.0.113.7'
      const elsewhere = await connect(made.app, '/private', { headers: { cookie }, remoteAddress })
      expect(await elsewhere.next()).toEqual({ type: 'text', data: 'hello ada of 203.0.113.7' })
    })

    it('rejects with the answer of a guard', async () => {
      const error = await refusal(made.app, '/private')
      expect(error.name).toBe('UpgradeRefusedError')
      expect(error.message).toBe('the upgrade was answered with 401 Unauthorized: log in first')
      expect(error.status).toBe(401)
      expect(error.body).toBe('log in first')
      expect(error.headers.connection).toBe('close')
      expect(made.hub.size).toBe(0)
      expect(sockets()).toEqual(before)
    })

    it('rejects with the answer to a missing path', async () => {
      expect((await refusal(made.app, '/nowhere')).status).toBe(404)
    })

    it('rejects with the answer of the hub', async () => {
      const headers = { origin: 'https://evil.example' }
      expect((await refusal(made.app, '/echo', { headers })).status).toBe(403)
    })

    it('uses the Host of a URL', async () => {
      const headers = { origin: 'http://app.example.com' }
      const client = await connect(made.app, 'ws://app.example.com/echo', { headers })
      await client.close()
    })

    it('offers subprotocols', async () => {
      const one = await connect(made.app, '/echo', { protocols: 'echo' })
      expect(one.protocol).toBe('echo')
      const preferred = await connect(made.app, '/echo', { protocols: ['echo', 'chat'] })
      expect(preferred.protocol).toBe('chat')
      const none = await connect(made.app, '/echo')
      expect(none.protocol).toBe('')
      await expect(connect(made.app, '/echo', { protocols: ['other'] })).rejects.toThrow(
        'the upgrade failed: Server sent no subprotocol',
      )
      await until('the hub to notice', () => made.hub.size === 3)
    })

    it('offers compression on request', async () => {
      const plain = await connect(made.app, '/echo')
      expect(plain.response.headers['sec-websocket-extensions']).toBeUndefined()
      const client = await connect(made.app, '/echo', { perMessageDeflate: true })
      expect(client.response.headers['sec-websocket-extensions']).toMatch(/^permessage-deflate/)
      const data = 'a'.repeat(10_000)
      client.send(data)
      expect(await client.next()).toEqual({ type: 'text', data })
    })

    it('ends with the close code and reason of the application', async () => {
      const client = await connect(made.app, '/echo')
      client.send('leave')
      expect(await client.closed).toEqual({ code: 4001, reason: 'as told' })
      await until('the hub to forget it', () => made.hub.size === 0)
    })

    it('ends with 1001 when the application closes', async () => {
      const clients = await Promise.all([connect(made.app, '/echo'), connect(made.app, '/echo')])
      await made.close()
      for (const client of clients) expect(await client.closed).toEqual({ code: 1001, reason: '' })
      expect(made.hub.size).toBe(0)
    })
  })

  it('is answered with 503 once the hub is closed', async () => {
    const sockets = expressHub()
    const app = express()
    app.use(sockets)
    app.get('/', (_req, res) => res.upgradeWebSocket(handler))
    await sockets.hub.close()
    expect((await refusal(app, '/')).status).toBe(503)
  })

  it('rejects with the error of a plugin that does not load', async () => {
    const app = fastify()
    app.register(async () => {
      throw new Error('no database')
    })
    await expect(connect(app, '/')).rejects.toThrow('no database')
    await app.close()
  })

  it('is refused by a server whose other listeners answer the upgrade', async () => {
    const server = createHttpServer()
    server.on('upgrade', (_req, socket) => socket.end('HTTP/1.1 418 Teapot\r\nContent-Length: 3\r\n\r\ntea'))
    expect(await refusal(server, '/')).toMatchObject({ status: 418, body: 'tea' })
  })

  it('says that there was no answer, after timeoutMs', async () => {
    const requests: IncomingMessage[] = []
    const app = (req: IncomingMessage) => void requests.push(req)
    await expect(connect(app, '/', { timeoutMs: 20 })).rejects.toThrow(
      'no answer to the upgrade within 20 ms',
    )
    await until('the request to end', () => requests[0]?.socket.destroyed === true)
  })

  it('says that the application closed the socket', async () => {
    await expect(connect((req) => req.socket.destroy(), '/')).rejects.toThrow(
      'the upgrade failed: socket hang up',
    )
  })

  it('has the line of the test in the stack of its errors', async () => {
    const lost = async () => await connect(() => {}, '/', { timeoutMs: 20 })
    const refused = async () => await connect((_req, res) => res.end(), '/')
    for (const call of [lost, refused]) {
      const error = await call().catch((error: unknown) => error)
      expect(error).toHaveProperty('stack', expect.stringContaining('connect.test.ts'))
    }
  })

  it('rejects and says what is missing when it has no path', async () => {
    const call: Promise<unknown> = Reflect.apply(connect, undefined, [() => {}])
    await expect(call).rejects.toThrow(
      new TypeError("connect takes an application and a path, such as '/ws', not undefined"),
    )
  })

  it.each<[shown: string, app: () => unknown]>([
    ['undefined', () => undefined],
    ['null', () => null],
    ['{}', () => ({})],
    ['[Object]', () => ({ ready: true })],
    ['Hub [Object]', () => new Hub()],
    ['[Promise]', () => Promise.resolve(express())],
    ['[Http2Server]', () => createHttp2Server()],
  ])('rejects and says what is no application: %s', async (shown, app) => {
    const call: Promise<unknown> = Reflect.apply(connect, undefined, [app(), '/ws'])
    const takes = 'an application of Express, Fastify or Koa, a server of node:http, or a request listener'
    await expect(call).rejects.toThrow(new TypeError(`connect takes ${takes}, not ${shown}`))
  })

  it.each([-1, Number.NaN, Number.POSITIVE_INFINITY, '5', null])(
    'refuses %o as timeoutMs',
    async (timeoutMs) => {
      const call: Promise<unknown> = Reflect.apply(connect, undefined, [() => {}, '/', { timeoutMs }])
      const shown = typeof timeoutMs === 'string' ? "'5'" : timeoutMs
      await expect(call).rejects.toThrow(
        new TypeError(`timeoutMs is a number from 0 to 2147483647, not ${shown}`),
      )
    },
  )

  it('rejects with the status of an endless answer, and the beginning of its body', async () => {
    const stream = await refusal((_req, res) => void res.writeHead(200).write('event: tick\n\n'), '/', {
      timeoutMs: 100,
    })
    expect(stream).toMatchObject({ status: 200, body: 'event: tick\n\n' })
    const half: RequestListener = (_req, res) => {
      res.writeHead(500, { 'Content-Length': 100 }).write('half')
      setImmediate(() => setImmediate(() => res.destroy()))
    }
    expect(await refusal(half, '/', { timeoutMs: 0 })).toMatchObject({ status: 500, body: 'half' })
  })

  it('keeps the first mebibyte of an endless body', async () => {
    let written = 0
    const error = await refusal((_req, res) => {
      const write = () => {
        while (!res.destroyed) {
          written += 65_536
          if (!res.write('x'.repeat(65_536))) return
        }
      }
      res.on('drain', write)
      write()
    }, '/')
    expect(error.body.length).toBe(1_048_576)
    expect(written).toBeLessThan(3_000_000)
  })

  it('refuses a URL that is not one of a WebSocket', async () => {
    await expect(connect(() => {}, 'ftp://localhost/')).rejects.toThrow(SyntaxError)
    await expect(connect(() => {}, '/', { protocols: ['a', 'a'] })).rejects.toThrow(SyntaxError)
  })

  describe('over https', () => {
    const isSecure = (req: IncomingMessage) =>
      String('encrypted' in req.socket && req.socket.encrypted === true)

    it('reaches a listener by a wss: URL', async () => {
      const sockets = expressHub()
      cleanups.push(() => sockets.hub.close())
      const app = express()
      app.use(sockets)
      app.get('/', (req, res) => {
        const metadata = { says: `${req.protocol} ${req.secure}` }
        res.upgradeWebSocket(
          { onOpen: (conn) => conn.sendText(String(conn.getMetadata('says'))) },
          { metadata },
        )
      })
      const secure = await connect(app, 'wss://app.example.com/', {
        headers: { origin: 'https://app.example.com' },
      })
      expect(await secure.next()).toEqual({ type: 'text', data: 'https true' })
      const plain = await connect(app, '/')
      expect(await plain.next()).toEqual({ type: 'text', data: 'http false' })
    })

    it('reaches a Fastify application with https', async () => {
      const app = fastify({ https: selfSigned() })
      cleanups.push(() => app.close())
      await app.register(hubPlugin)
      app.get('/', (request, reply) =>
        reply.upgradeWebSocket({ onOpen: (conn) => conn.sendText(isSecure(request.raw)) }),
      )
      const client = await connect(app, '/')
      expect(await client.next()).toEqual({ type: 'text', data: 'true' })
    })

    it('reaches a server of node:https', async () => {
      const hub = new Hub()
      cleanups.push(() => hub.close())
      const server = createHttpsServer(selfSigned(), (req) => hub.upgrade(req, handler))
      hub.attach(server)
      const client = await connect(server, '/')
      client.send('hello')
      expect(await client.next()).toEqual({ type: 'text', data: 'hello' })
    })
  })

  describe('to a server that listens', () => {
    it('does not disturb it', async () => {
      const hub = new Hub()
      cleanups.push(() => hub.close())
      const server = createHttpServer((req) => hub.upgrade(req, handler))
      hub.attach(server)
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      expect(sockets()).toContain('TCPServerWrap')
      const client = await connect(server, '/')
      client.send('hello')
      expect(await client.next()).toEqual({ type: 'text', data: 'hello' })
      expect(server.listening).toBe(true)
      await client.close()
      server.close()
      await once(server, 'close')
    })
  })

  describe('leaves nothing behind', () => {
    it('leaves nothing on the server that it made for a listener', async () => {
      const servers: Server[] = []
      const sockets = expressHub()
      cleanups.push(() => sockets.hub.close())
      const app = express()
      app.use(sockets)
      app.get('/', (req, res) => {
        const { server } = req.socket as unknown as { server: Server } // as on any accepted socket of a server
        servers.push(server)
        expect(server.listenerCount('upgrade')).toBe(1)
        res.upgradeWebSocket(handler)
      })
      const client = await connect(app, '/')
      await refusal(app, '/nowhere')
      await until('the hub to let go', () => servers[0]?.listenerCount('upgrade') === 0)
      client.send('hello')
      expect(await client.next()).toEqual({ type: 'text', data: 'hello' })
    })

    it('leaves nothing on the server that it was given', async () => {
      const hub = new Hub()
      const server = createHttpServer((req) => hub.upgrade(req, handler))
      hub.attach(server)
      const names = () => server.eventNames().map((name) => [name, server.listenerCount(name)])
      const before = names()
      const client = await connect(server, '/')
      await client.close()
      expect(names()).toEqual(before)
      await hub.close()
    })
  })
})
