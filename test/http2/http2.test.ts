import { once } from 'node:events'
import { constants, createServer } from 'node:http2'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import { Hub } from 'wshub'
import { echo, portOf } from '../adapters/frameworks.ts'
import { destroySessions, Http2Client, type StreamClient } from '../support/http2-client.ts'
import { Journal } from '../support/hub-server.ts'
import { destroyClients, Gate, handshake, inTime, RawClient, until } from '../support/raw.ts'
import { type ServeInit, serve } from './served.ts'

const { NGHTTP2_CANCEL: CANCEL, NGHTTP2_INTERNAL_ERROR: INTERNAL_ERROR } = constants

afterEach(destroySessions)
afterEach(destroyClients)

describe.each([
  ['h2c', false],
  ['TLS', true],
])('a hub on a server of node:http2 over %s', (_name, secure) => {
  it('opens a connection for an extended CONNECT, which its route sees as a GET', async () => {
    const served = await serve({}, echo, { secure })
    const client = await Http2Client.connect(served)
    expect(client.isAnnounced).toBe(true)
    const socket = await client.open('/ws?a=1', { cookie: 'sid=1' })
    await socket.echoes()
    const [req] = served.requests
    expect(req).toMatchObject({ method: 'GET', url: '/ws?a=1', httpVersion: '2.0' })
    expect(req?.headers).toMatchObject({ host: 'localhost', upgrade: 'websocket', cookie: 'sid=1' })
    expect(served.connections[0]?.remoteAddress).toBe('127.0.0.1')
  })

  it('carries many connections and ordinary requests in one session', async () => {
    const served = await serve({}, echo, { secure })
    const client = await Http2Client.connect(served)
    const sockets = await Promise.all(Array.from({ length: 100 }, () => client.open()))
    const page = client.get('/page')
    expect(await page.refused()).toMatchObject({ status: 426 })
    await Promise.all(sockets.map((socket, index) => socket.echoes(`message ${index}`)))
    expect(served.hub.size).toBe(100)
  })

  it('answers with subprotocol, extensions and the headers of the route', async () => {
    const init: ServeInit = {
      secure,
      protocol: 'chat',
      headers: { 'x-route': 'yes', 'set-cookie': ['a=1', 'b=2'] },
      before: (_req, res) => {
        res.setHeader('X-Middleware', 'yes')
        return false
      },
    }
    const served = await serve({ enableCompression: true }, echo, init)
    const client = await Http2Client.connect(served)
    const socket = await client.open('/ws', {
      'sec-websocket-protocol': 'other, chat',
      'sec-websocket-extensions': 'permessage-deflate; client_max_window_bits',
    })
    const answer = await socket.answer()
    expect(answer).toMatchObject({
      ':status': 200,
      'sec-websocket-protocol': 'chat',
      'x-route': 'yes',
      'x-middleware': 'yes',
      'set-cookie': ['a=1', 'b=2'],
    })
    expect(answer['sec-websocket-extensions']).toContain('permessage-deflate')
    for (const name of ['connection', 'upgrade', 'sec-websocket-accept']) expect(answer[name]).toBeUndefined()
    await socket.echoes()
  })

  it('lets the route refuse with an ordinary answer, and keeps the session', async () => {
    const before: ServeInit['before'] = (req, res) => {
      if (req.url !== '/no') return false
      res.writeHead(401, { 'Content-Type': 'text/plain', Connection: 'close' }).end('who are you?')
      return true
    }
    const client = await Http2Client.connect(await serve({}, echo, { secure, before }))
    const refused = await client.request('/no').refused()
    expect(refused).toMatchObject({ status: 401, body: 'who are you?' })
    expect(refused.headers['content-type']).toBe('text/plain')
    await (await client.open()).echoes()
  })

  it('refuses what is no handshake', async () => {
    const served = await serve({}, echo, { secure })
    const client = await Http2Client.connect(served)
    expect(await client.request('/', { 'sec-websocket-version': '12' }).refused()).toMatchObject({
      status: 426,
      headers: { 'sec-websocket-version': '13' },
    })
    expect((await client.request('/', { origin: 'https://evil.example' }).refused()).status).toBe(403)
    expect((await client.request('/', {}, true).refused()).status).toBe(400)
    expect((await client.request('/', { ':protocol': 'webtransport' }).refused()).status).toBe(501)
    const plain = { ':protocol': undefined, ':scheme': undefined, ':path': undefined }
    expect((await client.request('/', plain).refused()).status).toBe(405)
    expect(served.connections).toEqual([])
    await (await client.open('/ws', { origin: `${secure ? 'https' : 'http'}://localhost` })).echoes()
  })

  it('streams an answer in parts and in chunks', async () => {
    const rest = 'and the rest '.repeat(20_000)
    const before: ServeInit['before'] = (req, res) => {
      if (!req.url?.startsWith('/stream')) return false
      res.writeEarlyHints({ link: '</style.css>; rel=preload' })
      if (req.url === '/streamed-in-chunks') res.setHeader('Transfer-Encoding', 'chunked')
      res.writeHead(404, { 'Content-Type': 'text/plain' })
      res.write('a part, ')
      setImmediate(() => res.end(rest))
      return true
    }
    const client = await Http2Client.connect(await serve({}, echo, { secure, before }))
    for (const path of ['/streamed', '/streamed-in-chunks']) {
      const request = client.request(path)
      const hints = once(request.stream, 'headers')
      expect((await inTime('early hints', hints))[0]).toMatchObject({ ':status': 103 })
      const { status, body } = await request.refused()
      expect({ status, isWhole: body === `a part, ${rest}` }).toEqual({ status: 404, isWhole: true })
    }
  })

  it('closes when the client closes', async () => {
    const closes = new Journal<number>()
    const served = await serve({}, { ...echo, onClose: (_conn, code) => closes.push(code) }, { secure })
    const client = await Http2Client.connect(served)
    const socket = await client.open()
    socket.close(4001)
    expect((await socket.frame()).payload.readUInt16BE(0)).toBe(4001)
    await socket.ended()
    socket.stream.end()
    expect(await socket.reset()).toBe(0)
    await closes.first('onClose', (code) => code === 4001)
    expect(served.hub.size).toBe(0)
  })

  it('closes the client', async () => {
    const served = await serve({}, echo, { secure })
    const client = await Http2Client.connect(served)
    const socket = await client.open()
    served.connections[0]?.close(4002)
    expect(await socket.closed()).toBe(4002)
    await socket.ended()
    socket.stream.end()
    expect(await socket.reset()).toBe(0)
    await (await client.open()).echoes()
  })

  it('resets the stream with CANCEL when the connection is terminated', async () => {
    const served = await serve({}, echo, { secure })
    const client = await Http2Client.connect(served)
    const socket = await client.open()
    served.connections[0]?.terminate()
    expect(await socket.reset()).toBe(CANCEL)
    await (await client.open()).echoes()
  })

  it.each([
    ['reset its stream', (socket: StreamClient) => socket.stream.close(CANCEL)],
    ['reset its stream with an error', (socket: StreamClient) => socket.stream.close(INTERNAL_ERROR)],
    ['ended its stream without a close frame', (socket: StreamClient) => socket.stream.end()],
    ['destroyed its session', (socket: StreamClient) => socket.stream.session?.destroy()],
  ])('ends a connection whose client has %s', async (_what, end) => {
    const closed = new Gate()
    const codes: number[] = []
    const served = await serve(
      {},
      {
        ...echo,
        onClose(_connection, code) {
          codes.push(code)
          closed.open()
        },
      },
      { secure },
    )
    const neighbour = await (await Http2Client.connect(served)).open()
    const socket = await (await Http2Client.connect(served)).open()
    end(socket)
    await closed.passed('onClose')
    expect(codes).toEqual([1006])
    await neighbour.echoes()
    expect(served.hub.size).toBe(1)
  })

  it('says goodbye and then sends GOAWAY when the hub closes', async () => {
    const served = await serve({}, echo, { secure })
    const client = await Http2Client.connect(served)
    const idle = await Http2Client.connect(served)
    const sockets = [await client.open(), await client.open()]
    for (const connection of served.connections) connection.sendText('the last')
    const closed = served.hub.close()
    for (const socket of sockets) {
      expect(await socket.message()).toBe('the last')
      expect(await socket.closed()).toBe(1001)
      expect((await client.request().refused()).status).toBe(503)
      expect(client.events.all).toEqual([])
      socket.stream.end()
      expect(await socket.reset()).toBe(0)
    }
    expect(await closed).toEqual({ closed: 2, terminated: 0 })
    await client.events.first('the end of the session', (event) => event === 'close')
    expect(new Set(client.events.all)).toEqual(new Set(['goaway 0', 'close']))
    expect(await idle.get('/').refused()).toMatchObject({ status: 503 })
  })

  it('sends GOAWAY to a client that did not answer the goodbye', async () => {
    const closes: number[] = []
    const served = await serve({}, { ...echo, onClose: (_conn, code) => void closes.push(code) }, { secure })
    const client = await Http2Client.connect(served)
    const socket = await client.open()
    expect(await served.hub.close({ timeoutMs: 50 })).toEqual({ closed: 0, terminated: 1 })
    expect(closes).toEqual([1001])
    expect(await socket.reset()).toBe(CANCEL)
    await client.events.first('the end of the session', (event) => event === 'close')
    expect(new Set(client.events.all)).toEqual(new Set(['goaway 0', 'close']))
  })

  it('limits the connections in one session', async () => {
    const served = await serve({ limits: { maxConnectionsPerSession: 2 } }, echo, { secure })
    const client = await Http2Client.connect(served)
    const first = await client.open()
    await client.open()
    expect((await client.request().refused()).status).toBe(429)
    await (await Http2Client.connect(served)).open()
    first.stream.close(CANCEL)
    await until('the connection to end', () => served.hub.size === 2)
    await (await client.open()).echoes()
  })

  it('limits the connections of one address', async () => {
    const served = await serve({ limits: { maxConnectionsPerAddress: 2 } }, echo, { secure })
    const client = await Http2Client.connect(served)
    await client.open()
    await client.open()
    expect((await client.request().refused()).status).toBe(429)
    expect((await (await Http2Client.connect(served)).request().refused()).status).toBe(429)
  })

  it('is not announced beside another upgrade listener', async () => {
    const served = await serve({}, echo, { secure })
    expect((await Http2Client.connect(served)).isAnnounced).toBe(true)
    const neighbour = () => {}
    served.server.on('upgrade', neighbour)
    expect((await Http2Client.connect(served)).isAnnounced).toBe(false)
    served.server.off('upgrade', neighbour)
    expect((await Http2Client.connect(served)).isAnnounced).toBe(true)
  })

  it('is announced to a session that is older than the hub, with its next request', async () => {
    const served = await serve({}, echo, { secure })
    served.hub.attach(served.server)()
    const client = await Http2Client.connect(served)
    expect(client.isAnnounced).toBe(false)
    const settings = once(client.session, 'remoteSettings')
    served.hub.attach(served.server)
    expect((await client.get('/').refused()).status).toBe(426)
    await inTime('more settings', settings)
    await (await client.open()).echoes()
  })

  it('is not announced any more once the hub is detached', async () => {
    const served = await serve({}, echo, { secure })
    const client = await Http2Client.connect(served)
    served.hub.attach(served.server)()
    expect((await Http2Client.connect(served)).isAnnounced).toBe(false)
    expect((await client.request().refused()).status).toBe(405)
  })
})

