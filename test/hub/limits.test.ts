import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { Hub, HubError, type HubOptions } from 'wshub'
import { closeApps, echo, frameworks, portOf } from '../adapters/frameworks.ts'
import { makeServer } from '../support/http2-tunnel.ts'
import { dial, listen, serve, stop, thrownBy } from '../support/hub-server.ts'
import { type Answer, destroyClients, Gate, RawClient, type Target, until } from '../support/raw.ts'

afterEach(async () => {
  destroyClients()
  await closeApps()
})

/** A hub on a server whose routes are decided by the test. */
async function holding(options: HubOptions, answer: (req: IncomingMessage, res: ServerResponse) => void) {
  const hub = new Hub(options)
  const server = makeServer(answer)
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => sockets.add(socket))
  hub.attach(server)
  await listen(server)
  onTestFinished(async () => {
    await hub.close({ timeoutMs: 50 })
    for (const socket of sockets) socket.destroy() // a server does not count the connections of upgrades
    await stop(server)
  })
  return { hub, server, port: portOf(server) }
}

function expectRefusal(answer: Answer, status: number): void {
  expect(answer.status).toBe(status)
  expect(answer.header('connection')).toBe('close')
  if (status !== 408) expect(answer.header('retry-after')).toMatch(/^\d+$/)
  expect(answer.body).not.toBe('')
}

const from = (address: string) => ({ headers: { 'X-Forwarded-For': address } })

function upgradeError(call: () => unknown): HubError | undefined {
  try {
    call()
    return undefined
  } catch (error) {
    if (error instanceof HubError) return error
    throw error
  }
}

const handshakeBytes = [
  'GET /ws HTTP/1.1',
  'Host: localhost',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  '\r\n',
].join('\r\n')

describe('maxConnections', () => {
  it('answers 503 to a further upgrade', async () => {
    const { port } = await serve({ maxConnections: 2 })
    await RawClient.open({ port })
    await RawClient.open({ port })
    expectRefusal(await RawClient.refused({ port }), 503)
  })
})

describe('limits.maxConnectionsPerAddress', () => {
  const limits = { maxConnectionsPerAddress: 2 }

  it('answers 429 to a further upgrade from an address, until one is closed', async () => {
    const { hub, port } = await serve({ limits })
    const first = await RawClient.open({ port })
    await RawClient.open({ port })
    expectRefusal(await RawClient.refused({ port }), 429)
    expect(hub.stats().refusedUpgrades).toEqual({ WSHUB_ERR_TOO_MANY_CONNECTIONS: 1 })
    first.reset()
    await until('the first to be gone', () => hub.size === 1)
    await RawClient.open({ port })
  })

  it('ignores X-Forwarded-For unless a proxy is trusted', async () => {
    const { port } = await serve({ limits })
    await RawClient.open({ port }, '/', from('1.1.1.1'))
    await RawClient.open({ port }, '/', from('2.2.2.2'))
    expectRefusal(await RawClient.refused({ port }, '/', from('3.3.3.3')), 429)
  })

  it('counts by the address that a trusted proxy adds, not by one that a client wrote before it', async () => {
    const { hub, port } = await serve({ limits, trustProxy: 1 })
    await RawClient.open({ port }, '/', from('6.6.6.6, 1.1.1.1'))
    await RawClient.open({ port }, '/', from('7.7.7.7, 1.1.1.1'))
    expectRefusal(await RawClient.refused({ port }, '/', from('8.8.8.8, 1.1.1.1')), 429)
    await RawClient.open({ port }, '/', from('2.2.2.2'))
    expect(hub.connections().map((connection) => connection.remoteAddress)).toEqual([
      '1.1.1.1',
      '1.1.1.1',
      '2.2.2.2',
    ])
  })

  it('counts IPv6 clients by /64', async () => {
    const { port } = await serve({ limits, trustProxy: 'loopback' })
    await RawClient.open({ port }, '/', from('2001:db8:0:1::1'))
    await RawClient.open({ port }, '/', from('[2001:db8:0:1:ffff::2]:4711'))
    expectRefusal(await RawClient.refused({ port }, '/', from('2001:db8:0:1::3')), 429)
    await RawClient.open({ port }, '/', from('2001:db8:0:2::1'))
  })

  it('counts the clients of a socket on ::1', async () => {
    const hub = new Hub({ limits })
    const server = makeServer((req, res) => {
      const error = upgradeError(() => hub.upgrade(req, echo))
      if (error !== undefined) res.writeHead(error.status, error.headers).end(error.message)
    })
    hub.attach(server)
    await new Promise<void>((resolve) => server.listen(0, '::1', resolve))
    onTestFinished(async () => {
      await hub.close({ timeoutMs: 50 })
      await stop(server)
    })
    const target: Target = { port: portOf(server), host: '::1' }
    await RawClient.open(target)
    await RawClient.open(target)
    expectRefusal(await RawClient.refused(target), 429)
  })
})

