import { once } from 'node:events'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import express from 'express'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import { Hub, HubError, type HubOptions } from 'wshub'
import { closeServer, echo, portOf } from '../adapters/frameworks.ts'
import { listen } from '../support/hub-server.ts'
import { destroyClients, handshake, inTime, RawClient, until } from '../support/raw.ts'

afterEach(destroyClients)

const MEBIBYTE = 1_048_576

/**
 * A hub on a server of these listeners, on any number of which a test may end in the middle. Its upgrades
 * have no deadline unless a test sets one: on a busy machine the standard one, 30 s, ends what a test counts.
 */
async function answering(options: HubOptions, listener: RequestListener) {
  const hub = new Hub({ ...options, limits: { upgradeTimeoutMs: 0, ...options.limits } })
  const server = createServer(listener)
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  hub.attach(server)
  await listen(server)
  onTestFinished(async () => {
    await hub.close({ timeoutMs: 50 })
    for (const socket of sockets) socket.destroy()
    await closeServer(server)
  })
  return { hub, server, sockets, port: portOf(server) }
}

/** A client that counts the bytes it receives, and does not keep them. */
function counting(port: number, request = handshake('/')) {
  const socket = connect(port, '127.0.0.1', () => socket.write(request))
  const seen = { bytes: 0, head: '', tail: '', isClosed: false }
  socket.on('data', (chunk) => {
    if (seen.bytes === 0) seen.head = chunk.toString('latin1')
    seen.bytes += chunk.length
    seen.tail = chunk.toString('latin1').slice(-5)
  })
  socket.on('error', () => {}) // 'close' follows
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  void closed.then(() => {
    seen.isClosed = true
  })
  onTestFinished(() => void socket.destroy())
  return { socket, seen, closed }
}

/** An endless stream, and the number of its bytes. */
function endless() {
  const produced = { bytes: 0, isDestroyed: false }
  const chunk = Buffer.alloc(65_536, 'x')
  const stream = new Readable({
    read() {
      produced.bytes += chunk.length
      this.push(chunk)
    },
    destroy(error, done) {
      produced.isDestroyed = true
      done(error)
    },
  })
  return { stream, produced }
}

