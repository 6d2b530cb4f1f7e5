import { createServer, type ServerResponse } from 'node:http'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocketServer } from 'ws'
import { type EventHandler, Hub, type HubOptions } from 'wshub'
import { closeAfterTest, closeApps, closeServer, echo, frameworks, listen } from '../adapters/frameworks.ts'
import { Tracked } from '../support/garbage.ts'
import { destroyClients, handshake, RawClient, request, until } from '../support/raw.ts'

afterEach(destroyClients)
afterEach(closeApps)

const CLIENTS = 20

/** Waits until at most that many of the objects are left. */
async function leavesAtMost(most: number, tracked: Tracked): Promise<void> {
  let alive = tracked.total
  await until(
    `at most ${most} of ${tracked.total} to be left`,
    async () => {
      alive = await tracked.alive()
      return alive <= most
    },
    () => alive,
  )
}

/** A way in which a connection is made. */
const ways: { way: string; hub?: HubOptions; headers?: Record<string, string>; handler?: EventHandler }[] = [
  { way: 'as it is' },
  {
    way: 'with compression',
    hub: { enableCompression: true },
    headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' },
  },
  {
    way: 'with limits, a trusted proxy and a subprotocol',
    hub: {
      trustProxy: 1,
      protocols: ['chat'],
      limits: { maxConnectionsPerAddress: CLIENTS, maxUpgradesPerSecondPerAddress: CLIENTS },
    },
    headers: { 'Sec-WebSocket-Protocol': 'chat', 'X-Forwarded-For': '1.1.1.1' },
  },
  { way: 'with an asynchronous onOpen', handler: { ...echo, async onOpen() {} } },
  { way: 'while onOpen waits', handler: { onOpen: () => new Promise(() => {}) } },
]

describe.each(frameworks)('An open connection: $name', ({ start }) => {
  it.each(ways)('keeps neither its request nor the response, nor earlier ones: $way', async (way) => {
    const { hub = {}, headers = {}, handler = echo } = way
    const requests = new Tracked()
    const responses = new Tracked()
    const app = await start({
      hub: { openTimeoutMs: 0, pingIntervalMs: 0, ...hub }, // its clients answer no ping
      before({ req, res }) {
        requests.add(req)
        responses.add(res)
        return false
      },
      routes: {
        '/page': (exchange) => exchange.send(200, 'page'),
        '/ws': (exchange) => void exchange.upgrade(handler),
      },
    })
    const clients: RawClient[] = []
    for (let i = 0; i < CLIENTS; i++) {
      const client = await RawClient.connect(app)
      await client.write(request('/page'))
      expect((await client.answer()).body).toBe('page')
      await client.write(handshake('/ws', { headers }))
      await client.opened()
      clients.push(client)
    }
    expect([requests.total, responses.total]).toEqual([2 * CLIENTS, 2 * CLIENTS])
    // The latest may be on a stack, or in a cache of the framework.
    await leavesAtMost(2, requests)
    await leavesAtMost(2, responses)
    expect(app.hub.size).toBe(CLIENTS)
  })
})

describe('A WebSocket of another upgrade listener', () => {
  it('keeps no request', async () => {
    const requests = new Tracked()
    const hub = new Hub()
    const server = createServer((_req, res) => res.end())
    hub.attach(server)
    server.on('upgrade', (req) => requests.add(req))
    const neighbour = new WebSocketServer({ server })
    neighbour.on('connection', (ws) => ws.on('message', (data) => ws.send(String(data))))
    closeAfterTest(hub, server, async () => {
      for (const ws of neighbour.clients) ws.terminate()
      await closeServer(server)
    })
    const target = await listen(server)
    const clients: RawClient[] = []
    for (let i = 0; i < CLIENTS; i++) clients.push(await RawClient.open(target))
    expect(requests.total).toBe(CLIENTS)
    await leavesAtMost(2, requests)
    for (const client of clients) await client.echoes()
  })
})

describe.each(frameworks)('An idle keep-alive socket: $name', ({ start }) => {
  it('keeps no response', async () => {
    const responses = new Tracked()
    const app = await start({
      before({ res }) {
        responses.add(res)
        return false
      },
      routes: { '/page': (exchange) => exchange.send(200, 'page') },
    })
    app.server.keepAliveTimeout = 0 // none
    const clients: RawClient[] = []
    for (let i = 0; i < CLIENTS; i++) {
      const client = await RawClient.connect(app)
      await client.write(request('/page'))
      await client.answer()
      clients.push(client)
    }
    await leavesAtMost(2, responses)
    await Promise.all(
      clients.map(async (client) => {
        await client.write(request('/page'))
        expect((await client.answer()).body).toBe('page')
      }),
    )
  })
})

describe('A connection that always has a request in flight', () => {
  it('keeps only the responses that are not finished', async () => {
    const total = 5_000
    const responses = new Tracked()
    let waiting: ServerResponse | undefined
    const hub = new Hub()
    const server = createServer((_req, res) => {
      responses.add(res)
      waiting?.writeHead(200, { 'Content-Length': 0 }).end()
      waiting = res
    })
    hub.attach(server)
    closeAfterTest(hub, server)
    const client = await RawClient.connect(await listen(server))
    await client.write(...Array.from({ length: total }, () => request('/')))
    for (let i = 1; i < total; i++) expect((await client.answer()).status).toBe(200)
    expect(responses.total).toBe(total)
    await leavesAtMost(2, responses)
    waiting?.writeHead(200, { 'Content-Length': 4 }).end('last')
    expect((await client.answer()).body).toBe('last')
  })
})