describe('limits.maxUpgradesPerSecondPerAddress', () => {
  it('answers 429 to upgrades above it', async () => {
    vi.useFakeTimers({ toFake: ['performance'] }) // however long the requests take, it is the same second
    onTestFinished(() => void vi.useRealTimers())
    const { port } = await serve({ limits: { maxUpgradesPerSecondPerAddress: 3 } })
    const clients = await Promise.all(Array.from({ length: 5 }, () => RawClient.connect({ port })))
    for (const client of clients) void client.write(handshakeBytes)
    const answers = await Promise.all(clients.map((client) => client.head()))
    expect(answers.map(({ status }) => status).sort()).toEqual([101, 101, 101, 429, 429])
  })
})

describe('limits.maxPendingUpgrades', () => {
  it('admits exactly that many of a thousand at once, and answers 503 to the others', async () => {
    const requests: IncomingMessage[] = []
    const { hub, port } = await holding({ limits: { maxPendingUpgrades: 100 } }, (req) => requests.push(req))
    const answers = new Map<ReturnType<typeof dial>, string>()
    let ended = 0
    let switched = 0
    const reached = { refusals: new Gate(), upgrades: new Gate() }
    for (let i = 0; i < 1_000; i++) {
      const client = dial(port)
      client.write(handshakeBytes)
      onTestFinished(() => {
        client.destroy()
      })
      answers.set(client, '')
      client.setEncoding('latin1').on('data', (text: string) => {
        answers.set(client, answers.get(client) + text)
        if (text.startsWith('HTTP/1.1 101') && ++switched === 100) reached.upgrades.open()
      })
      client.on('end', () => {
        if (++ended === 900) reached.refusals.open()
      })
    }
    await reached.refusals.opened
    expect(requests).toHaveLength(100)
    expect(hub.stats()).toMatchObject({
      pendingUpgrades: 100,
      refusedUpgrades: { WSHUB_ERR_TOO_MANY_PENDING: 900 },
    })
    const whole = [...answers.values()].filter((text) =>
      /^HTTP\/1.1 503 .*\r\nRetry-After: \d+\r\n.*more than 100 upgrades are pending$/is.test(text),
    )
    expect(whole).toHaveLength(900)
    for (const req of requests) void hub.upgrade(req, echo)
    await reached.upgrades.opened
    expect(hub.stats()).toMatchObject({ pendingUpgrades: 0, connections: 100, acceptedUpgrades: 100 })
  })

  it('no longer counts a client that has disconnected, nor one that was answered', async () => {
    const responses: ServerResponse[] = []
    const { hub, port } = await holding({ limits: { maxPendingUpgrades: 1 } }, (_req, res) =>
      responses.push(res),
    )
    const gone = await RawClient.ask({ port })
    await until('the request', () => responses.length === 1)
    expectRefusal(await RawClient.refused({ port }), 503)
    gone.reset()
    await until('it to be forgotten', () => hub.stats().pendingUpgrades === 0)
    responses[0]?.end('nobody hears this')
    const answered = await RawClient.ask({ port })
    await until('the request', () => responses.length === 2)
    responses[1]?.writeHead(403, { 'Content-Length': 2 }).end('no')
    expect((await answered.lastAnswer()).body).toBe('no')
    expect(hub.stats().pendingUpgrades).toBe(0)
  })

  it('leaves upgrades for other listeners of the server alone', async () => {
    const { hub, server, port } = await holding({ limits: { maxPendingUpgrades: 1 } }, () => {})
    server.on('upgrade', (req, socket) => {
      if (req.url !== '/theirs') return
      const answer = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n'
      setTimeout(() => socket.end(answer), 50)
    })
    await RawClient.ask({ port })
    await until('a pending upgrade', () => hub.stats().pendingUpgrades === 1)
    const theirs = await RawClient.ask({ port }, '/theirs')
    expectRefusal(await RawClient.refused({ port }, '/ours'), 503)
    expect((await theirs.opened()).status).toBe(101)
  })

  it('never answers before an earlier request of the same connection', async () => {
    const slow: ServerResponse[] = []
    const { hub, port } = await holding({ limits: { maxPendingUpgrades: 1 } }, (req, res) => {
      if (req.url === '/slow') slow.push(res)
    })
    await RawClient.ask({ port })
    await until('a pending upgrade', () => hub.stats().pendingUpgrades === 1)
    const client = await RawClient.connect({ port })
    await client.write('GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n', handshakeBytes)
    await until('the slow request', () => slow.length === 1)
    slow[0]?.end('slow')
    expect((await client.answer()).body).toBe('slow')
    expectRefusal(await client.lastAnswer(), 503)
  })
})