/** Resolves when nothing more is produced: the kernel's buffers are full, and the response waits. */
async function stalled(produced: { bytes: number }, response: () => ServerResponse | undefined) {
  await until('a response that waits for its client', () => response()?.writableNeedDrain === true)
  let before = -1
  while (before !== produced.bytes) {
    before = produced.bytes
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** A route that sends endlessly to clients that do not read. */
async function unread(options: HubOptions, path = '/') {
  const responses: ServerResponse[] = []
  const streams: ReturnType<typeof endless>[] = []
  const app = await answering(options, (req, res) => {
    if (req.url === '/ws') {
      try {
        void app.hub.upgrade(req, echo)
      } catch (error) {
        if (!(error instanceof HubError)) throw error
        res.writeHead(error.status, error.headers).end(error.message)
      }
      return
    }
    responses.push(res)
    const one = endless()
    streams.push(one)
    one.stream.pipe(res)
    res.on('close', () => one.stream.destroy())
  })
  const client = counting(app.port, handshake(path))
  client.socket.pause()
  await until('the route', () => streams.length === 1)
  const [stream] = streams
  if (stream === undefined) throw new Error('there is no stream')
  await stalled(stream.produced, () => responses[0])
  return { ...app, client, responses, streams, produced: stream.produced }
}

describe('An ordinary response to an upgrade request', () => {
  it('arrives completely from express.static, 52 MB of it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'wshub-static-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    const file = await open(join(folder, 'large.bin'), 'w')
    await file.truncate(52_000_000 - 5)
    await file.write(Buffer.from('ended'), 0, 5, 52_000_000 - 5)
    await file.close()
    const { port, hub } = await answering({}, express().use(express.static(folder)))
    const { seen, closed } = counting(port, handshake('/large.bin'))
    await inTime('the server to hang up', closed, () => seen.bytes)
    expect(seen.head).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(seen.head).toMatch(/\r\nConnection: close\r\n/)
    expect(seen.bytes - seen.head.indexOf('\r\n\r\n') - 4).toBe(52_000_000)
    expect(seen.tail).toBe('ended')
    expect(hub.stats().pendingUpgrades).toBe(0)
  })

  it('waits while its client does not read, and continues when it does', async () => {
    const { client, produced, responses } = await unread({})
    expect(produced.bytes).toBeLessThan(32 * MEBIBYTE) // the buffers of the kernel on both sides
    expect(responses[0]?.writableLength).toBeLessThan(MEBIBYTE)
    client.socket.resume()
    const before = produced.bytes
    await until(
      'the response to go on',
      () => produced.bytes > before + 16 * MEBIBYTE,
      () => produced.bytes - before,
    )
    client.socket.destroy()
    await until('the stream to be destroyed', () => produced.isDestroyed)
  })

  it('accepts one stream after another', async () => {
    const { port } = await answering({}, (_req, res) => {
      const first = Readable.from(Array.from({ length: 100 }, () => Buffer.alloc(100_000)))
      first.pipe(res, { end: false })
      first.on('end', () => {
        const isWaiting = () => res.writableNeedDrain
        const goOn = () => Readable.from([Buffer.alloc(100_000), Buffer.from('ended')]).pipe(res)
        if (isWaiting()) res.once('drain', goOn)
        else goOn()
      })
    })
    const { seen, closed } = counting(port)
    await inTime('the server to hang up', closed, () => seen)
    expect(seen.bytes).toBeGreaterThan(10_100_000)
    expect(seen.tail).toBe('0\r\n\r\n')
  })

  it('can be a stream of events, which ends with its client', async () => {
    let send = (_event: string): void => {}
    const ends: string[] = []
    const { port, hub } = await answering({}, (req, res) => {
      res.writeHead(200, { 'Content-Type': 'text/event-stream' })
      send = (event) => res.write(`data: ${event}\n\n`)
      req.on('close', () => ends.push('request'))
      res.on('close', () => ends.push('response'))
      send('first')
    })
    const { socket, seen } = counting(port)
    await until('the first event', () => seen.tail.includes('\r\n') && seen.bytes > 0)
    for (const event of ['second', 'third']) {
      const before = seen.bytes
      send(event)
      await until(event, () => seen.bytes > before)
    }
    expect(hub.stats().pendingUpgrades).toBe(1)
    expect(ends).toEqual([])
    socket.resetAndDestroy()
    await until('both ends', () => ends.length === 2)
    expect(ends.sort()).toEqual(['request', 'response'])
    expect(hub.stats().pendingUpgrades).toBe(0)
  })

  it('has no body for HEAD, and ends the connection', async () => {
    const { port } = await answering({}, (_req, res) => {
      res.writeHead(200, { 'Content-Length': 5 }).end('hello')
    })
    const answer = await RawClient.refused({ port }, '/', { method: 'HEAD' })
    expect(answer.status).toBe(200)
    expect(answer.header('content-length')).toBe('5')
    expect(answer.header('connection')).toBe('close')
    expect(answer.body).toBe('')
  })

  it('has the timeout that the application sets', async () => {
    const timeouts: string[] = []
    const { port } = await answering({}, (_req, res) => {
      res.setTimeout(20, () => {
        timeouts.push('response')
        res.end('too late')
      })
    })
    expect((await RawClient.refused({ port })).body).toContain('too late')
    expect(timeouts).toEqual(['response'])
  })

  it('has the timeout of the server', async () => {
    const { port, server } = await answering({}, () => {})
    server.timeout = 20
    const { seen, closed } = counting(port)
    await inTime('the server to hang up', closed)
    expect(seen.bytes).toBe(0)
  })
})

describe('A refusal that its client does not read', () => {
  it('is counted once, and destroyed at the deadline', async () => {
    const body = 'x'.repeat(32 * 1_048_576)
    const app = await answering({ limits: { upgradeTimeoutMs: 500 } }, (req, res) => {
      try {
        void app.hub.upgrade(req, echo)
      } catch (error) {
        res.writeHead(403).end(String(error) + body)
      }
    })
    const { socket } = counting(app.port, handshake('/', { headers: { Origin: 'https://evil.example' } }))
    socket.pause()
    await until('the refusal', () => app.hub.stats().refusedUpgrades.WSHUB_ERR_ORIGIN === 1)
    await until('the socket to be destroyed', () => app.sockets.size === 0)
    expect(app.hub.stats()).toMatchObject({ pendingUpgrades: 0 })
    expect(app.hub.stats().refusedUpgrades).toEqual({ WSHUB_ERR_ORIGIN: 1 })
  })
})

describe('An ordinary response that its client does not read', () => {
  const refused = (code: string) => ({ pendingUpgrades: 0, refusedUpgrades: { [code]: 1 } })

  it('is destroyed at the deadline of upgrades', async () => {
    const { hub, produced, sockets } = await unread({ limits: { upgradeTimeoutMs: 2_000 } })
    await until('the socket to be destroyed', () => sockets.size === 0)
    await until('the stream to be destroyed', () => produced.isDestroyed)
    expect(hub.stats()).toMatchObject(refused('WSHUB_ERR_UPGRADE_TIMEOUT'))
  })

  it('is destroyed by hub.close', async () => {
    const { hub, produced, sockets } = await unread({})
    expect(hub.stats().pendingUpgrades).toBe(1)
    await hub.close({ timeoutMs: 50 })
    await until('the socket to be destroyed', () => sockets.size === 0)
    await until('the stream to be destroyed', () => produced.isDestroyed)
    expect(hub.stats()).toMatchObject(refused('WSHUB_ERR_HUB_CLOSED'))
  })

  it('is destroyed when its server stops listening, also without a deadline', async () => {
    const { hub, produced, server } = await unread({ limits: { upgradeTimeoutMs: 0 } })
    await inTime('the server to close', closeServer(server))
    await until('the stream to be destroyed', () => produced.isDestroyed)
    expect(hub.state).toBe('open')
    expect(hub.stats()).toMatchObject(refused('WSHUB_ERR_HUB_CLOSED'))
  })

  it('counts against its address: a thousand of them exclude nobody else', async () => {
    const limits = { maxConnectionsPerAddress: 5 }
    const { hub, port, streams } = await unread({ limits, trustProxy: 1 })
    const attack = handshake('/', { headers: { 'X-Forwarded-For': '6.6.6.6' } })
    const clients: ReturnType<typeof counting>[] = []
    while (clients.length < 1_024) {
      // If more arrive at once than the system queues for the server, the others are retried only after
      // seconds.
      const some = Array.from({ length: 128 }, () => counting(port, attack))
      for (const { socket } of some) socket.pause()
      await Promise.all(some.map(({ socket }) => inTime('a connection', once(socket, 'connect'))))
      clients.push(...some)
    }
    await until(
      'all to be refused but five',
      () => hub.stats().refusedUpgrades.WSHUB_ERR_TOO_MANY_CONNECTIONS === 1_019,
      () => hub.stats(),
    )
    expect(hub.stats().pendingUpgrades).toBe(6)
    expect(streams).toHaveLength(6)
    const client = await RawClient.open({ port }, '/ws', { headers: { 'X-Forwarded-For': '1.1.1.1' } })
    await client.echoes()
    const [first] = clients.filter(({ seen }) => !seen.isClosed)
    first?.socket.destroy()
    await until('one to be forgotten', () => hub.stats().pendingUpgrades === 5)
  })
})

describe('Pending upgrades of one address', () => {
  /** A server whose route for `/ws` waits until the test releases it. */
  async function waiting(options: HubOptions, init: { remoteAddress?: string } = {}) {
    const requests: IncomingMessage[] = []
    const app = await answering(options, (req) => {
      if (req.url === '/now') void app.hub.upgrade(req, echo, init)
      else requests.push(req)
    })
    return { ...app, requests }
  }

  async function ask(port: number, count: number, headers: Record<string, string> = {}) {
    return await Promise.all(Array.from({ length: count }, () => RawClient.ask({ port }, '/ws', { headers })))
  }

  it('count together with its connections', async () => {
    const { hub, port, requests } = await waiting({ limits: { maxConnectionsPerAddress: 3 } })
    await RawClient.open({ port }, '/now')
    await ask(port, 2)
    await until('the requests', () => requests.length === 2)
    expect((await RawClient.refused({ port })).status).toBe(429)
    for (const req of requests) void hub.upgrade(req, echo)
    expect(hub.stats()).toMatchObject({ connections: 3, pendingUpgrades: 0 })
    expect((await RawClient.refused({ port })).status).toBe(429)
  })

  it.each(['X-Forwarded-For', 'Forwarded'])('are no more for a client that sends %s itself', async (name) => {
    const limits = { maxConnectionsPerAddress: 1, maxPendingUpgrades: 6 }
    const { port, requests } = await waiting({ limits })
    await ask(port, 1, { [name]: 'for=1.1.1.1' })
    await until('the request', () => requests.length === 1)
    const another = { headers: { [name]: 'for=2.2.2.2' } }
    expect((await RawClient.refused({ port }, '/ws', another)).status).toBe(429)
  })

  it('are at most half of all if a route has named another address for a client of it', async () => {
    const limits = { maxConnectionsPerAddress: 1, maxPendingUpgrades: 6 }
    const { port, requests } = await waiting({ limits }, { remoteAddress: '1.1.1.1' })
    await RawClient.open({ port }, '/now')
    await ask(port, 3)
    await until('the requests', () => requests.length === 3)
    expect((await RawClient.refused({ port })).status).toBe(429)
  })

  it('are at most half of all if only the rate of an address is limited', async () => {
    const limits = { maxUpgradesPerSecondPerAddress: 100, maxPendingUpgrades: 6 }
    const { port, requests } = await waiting({ limits })
    await ask(port, 3)
    await until('the requests', () => requests.length === 3)
    expect((await RawClient.refused({ port })).status).toBe(429)
  })

  it('are counted by the address of the peer when the trust function throws, and the route gets the error', async () => {
    const cause = new Error('no table of proxies')
    const thrown: unknown[] = []
    const hub = new Hub({
      limits: { maxConnectionsPerAddress: 1 },
      trustProxy: () => {
        throw cause
      },
    })
    const server = createServer((req, res) => {
      try {
        void hub.upgrade(req, echo)
      } catch (error) {
        thrown.push(error)
        res.writeHead(500).end()
      }
    })
    hub.attach(server)
    await listen(server)
    onTestFinished(async () => {
      await hub.close({ timeoutMs: 50 })
      await closeServer(server)
    })
    expect((await RawClient.refused({ port: portOf(server) })).status).toBe(500)
    expect(thrown).toEqual([cause])
  })
})
