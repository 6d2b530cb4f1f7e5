import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { WebSocket } from 'ws'
import { Handshake, Hub, type UpgradeInit } from 'wshub'
import {
  handshake,
  Journal,
  KEY,
  listen,
  RawClient,
  serve,
  stop,
  thrownBy,
  turn,
} from '../support/hub-server.ts'
import { watchProcess } from '../support/thrown.ts'

const error = new Error('of the application')

const failing = {
  configurable: true,
  enumerable: true,
  get: () => {
    throw error
  },
}

class UnreadableDate extends Date {
  override getTime(): number {
    throw error
  }
}

/** Values of `init` that throw when they are read. */
const UNREADABLE: Readonly<Record<string, () => UpgradeInit>> = {
  metadata: () => Object.defineProperty({}, 'metadata', failing),
  'an entry of metadata': () => ({ metadata: Object.defineProperty({ a: 1 }, 'b', failing) }),
  expiresAt: () => Object.defineProperty({}, 'expiresAt', failing),
  'the time of expiresAt': () => ({ expiresAt: new UnreadableDate() }),
  remoteAddress: () => Object.defineProperty({}, 'remoteAddress', failing),
  isSecure: () => Object.defineProperty({}, 'isSecure', failing),
  protocol: () => Object.defineProperty({}, 'protocol', failing),
  headers: () => Object.defineProperty({}, 'headers', failing),
  'a header': () => ({ headers: Object.defineProperty({}, 'x-a', failing) }),
}

/** Values of `init` that the types do not allow. */
const INVALID: readonly unknown[] = [
  null,
  'init',
  { metadata: 'x' },
  { metadata: ['x'] },
  { metadata: new Map([['a', 1]]) },
  { metadata: null },
  { remoteAddress: Symbol('x') },
  { remoteAddress: 7 },
  { protocol: null },
  { headers: 'x' },
  { expiresAt: 'tomorrow' },
]

/** A server whose route upgrades with `init`. */
async function route(init: () => UpgradeInit, before = (_onFinish: (listener: () => void) => void) => {}) {
  const hub = new Hub({ limits: { maxConnectionsPerAddress: 5 } })
  const thrown = new Journal<unknown>()
  const server = createServer((req, res) => {
    before((listener) => res.on('finish', listener))
    try {
      void hub.upgrade(req, {}, init())
    } catch (caught) {
      thrown.push(caught)
      if (!res.headersSent) res.writeHead(500).end()
    }
  })
  hub.attach(server)
  await listen(server)
  onTestFinished(async () => {
    await hub.close({ timeoutMs: 50 })
    await stop(server)
  })
  const { port } = server.address() as AddressInfo // the server listens on TCP
  return { hub, port, thrown }
}

describe('The init of an upgrade', () => {
  it.each(Object.entries(UNREADABLE))('is refused before the 101 when %s throws', async (_what, init) => {
    const { stray } = watchProcess()
    const { hub, port, thrown } = await route(init)
    const client = new RawClient(port)
    client.socket.write(handshake())
    expect(await thrown.first('the error', () => true)).toBe(error)
    client.socket.write(Buffer.from([0xff, 0xff, 0xff]))
    await client.hungUp()
    expect(client.response).toMatch(/^HTTP\/1\.1 500 /)
    expect([hub.size, hub.stats().pendingUpgrades]).toEqual([0, 0])
    expect(stray).toEqual([])
  })

  it.each(Object.entries(UNREADABLE).slice(0, 5))(
    'leaves a registered WebSocket unchanged when %s throws',
    async (_what, init) => {
      const { url } = await serve()
      const socket = new WebSocket(url)
      socket.on('error', () => {}) // it is terminated while it connects
      const before = socket.eventNames()
      const hub = new Hub()
      expect(thrownBy(() => hub.register(socket, {}, init()))).toBe(error)
      expect([hub.size, socket.eventNames(), socket.binaryType]).toEqual([0, before, 'nodebuffer'])
      socket.terminate()
    },
  )

  it.each(INVALID.map((init) => [init]))('is refused when it is %o', async (init) => {
    const { hub, port, thrown } = await route(() => init as UpgradeInit)
    const client = new RawClient(port)
    client.socket.write(handshake())
    expect(await thrown.first('the error', () => true)).toMatchObject({ code: 'WSHUB_ERR_INVALID_OPTION' })
    await client.hungUp()
    expect(hub.size).toBe(0)
  })

  it('is read once', async () => {
    const read: string[] = []
    const counting = <T extends object>(target: T): T =>
      new Proxy(target, {
        get(object, key) {
          read.push(String(key))
          return Reflect.get(object, key)
        },
      })
    const metadata = counting({ name: 'a' })
    const init = counting({
      metadata,
      expiresAt: 5e12,
      remoteAddress: '192.0.2.1',
      protocol: 'p',
      headers: {},
    })
    const { hub, port } = await route(() => init)
    await RawClient.open(port)
    const [connection] = hub.connections()
    expect(connection?.remoteAddress).toBe('192.0.2.1')
    expect(connection?.expiresAt).toBe(5e12)
    expect([...(connection?.metadata ?? [])]).toEqual([['name', 'a']])
    expect(read.toSorted()).toEqual([
      'expiresAt',
      'headers',
      'isSecure',
      'metadata',
      'name',
      'protocol',
      'remoteAddress',
    ])
  })
})

describe('An error after the 101', () => {
  it('terminates the WebSocket, and a client that violates the protocol harms nobody', async () => {
    const { stray } = watchProcess()
    const { hub, port, thrown } = await route(
      () => ({}),
      (onFinish) =>
        onFinish(() => {
          throw error
        }),
    )
    const client = new RawClient(port)
    client.socket.write(Buffer.concat([Buffer.from(handshake()), Buffer.from([0xff, 0xff, 0xff])]))
    expect(await thrown.first('the error', () => true)).toBe(error)
    await client.hungUp()
    await turn()
    expect(client.response).toMatch(/^HTTP\/1\.1 101 /)
    expect(hub.size).toBe(0)
    expect(stray).toEqual([])
  })
})

describe('The 101 of an upgrade', () => {
  it('is the response that Handshake.createResponse returns', async () => {
    const init = { protocol: 'chat', headers: { 'Set-Cookie': ['a=1', 'b=2'], 'X-Number': 7 } }
    const { connectRaw } = await serve({}, {}, init)
    const { client, connection } = await connectRaw(['Sec-WebSocket-Protocol: other, chat'])
    expect(client.response).toBe(Handshake.createResponse(KEY, init))
    expect(connection.protocol).toBe('chat')
  })
})