describe('limits.upgradeTimeoutMs', () => {
  const hub = { limits: { upgradeTimeoutMs: 60 } }

  it.each(frameworks)(
    'answers 408 for $name, and later calls of the application have no effect',
    async ({ start }) => {
      const gate = new Gate()
      const late: unknown[] = []
      const app = await start({
        hub,
        routes: {
          '/answer': async (exchange) => {
            await gate.passed()
            exchange.setHeader('X-Late', '1')
            return exchange.send(200, 'late')
          },
          '/ws': async (exchange) => {
            await gate.passed()
            late.push(thrownBy(() => exchange.upgrade(echo)))
            return exchange.send(500, 'late')
          },
          '/echo': (exchange) => exchange.upgrade(echo),
        },
      })
      expectRefusal(await RawClient.refused(app, '/answer'), 408)
      expectRefusal(await RawClient.refused(app, '/ws'), 408)
      gate.open()
      await until('the late upgrade', () => late.length === 1)
      expect(late).toEqual([expect.objectContaining({ code: 'WSHUB_ERR_SOCKET_CLOSED' })])
      await (await RawClient.open(app, '/echo')).echoes()
      expect(app.hub.stats()).toMatchObject({ pendingUpgrades: 0, connections: 1 })
    },
  )

  it('cuts off an answer that has begun', async () => {
    let isClosed = false
    const { hub: ofServer, port } = await holding(hub, (_req, res) => {
      res.on('close', () => {
        isClosed = true
      })
      res.writeHead(200).write('first ')
    })
    const client = await RawClient.ask({ port })
    expect((await client.lastAnswer()).body).toContain('first ')
    await until('the response to be closed', () => isClosed)
    expect(ofServer.stats()).toMatchObject({
      pendingUpgrades: 0,
      refusedUpgrades: { WSHUB_ERR_UPGRADE_TIMEOUT: 1 },
    })
  })

  it('tells the application that the response is closed', async () => {
    let closed = false
    const { port } = await holding(hub, (_req, res) => {
      res.on('close', () => {
        closed = true
      })
    })
    expectRefusal(await RawClient.refused({ port }), 408)
    expect(closed).toBe(true)
  })

  it('is off with 0', async () => {
    const requests: IncomingMessage[] = []
    const { hub: ofServer, port } = await holding({ limits: { upgradeTimeoutMs: 0 } }, (req) =>
      requests.push(req),
    )
    const client = await RawClient.ask({ port })
    await until('the request', () => requests.length === 1)
    for (const req of requests) void ofServer.upgrade(req, echo)
    await client.opened()
  })
})