describe('a hub on a server of node:http2 that allows HTTP/1.1', () => {
  it('takes upgrades of both protocols on one port', async () => {
    const served = await serve({}, echo, { secure: true })
    const old = await RawClient.connect(served)
    old.write(handshake())
    await old.opened()
    await old.echoes()
    await (await (await Http2Client.connect(served)).open()).echoes()
    expect(served.hub.size).toBe(2)
  })
})

describe('Hub#attach without a server', () => {
  it('finds a server of node:http2 when it begins to listen', async () => {
    const hub = new Hub({ pingIntervalMs: 0 })
    hub.attach()
    const server = createServer((req, res) => {
      if (req.headers.upgrade === undefined) res.writeHead(426).end()
      else hub.upgrade(req, echo)
    })
    onTestFinished(async () => {
      destroySessions()
      await hub.close({ timeoutMs: 50 })
      server.close()
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    await (await (await Http2Client.connect({ port: portOf(server) })).open()).echoes()
  })

  it('leaves a server alone that answers streams itself', async () => {
    const hub = new Hub()
    hub.attach()
    const server = createServer()
    onTestFinished(async () => {
      destroySessions()
      await hub.close({ timeoutMs: 50 })
      server.close()
    })
    server.on('stream', (stream) => {
      stream.respond()
      stream.end('itself')
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const client = await Http2Client.connect({ port: portOf(server) })
    expect(client.isAnnounced).toBe(false)
    expect(server.listenerCount('request')).toBe(0)
    await client.get('/').answer()
  })
})
