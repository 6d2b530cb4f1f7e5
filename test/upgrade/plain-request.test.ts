import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import { text as readText } from 'node:stream/consumers'
import express from 'express'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import { Hub, type HubOptions } from 'wshub'
import { wsHub as expressHub } from 'wshub/express'
import {
  closeAfterTest,
  closeApps,
  closeServer,
  echo,
  listen as listenOn,
  portOf,
  selfSigned,
} from '../adapters/frameworks.ts'
import { listen } from '../support/hub-server.ts'
import { destroyClients, handshake, RawClient, request, until } from '../support/raw.ts'

afterEach(async () => {
  destroyClients()
  await closeApps()
})

// Typed as version 5.
const express4 = createRequire(import.meta.url)('express4') as typeof express

const h2c = {
  Connection: 'Upgrade, HTTP2-Settings',
  Upgrade: 'h2c',
  'HTTP2-Settings': 'AAMAAABkAAQAoAAAAAIAAAAA',
}

// Since Node 25 the body of such a request is parsed separately from the upgrade, and the connection serves
// one request.
const isBodyApart = Number(process.versions.node.split('.')[0]) >= 25

/** Returns `count` headers without a meaning, in few bytes. */
const many = (count: number) => Array.from({ length: count }, () => 'a:\r\n').join('')

/** The bytes of a request with `middle` between its first headers and its last. */
function withHeaders(bytes: Buffer, middle: string, last: string): string {
  return bytes.toString('latin1').replace(/\r\n\r\n/, `\r\n${middle}${last}\r\n\r\n`)
}

type Answer = (req: IncomingMessage, res: ServerResponse) => void

async function serving(answer: Answer, options: HubOptions = {}, isSecure = false) {
  const hub = new Hub(options)
  const urls: string[] = []
  const listener: Answer = (req, res) => {
    urls.push(`${req.method} ${req.url}`)
    if (req.url === '/ws') void hub.upgrade(req, echo)
    else answer(req, res)
  }
  const server = isSecure ? createSecureServer(selfSigned(), listener) : createServer(listener)
  const connections: Socket[] = []
  server.on(isSecure ? 'secureConnection' : 'connection', (socket) => connections.push(socket))
  hub.attach(server)
  await listen(server)
  onTestFinished(async () => {
    await hub.close({ timeoutMs: 50 })
    for (const socket of connections) socket.destroy()
    await closeServer(server)
  })
  return { hub, server, urls, connections, target: { port: portOf(server), secure: isSecure } }
}

const page: Answer = (_req, res) => res.writeHead(200, { 'Content-Length': 4 }).end('page')

describe('A request with headers that Node may have dropped', () => {
  const smuggled = request('/smuggled')

  it('is refused with 431, and its body is not parsed as a request', async () => {
    const { target, urls } = await serving(page)
    const client = await RawClient.connect(target)
    const post = request('/', { method: 'POST', headers: h2c })
    await client.write(withHeaders(post, many(1_000), `Content-Length: ${smuggled.length}`), smuggled)
    const answer = await client.lastAnswer()
    expect(answer.status).toBe(431)
    expect(answer.header('connection')).toBe('close')
    expect(urls).toEqual([])
  })

  it('is refused with 431 by the hub if Node would have served it', async () => {
    const { target, urls, hub } = await serving(page)
    const client = await RawClient.connect(target)
    const own = 5 // those of `post`, and the last one
    const post = request('/', { method: 'POST', headers: h2c })
    await client.write(withHeaders(post, many(1_000 - own), `Content-Length: ${smuggled.length}`), smuggled)
    expect((await client.lastAnswer()).status).toBe(431)
    expect(urls).toEqual([])
    expect(hub.stats().refusedUpgrades).toEqual({ WSHUB_ERR_TOO_MANY_HEADERS: 1 })
  })

  it('is refused with 431 if the server keeps fewer headers', async () => {
    const { target, urls, server } = await serving(page)
    server.maxHeadersCount = 10
    const client = await RawClient.connect(target)
    const post = request('/', { method: 'POST', headers: h2c })
    await client.write(withHeaders(post, many(10), `Content-Length: ${smuggled.length}`), smuggled)
    expect((await client.lastAnswer()).status).toBe(431)
    expect(urls).toEqual([])
  })

  it('is served if the server keeps all headers', async () => {
    const { target, urls, server } = await serving((req, res) => {
      void readText(req).then((body) => res.end(body))
    })
    server.maxHeadersCount = 0
    const client = await RawClient.connect(target)
    const post = request('/', { method: 'POST', headers: { ...h2c, Connection: 'Upgrade, close' } })
    await client.write(withHeaders(post, many(1_200), 'Content-Length: 5'), 'hello')
    expect((await client.lastAnswer()).body).toContain('hello')
    expect(urls).toEqual(['POST /'])
  })

  it('is refused with 431 also as a handshake, which may lack the address that a proxy added', async () => {
    const { target, hub } = await serving(page, {
      trustProxy: 1,
      limits: { maxConnectionsPerAddress: 1 },
    })
    await RawClient.open(target, '/ws', { headers: { 'X-Forwarded-For': '127.0.0.1' } })
    const client = await RawClient.connect(target)
    await client.write(withHeaders(handshake('/ws'), many(1_000), 'X-Forwarded-For: 6.6.6.6'))
    expect((await client.lastAnswer()).status).toBe(431)
    expect(hub.size).toBe(1)
  })
})

