import { createServer } from 'node:http'
import type { Server, Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { Frame, Hub, Opcode } from 'wshub'
import { echo, portOf } from './adapters/frameworks.ts'
import { listen, serve, stop } from './support/hub-server.ts'
import { closing, destroyClients, Gate, handshake, RawClient, text, until } from './support/raw.ts'

const uncaught: unknown[] = []
const catchIt = (error: unknown) => uncaught.push(error)

beforeEach(() => {
  uncaught.length = 0
  process.on('uncaughtExceptionMonitor', catchIt)
})
afterEach(() => {
  process.off('uncaughtExceptionMonitor', catchIt)
  destroyClients()
  expect(uncaught).toEqual([])
})

/** The number of TCP connections of a server. */
function counting(server: Server): Set<Socket> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  return sockets
}

const echoing = () => serve({ closeTimeoutMs: 200 }, echo)

/** Ends with RST, or with FIN. */
const ends = [
  { how: 'a reset', end: (client: RawClient) => client.reset() },
  { how: 'a FIN', end: (client: RawClient) => client.destroy() },
]

describe.each(ends)('A connection that ends by $how', ({ end }) => {
  it('leaves nothing when it ends within the handshake, at any byte', async () => {
    const { server, port, hub, log } = await echoing()
    const sockets = counting(server)
    const neighbour = await RawClient.open({ port })
    const bytes = handshake('/')
    for (let length = 0; length < bytes.length; length += 7) {
      const client = await RawClient.connect({ port })
      if (length > 0) await client.write(bytes.subarray(0, length))
      end(client)
    }
    await until(
      'the others to be gone',
      () => sockets.size === 1,
      () => sockets.size,
    )
    await neighbour.echoes()
    expect(hub.stats()).toMatchObject({ connections: 1, pendingUpgrades: 0, acceptedUpgrades: 1 })
    expect(log.all).toEqual(['open', 'message marker'])
  })

  it('is closed with 1006 once when it ends after the 101', async () => {
    const { port, hub, log } = await echoing()
    const neighbour = await RawClient.open({ port })
    for (let i = 0; i < 20; i++) end(await RawClient.open({ port }))
    await until('the others to be gone', () => hub.size === 1)
    await neighbour.echoes()
    await until('onClose', () => log.all.filter((entry) => entry === 'close 1006').length === 20)
  })

  it('delivers nothing of a frame when it ends within it, at any byte', async () => {
    const { port, hub, log } = await echoing()
    const neighbour = await RawClient.open({ port })
    const message = text('x'.repeat(130)) // with an extended length
    for (const length of [1, 2, 3, 4, 6, 8, 9, 50, message.length - 1]) {
      const client = await RawClient.open({ port })
      await client.write(message.subarray(0, length))
      end(client)
    }
    await until('the others to be gone', () => hub.size === 1)
    await neighbour.echoes()
    expect(log.all.filter((entry) => entry.startsWith('message'))).toEqual(['message marker'])
  })

  it('delivers nothing of a message when it ends between two fragments', async () => {
    const { port, hub, log } = await echoing()
    const client = await RawClient.open({ port })
    const fragment = { opcode: Opcode.text, fin: false, masked: true, payload: Buffer.from('half') }
    await client.write(new Frame(fragment).encode())
    end(client)
    await until('it to be gone', () => hub.size === 0)
    expect(log.all).toEqual(['open', 'close 1006'])
  })

  it('is closed with 1006 when it ends within the closing handshake that the client began', async () => {
    const { port, hub, log } = await echoing()
    const frame = closing(1000)
    for (let length = 1; length < frame.length; length++) {
      const client = await RawClient.open({ port })
      await client.write(frame.subarray(0, length))
      end(client)
    }
    await until('all to be gone', () => hub.size === 0)
    expect(new Set(log.all)).toEqual(new Set(['open', 'close 1006']))
  })

  it('is closed with the code that was sent when it ends within the closing handshake that the hub began', async () => {
    const { port, hub, log, connections } = await echoing()
    const client = await RawClient.open({ port })
    connections[0]?.close(1000, 'bye')
    await client.frame()
    end(client)
    await until('it to be gone', () => hub.size === 0)
    expect(log.all).toEqual(['open', 'close 1000 bye'])
  })

  it('drops and counts the messages that wait when it ends', async () => {
    const { port, hub, connections } = await serve({ maxBufferedBytes: 100_000_000 })
    const client = await RawClient.open({ port })
    client.pause()
    for (let i = 0; i < 200; i++) connections[0]?.sendBinary(Buffer.alloc(100_000))
    await until('a backlog', () => hub.stats().bufferedBytes > 0)
    end(client)
    await until('it to be gone', () => hub.size === 0)
    const { dropped, sentMessages, bufferedBytes } = hub.stats()
    expect(sentMessages).toBe(200)
    expect(dropped.closed.messages).toBeGreaterThan(0)
    expect(bufferedBytes).toBe(0)
  })
})

