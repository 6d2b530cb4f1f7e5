import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import { Hub } from 'wshub'
import { closeServer, echo, portOf } from '../adapters/frameworks.ts'
import { listen } from '../support/hub-server.ts'
import { destroyClients, handshake, RawClient, text, until } from '../support/raw.ts'

afterEach(destroyClients)

/** A server that keeps its requests and the names of their events. */
async function keeping(hub?: Hub, listener: RequestListener = () => {}) {
  const requests: IncomingMessage[] = []
  const events: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer((req, res) => {
    const note = (name: string) => () => void events.push(name)
    req.on('aborted', note('req aborted')).on('close', note('req close')).on('error', note('req error'))
    res.on('close', note('res close')).on('finish', note('res finish'))
    requests.push(req)
    listener(req, res)
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  hub?.attach(server)
  await listen(server)
  onTestFinished(async () => {
    await hub?.close({ timeoutMs: 50 })
    for (const socket of sockets) socket.destroy()
    await closeServer(server)
  })
  return { server, requests, events, sockets, port: portOf(server) }
}

/** Sends a handshake and, once the route has it, FIN; returns the events. */
async function leaving(hub?: Hub): Promise<string[]> {
  const { port, requests, events, sockets } = await keeping(hub)
  const client = await RawClient.ask({ port })
  await until('the request', () => requests.length === 1)
  client.end()
  await until('the request to be closed', () => events.includes('req close'))
  await until('the socket to be closed', () => sockets.size === 0)
  return events.sort()
}

/** A hub that does not end upgrades by itself. */
function patient(): Hub {
  return new Hub({ limits: { upgradeTimeoutMs: 0, maxPendingUpgrades: 1 } })
}

describe('A client that disconnects while its upgrade is pending', () => {
  it('causes the same events on its request as without a hub', async () => {
    const bare = await leaving()
    expect(bare).toContain('req aborted')
    expect(await leaving(patient())).toEqual(bare)
  })

  it('frees its slot for another one', async () => {
    const hub = patient()
    const { port, requests } = await keeping(hub, (req) => {
      if (req.url === '/now') void hub.upgrade(req, echo)
    })
    const client = await RawClient.ask({ port })
    await until('the request', () => requests.length === 1)
    expect(hub.stats().pendingUpgrades).toBe(1)
    client.end()
    await client.ended()
    await until('the slot to be free', () => hub.stats().pendingUpgrades === 0)
    await (await RawClient.open({ port }, '/now')).echoes()
  })

  it('frees its slot also where its handshake was refused and not answered yet', async () => {
    const hub = patient()
    const refusals: unknown[] = []
    const { port } = await keeping(hub, (req) => {
      try {
        void hub.upgrade(req, echo)
      } catch (error) {
        refusals.push(error)
      }
    })
    const client = await RawClient.ask({ port }, '/ws', { headers: { 'Sec-WebSocket-Protocol': 'a b' } })
    await until('the refusal', () => refusals.length === 1)
    expect(refusals).toMatchObject([{ code: 'WSHUB_ERR_BAD_HANDSHAKE' }])
    expect(hub.stats().pendingUpgrades).toBe(1)
    client.end()
    await until('the slot to be free', () => hub.stats().pendingUpgrades === 0)
  })

  it.each([
    ['a message', text('early')],
    ['more than a buffer holds', Buffer.alloc(50_000)],
  ])('is noticed after %s that it has sent too early', async (_name, early) => {
    const { port, requests, events, sockets } = await keeping(patient())
    const client = await RawClient.ask({ port })
    await until('the request', () => requests.length === 1)
    void client.write(early)
    client.end()
    await until('the request to be closed', () => events.includes('req close'))
    await until('the socket to be closed', () => sockets.size === 0)
  })

  it('still gets the rest of an answer that is written', async () => {
    const body = 'x'.repeat(1_000_000)
    let response: ServerResponse | undefined
    const { port, sockets } = await keeping(patient(), (_req, res) => {
      response = res
      res.writeHead(200, { 'Content-Length': body.length }).end(body)
    })
    const client = await RawClient.ask({ port })
    await until('the answer', () => response !== undefined)
    client.end()
    expect((await client.lastAnswer()).body.length).toBe(body.length)
    await until('the socket to be closed', () => sockets.size === 0)
  })

  it('is noticed after another listener had its chance', async () => {
    const { server, port, requests, events, sockets } = await keeping(patient())
    server.on('upgrade', () => {})
    const client = await RawClient.ask({ port })
    await until('the request', () => requests.length === 1)
    client.end()
    await until('the request to be closed', () => events.includes('req close'))
    await until('the socket to be closed', () => sockets.size === 0)
  })

  it('is left to a listener that has begun to answer', async () => {
    const { server, port, sockets } = await keeping(patient())
    server.on('upgrade', (_req, socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n')
      socket.on('end', () => socket.end('bye')).resume()
    })
    const client = await RawClient.ask({ port })
    await client.opened()
    client.end()
    await client.ended()
    await until('the socket to be closed', () => sockets.size === 0)
  })
})

describe('A client that writes while its upgrade is pending', () => {
  it('loses no message', async () => {
    const hub = patient()
    const { port, requests } = await keeping(hub)
    const client = await RawClient.ask({ port })
    await until('the request', () => requests.length === 1)
    const [req] = requests
    void client.write(text('one'))
    const arrivedBytes = handshake().length + text('one').length
    await until('the message to arrive', () => req?.socket.bytesRead === arrivedBytes)
    await until('the message to be taken', () => req?.socket.readableLength === 0)
    void client.write(text('two'))
    if (req !== undefined) void hub.upgrade(req, echo)
    await client.opened()
    expect([await client.message(), await client.message()]).toEqual(['one', 'two'])
  })
})