describe('An upgrade to another protocol', () => {
  it.each([false, true])('emits no second connection event of the server: https %s', async (isSecure) => {
    const { target, connections, urls } = await serving(page, {}, isSecure)
    const client = await RawClient.connect(target)
    for (let i = 0; i < 20; i++) {
      await client.write(request('/', { headers: h2c }))
      expect((await client.answer()).body).toBe('page')
    }
    expect(urls).toHaveLength(20)
    expect(connections).toHaveLength(1)
    const [socket] = connections
    for (const event of ['data', 'drain', 'close', 'error', 'timeout', 'end']) {
      expect(socket?.listenerCount(event), event).toBeLessThan(5)
    }
  })

  it('is answered after a slow request that it was pipelined with, and so are those after it', async () => {
    const waiting: ServerResponse[] = []
    const { target, urls } = await serving((req, res) => {
      if (req.url === '/slow') waiting.push(res)
      else res.end(req.url)
    })
    const client = await RawClient.connect(target)
    await client.write(
      request('/slow'),
      request('/first', { headers: h2c }),
      request('/slow', { headers: h2c }),
      request('/second', { headers: h2c }),
      request('/third'),
    )
    await until('the slow request', () => waiting.length === 1)
    waiting[0]?.end('slow')
    expect((await client.answer()).body).toBe('slow')
    expect((await client.answer()).body).toBe('/first')
    await until('the second slow request', () => waiting.length === 2)
    waiting[1]?.end('slow')
    expect((await client.answer()).body).toBe('slow')
    expect((await client.answer()).body).toBe('/second')
    expect((await client.answer()).body).toBe('/third')
    await client.write(handshake('/ws'))
    await client.opened()
    await client.echoes()
    expect(urls).toHaveLength(6)
  })

  it('does not hinder the large response of a request that it was pipelined behind', async () => {
    const large = Buffer.alloc(8_000_000, 'x')
    const { target } = await serving((req, res) => {
      if (req.url === '/') return res.end('page')
      let sent = 0
      const sendMore = () => {
        while (sent < large.length) {
          const chunk = large.subarray(sent, sent + 100_000)
          sent += chunk.length
          if (!res.write(chunk)) return res.once('drain', sendMore)
        }
        return res.end()
      }
      res.setHeader('Content-Length', large.length)
      return sendMore()
    })
    const client = await RawClient.connect(target)
    await client.write(request('/large'), request('/small'.slice(0, 1), { headers: h2c }))
    expect((await client.answer()).body).toHaveLength(large.length)
    expect((await client.answer()).body).toBe('page')
  })

  it('is destroyed when a request that it was pipelined behind is not answered in time', async () => {
    const { target, connections } = await serving(() => {}, { limits: { upgradeTimeoutMs: 50 } })
    const client = await RawClient.connect(target)
    await client.write(request('/slow'), request('/', { headers: h2c }))
    await client.ended()
    await until('the socket to be destroyed', () => connections.every((socket) => socket.destroyed))
  })

  it('keeps its body separate from the request after it', async () => {
    const { target, urls } = await serving((req, res) => {
      void readText(req).then((body) => res.end(`${req.url} ${body}`))
    })
    const client = await RawClient.connect(target)
    const chunked = { ...h2c, 'Transfer-Encoding': 'chunked' }
    const body = 'e\r\nGET /x HTTP/1.\r\n0\r\n\r\n'
    await client.write(request('/a', { method: 'POST', headers: chunked, body }), request('/b'))
    if (isBodyApart) {
      expect((await client.lastAnswer()).body).toBe('/a GET /x HTTP/1.')
      expect(urls).toEqual(['POST /a'])
      return
    }
    expect((await client.answer()).body).toBe('/a GET /x HTTP/1.')
    expect((await client.answer()).body).toBe('/b ')
    expect(urls).toEqual(['POST /a', 'GET /b'])
  })
})

describe('A request with Upgrade: websocket and a body, which is not a handshake', () => {
  const websocket = { Connection: 'Upgrade', Upgrade: 'websocket', 'Content-Type': 'application/json' }
  const body = '{"a":1}'
  const headers = { ...websocket, 'Content-Length': String(body.length) }

  it.each(['POST', 'GET'])('is served with its body, as without a hub: %s', async (method) => {
    const { target } = await serving((req, res) => void readText(req).then((text) => res.end(text)))
    const client = await RawClient.connect(target)
    const bytes = request('/', { method, headers, body })
    await client.write(bytes.subarray(0, -3))
    await client.write(bytes.subarray(-3))
    expect((await (isBodyApart ? client.lastAnswer() : client.answer())).body).toBe(body)
  })

  it.each([
    ['Express 5', express],
    ['Express 4', express4],
  ])('is read by express.json of %s', async (_name, framework) => {
    const app = framework()
    const { hub } = expressHub()
    app.use(expressHub({ hub }), framework.json())
    app.post('/body', (req, res) => void res.json(req.body))
    const server = createServer(app)
    closeAfterTest(hub, server)
    const target = await listenOn(server)
    const client = await RawClient.connect(target)
    await client.write(request('/body', { method: 'POST', headers, body }))
    const answer = await (isBodyApart ? client.lastAnswer() : client.answer())
    expect([answer.status, answer.body]).toEqual([200, body])
  })

  it('is left to the other listeners of its server first', async () => {
    const { target, server } = await serving(page)
    const urls: string[] = []
    server.on('upgrade', (req, socket) => {
      urls.push(`${req.method} ${req.url}`)
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ntheirs')
    })
    const client = await RawClient.connect(target)
    await client.write(request('/theirs', { method: 'POST', headers, body }))
    expect((await client.answer()).body).toBe('theirs')
    expect(urls).toEqual(['POST /theirs'])
  })
})