describe('A reset while a slow hook decides', () => {
  it('ends the pending upgrade, and hub.upgrade throws WSHUB_ERR_SOCKET_CLOSED', async () => {
    const gate = new Gate()
    const outcomes: string[] = []
    const hub = new Hub()
    const server = createServer(async (req, res) => {
      if (req.url === '/slow') await gate.passed()
      try {
        await hub.upgrade(req, echo)
        outcomes.push('upgraded')
      } catch (error) {
        outcomes.push(String((error as { code?: string }).code)) // the error of hub.upgrade has one
        res.writeHead(400).end('nobody hears this')
      }
    })
    hub.attach(server)
    await listen(server)
    onTestFinished(async () => {
      await hub.close({ timeoutMs: 50 })
      await stop(server)
    })
    const target = { port: portOf(server) }
    const clients = await Promise.all(Array.from({ length: 10 }, () => RawClient.ask(target, '/slow')))
    await until('the hooks', () => hub.stats().pendingUpgrades === 10)
    for (const client of clients) client.reset()
    await until('the ends', () => hub.stats().pendingUpgrades === 0)
    gate.open()
    await until('the outcomes', () => outcomes.length === 10)
    expect(new Set(outcomes)).toEqual(new Set(['WSHUB_ERR_SOCKET_CLOSED']))
    await (await RawClient.open(target)).echoes()
  })
})

describe('A half-open peer', () => {
  it('is closed when it has sent its last message, and that is delivered', async () => {
    const { port, log, hub } = await echoing()
    const client = await RawClient.open({ port })
    await client.write(text('last words'))
    client.end()
    await until('it to be gone', () => hub.size === 0)
    expect(log.all).toEqual(['open', 'message last words', 'close 1006'])
  })

  it('is closed after a ping when it has gone silent', async () => {
    const { port, log } = await serve({ pingIntervalMs: 40, pongTimeoutMs: 40 })
    const client = await RawClient.open({ port })
    await client.ended()
    await log.first('the end', (entry) => entry.startsWith('close 1006'))
    expect(log.all.at(-1)).toBe('close 1006 no answer to a ping within 40 ms')
  })
})

describe('A slow handshake', () => {
  it('is ended by the deadlines of node:http when it arrives byte by byte, and harms nobody', async () => {
    const hub = new Hub()
    const server = createServer({ connectionsCheckingInterval: 20 }, (req) => hub.upgrade(req, echo))
    const sockets = counting(server)
    hub.attach(server)
    await listen(server)
    onTestFinished(async () => {
      await hub.close({ timeoutMs: 50 })
      await stop(server)
    })
    const target = { port: portOf(server) }
    const neighbour = await RawClient.open(target)
    Object.assign(server, { headersTimeout: 150, requestTimeout: 300 }) // not for the neighbour
    const bytes = handshake('/', { headers: { 'X-Padding': 'x'.repeat(100_000) } })
    const slow = await Promise.all(Array.from({ length: 20 }, () => RawClient.connect(target)))
    let at = 0
    const dripping = setInterval(() => {
      for (const client of slow) if (at < bytes.length) void client.write(bytes.subarray(at, at + 1))
      at++
    }, 5)
    onTestFinished(() => clearInterval(dripping))
    for (const client of slow) expect((await client.head()).status).toBe(408)
    await until('the slow ones to be gone', () => sockets.size === 1)
    await neighbour.echoes()
    expect(hub.stats()).toMatchObject({ connections: 1, pendingUpgrades: 0 })
  })
})
