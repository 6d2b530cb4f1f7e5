import { createServer, type RequestListener } from 'node:http'
import { createServer as createHttps } from 'node:https'
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import { Hub, HubError } from 'wshub'
import { echo, listen, selfSigned } from '../adapters/frameworks.ts'
import { failOnStrayErrors } from '../adapters/stray-errors.ts'
import { destroySessions, Http2Client, StreamClient } from '../support/http2-client.ts'
import { http2Server } from '../support/http2-tunnel.ts'
import { stop } from '../support/hub-server.ts'
import { destroyClients, inTime, RawClient, sampleKey, type Target } from '../support/raw.ts'

failOnStrayErrors('warning')

afterEach(destroySessions)
afterEach(destroyClients)

const servers = {
  http: (listener: RequestListener) => createServer(listener),
  https: (listener: RequestListener) => createHttps(selfSigned(), listener),
  http2: (listener: RequestListener) => http2Server(listener, selfSigned()),
  h2c: (listener: RequestListener) => http2Server(listener),
}

/** A server on which the hub takes every request. */
async function serve(kind: keyof typeof servers): Promise<Target> {
  const hub = new Hub({ pingIntervalMs: 0 })
  const server = servers[kind]((req, res) => {
    try {
      void hub.upgrade(req, echo)
    } catch (error) {
      if (!(error instanceof HubError)) throw error
      res.writeHead(error.status, { ...error.headers }).end(error.message)
    }
  })
  hub.attach(server)
  onTestFinished(async () => {
    destroySessions()
    await hub.close({ timeoutMs: 50 })
    await stop(server)
  })
  return { ...(await listen(server)), secure: kind === 'https' || kind === 'http2' }
}

/** Returns the status with which HTTP/1.1 is answered; `hung up` without an answer. */
async function statusOf({ port, secure }: Target, head: string): Promise<string> {
  const options = { port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] }
  const socket = secure ? connectTls(options) : connect(options)
  onTestFinished(() => void socket.destroy())
  let answer = ''
  socket.on('error', () => {}) // 'close' follows
  const answered = new Promise<void>((resolve) => {
    socket.on('data', (bytes) => {
      answer += bytes
      if (answer.includes('\r\n\r\n')) resolve()
    })
    socket.on('close', () => resolve())
  })
  socket.write(`${head}\r\nHost: localhost\r\n\r\n`)
  await inTime('an answer', answered, () => answer)
  return answer.split(' ')[1] ?? 'hung up'
}

const UPGRADE = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${sampleKey}`

/** The statuses of a request of HTTP/1.1, and of the same one with the headers of an upgrade. */
const HTTP1 = {
  'GET /': ['426', '101'],
  'HEAD /': ['426', '405'],
  'POST /': ['426', '405'],
  'OPTIONS *': ['426', '405'],
  'TRACE /': ['426', '405'],
  'PRI *': ['400', '400'], // by Node's parser
  'CONNECT localhost:443': ['hung up', 'hung up'], // as by Node without a hub
}

/** The statuses of requests of HTTP/2, by their pseudo-headers. */
const HTTP2 = {
  ':method GET :path /': 426,
  ':method HEAD :path /': 426,
  ':method POST :path /': 426,
  ':method OPTIONS :path *': 426,
  ':method TRACE :path /': 426,
  ':method PRI :path /': 426,
  ':method CONNECT :authority localhost:443': 405,
  ':method CONNECT :path / :scheme https :protocol websocket': 200,
  ':method CONNECT :path / :scheme https :protocol webtransport': 501,
  ':method CONNECT :path / :scheme https :protocol connect-udp': 501,
}

/** Returns the status with which a request of HTTP/2 is answered. */
async function http2StatusOf(client: Http2Client, pseudo: string): Promise<number | undefined> {
  const pairs = [...pseudo.matchAll(/(:\w+) (\S+)/g)].map(([, name, value]) => [name, value])
  const headers = Object.fromEntries(pairs)
  const stream = client.session.request({ ...headers, 'sec-websocket-version': '13' })
  const answer = await new StreamClient(stream).answer()
  stream.close()
  return answer[':status']
}

describe('Every method is answered, and no other connection ends', () => {
  it.each(['http', 'https', 'http2'] as const)('of HTTP/1.1 on a server of %s', async (kind) => {
    const target = await serve(kind)
    const neighbour = await RawClient.open(target)
    for (const [line, statuses] of Object.entries(HTTP1)) {
      const head = `${line} HTTP/1.1`
      const seen = [await statusOf(target, head), await statusOf(target, `${head}\r\n${UPGRADE}`)]
      expect([line, ...seen]).toEqual([line, ...statuses])
    }
    await neighbour.echoes()
  })

  it.each(['http2', 'h2c'] as const)('of HTTP/2 on a server of %s', async (kind) => {
    const target = await serve(kind)
    const client = await Http2Client.connect(target)
    const neighbour = await client.open()
    for (const [pseudo, status] of Object.entries(HTTP2)) {
      expect([pseudo, await http2StatusOf(client, pseudo)]).toEqual([pseudo, status])
    }
    await neighbour.echoes()
  })

  it('of HTTP/1.1 on a server of h2c, which hangs up', async () => {
    const target = await serve('h2c')
    const neighbour = await (await Http2Client.connect(target)).open()
    for (const line of Object.keys(HTTP1)) {
      expect(await statusOf(target, `${line} HTTP/1.1\r\n${UPGRADE}`)).toBe('hung up')
    }
    await neighbour.echoes()
  })
})
