import { createServer, type RequestListener, type Server } from 'node:http'
import { text as readText } from 'node:stream/consumers'
import express from 'express'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { Hub } from 'wshub'
import { wsHub } from 'wshub/express'
import { closeServer, echo, listen as listenOn } from '../adapters/frameworks.ts'
import { recordWarnings } from '../support/hub-server.ts'
import { destroyClients, handshake, RawClient, request, type Target } from '../support/raw.ts'

afterEach(() => destroyClients())

/** On Node 25 and later such a connection serves one request, as without a hub. */
const isBodyApart = Number(process.versions.node.split('.')[0]) >= 25

const body = 'hello'
const upgradeTo = (protocol: string) => ({ Connection: 'Upgrade', Upgrade: protocol })
const length = { 'Content-Length': String(body.length) }

/** Requests that no route upgrades, and that are therefore served as ordinary ones. */
const requests = [
  { what: 'websocket with a body', method: 'POST', headers: { ...upgradeTo('websocket'), ...length }, body },
  {
    what: 'websocket with a chunked body',
    method: 'POST',
    headers: { ...upgradeTo('websocket'), 'Transfer-Encoding': 'chunked' },
    body: '5\r\nhello\r\n0\r\n\r\n',
  },
  { what: 'h2c with a body', method: 'POST', headers: { ...upgradeTo('h2c'), ...length }, body },
  { what: 'h2c', method: 'GET', headers: upgradeTo('h2c') },
]

/** A server with a listener that counts its calls; it is closed with its hubs when the test is over. */
async function counting(hubs: readonly Hub[], listener?: RequestListener) {
  const urls: string[] = []
  const server: Server = createServer((req, res) => {
    urls.push(`${req.method} ${req.url}`)
    if (listener !== undefined) listener(req, res)
    else if (req.url === '/ws') void hubs.at(-1)?.upgrade(req, echo)
    else void readText(req).then((text) => res.end(`${req.url} ${text}`))
  })
  onTestFinished(async () => {
    for (const hub of hubs) await hub.close({ timeoutMs: 50 })
    server.closeAllConnections()
    await closeServer(server)
  })
  return { server, urls }
}

/** Closes a hub when the test is over. */
function closeLater(hub: { close(options: { timeoutMs: number }): Promise<unknown> }): void {
  onTestFinished(async () => {
    await hub.close({ timeoutMs: 50 })
  })
}

/** Sends the request, and a marker behind its answer: a second answer would come first. */
async function servedOnce(target: Target, init: (typeof requests)[number], urls: readonly string[]) {
  const client = await RawClient.connect(target)
  await client.write(request('/order', init))
  const isLast = isBodyApart && init.body !== undefined
  const answer = await (isLast ? client.lastAnswer() : client.answer())
  expect(answer.body).toBe(`/order ${init.body === undefined ? '' : body}`)
  if (!isLast) {
    await client.write(request('/marker'))
    expect((await client.answer()).body).toBe('/marker ')
  }
  expect(urls.filter((url) => url.endsWith('/order'))).toEqual([`${init.method} /order`])
}

describe('A request that no route upgrades', () => {
  it.each(requests)('runs its route once on a server with three hubs: $what', async (init) => {
    const hubs = [new Hub(), new Hub(), new Hub()]
    const { server, urls } = await counting(hubs)
    for (const hub of hubs) hub.attach(server)
    await servedOnce(await listenOn(server), init, urls)
  })

  it.each(requests)(
    'runs its route once beside a hub that searches and one of the server: $what',
    async (init) => {
      const hubs = [new Hub(), new Hub(), new Hub()]
      const { server, urls } = await counting(hubs)
      hubs[0]?.attach()
      hubs[1]?.attach(server)
      hubs[1]?.attach(server)
      hubs[2]?.attach()
      await servedOnce(await listenOn(server), init, urls)
    },
  )

  it.each(requests)(
    'runs its route once with two Express applications in the process: $what',
    async (init) => {
      const urls: string[] = []
      const targets = [1, 2].map(async () => {
        const app = express()
        const middleware = wsHub()
        app.use(middleware)
        app.all('/{*path}', (req, res) => {
          urls.push(`${req.method} ${req.url}`)
          void readText(req).then((text) => res.end(`${req.url} ${text}`))
        })
        const { server } = await counting([middleware.hub], app)
        return listenOn(server)
      })
      for (const target of await Promise.all(targets)) {
        urls.length = 0
        await servedOnce(target, init, urls)
      }
    },
  )
})

describe('A server with many hubs', () => {
  it('has as many listeners as one with a single hub, and no warning', async () => {
    const warnings = recordWarnings()
    const counts = (server: Server) => server.eventNames().map((name) => [name, server.listenerCount(name)])
    const one = await counting([])
    const many = await counting([])
    const first = new Hub()
    closeLater(first)
    first.attach(one.server)
    const hubs = Array.from({ length: 20 }, () => new Hub())
    const detach = hubs.map((hub) => hub.attach(many.server))
    expect(counts(many.server)).toEqual(counts(one.server))
    for (const end of detach) end()
    for (const hub of hubs) await hub.close()
    await new Promise(setImmediate) // warnings are emitted in a later turn
    expect(warnings.all).toEqual([])
    expect(many.server.listenerCount('upgrade')).toBe(0)
  })

  it('opens connections for those that are left when the first is closed', async () => {
    const hubs = [new Hub(), new Hub()]
    const { server } = await counting(hubs)
    for (const hub of hubs) hub.attach(server)
    const target = await listenOn(server)
    await hubs[0]?.close()
    await (await RawClient.open(target)).echoes()
    expect(hubs[1]?.size).toBe(1)
  })
})

describe('Two copies of the package in one process', () => {
  /** Another copy, as the CommonJS build is beside the ES modules. */
  async function otherCopy() {
    vi.resetModules()
    const copy = await import('wshub')
    expect(copy.Hub).not.toBe(Hub)
    return copy
  }

  it.each(requests)('run the route of a request once: $what', async (init) => {
    const { Hub: OtherHub } = await otherCopy()
    const hub = new Hub()
    const other = new OtherHub()
    closeLater(other)
    const { server, urls } = await counting([hub])
    hub.attach()
    other.attach()
    await servedOnce(await listenOn(server), init, urls)
  })

  it.each(['first', 'second'] as const)('open connections for the hub of the %s', async (which) => {
    const { Hub: OtherHub } = await otherCopy()
    const hub = new Hub()
    const other = new OtherHub()
    closeLater(other)
    const { server, urls } = await counting([hub], (req, res) => {
      if (req.url === '/ws') void (which === 'first' ? hub : other).upgrade(req, echo)
      else res.writeHead(404).end()
    })
    hub.attach()
    other.attach()
    const target = await listenOn(server)
    const client = await RawClient.open(target)
    await client.echoes()
    expect([hub.size, other.size]).toEqual(which === 'first' ? [1, 0] : [0, 1])
    expect((await RawClient.refused(target, '/none')).status).toBe(404)
    expect(urls).toEqual(['GET /ws', 'GET /none'])
  })

  it('refuse a request that the other one has upgraded', async () => {
    const { Hub: OtherHub } = await otherCopy()
    const hub = new Hub()
    const other = new OtherHub()
    closeLater(other)
    const codes: unknown[] = []
    const { server } = await counting([hub], (req) => {
      void hub.upgrade(req, echo)
      try {
        void other.upgrade(req, echo)
      } catch (error) {
        codes.push(Reflect.get(Object(error), 'code'))
      }
    })
    hub.attach(server)
    other.attach(server)
    await (await RawClient.open(await listenOn(server))).echoes()
    expect(codes).toEqual(['WSHUB_ERR_ALREADY_UPGRADED'])
  })

  it('serve a server each, as if each were alone', async () => {
    const { Hub: OtherHub } = await otherCopy()
    const hub = new Hub()
    const other = new OtherHub()
    closeLater(other)
    const first = await counting([hub])
    const second = await counting([], (req) => void other.upgrade(req, echo))
    hub.attach(first.server)
    other.attach(second.server)
    await (await RawClient.open(await listenOn(first.server))).echoes()
    await (await RawClient.open(await listenOn(second.server))).echoes()
    expect([hub.size, other.size]).toEqual([1, 1])
  })
})

describe('A handshake', () => {
  it('is not read again as a request by the hubs of other servers', async () => {
    const hubs = [new Hub(), new Hub()]
    const { server, urls } = await counting(hubs)
    for (const hub of hubs) hub.attach()
    const client = await RawClient.connect(await listenOn(server))
    await client.write(handshake('/none'))
    expect((await client.lastAnswer()).body).toContain('/none')
    expect(urls).toEqual(['GET /none'])
  })
})
