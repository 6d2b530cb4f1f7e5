import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  asWebSocket,
  Frame,
  Handshake,
  Hub,
  type HubDiagnostics,
  HubError,
  type HubErrorCode,
  type HubOptions,
  type LimitOptions,
  MemoryHistoryBus,
  memoryHistory,
  Opcode,
  type PresenceOptions,
} from 'wshub'
import { HUB_ERRORS } from '../../src/base/errors.ts'
import { Bus } from '../support/bus.ts'
import {
  handshake,
  inTime,
  Journal,
  KEY,
  listen,
  RawClient,
  serve,
  stop,
  thrownBy,
  turn,
} from '../support/hub-server.ts'

async function refusal(bytes: string, options: HubOptions = {}): Promise<unknown> {
  const { port, refusals } = await serve(options)
  const client = new RawClient(port)
  client.socket.write(bytes)
  return refusals.first('the refusal', () => true)
}

async function reported(send: (client: RawClient) => unknown, options: HubOptions = {}): Promise<unknown> {
  const { connectRaw, log, errors } = await serve({ maxMessageSize: 10, ...options })
  const { client } = await connectRaw()
  send(client)
  await log.first('the error', (entry) => entry.startsWith('error'))
  return errors[0]
}

/** Returns the refusal of a hub for which so many upgrades wait for a route that does not decide. */
async function refusedBy(
  limits: LimitOptions,
  upgrades: number,
  headers: readonly string[] = [],
): Promise<unknown> {
  const told = new Journal<unknown>()
  const listener = (message: unknown) => told.push((message as HubDiagnostics['wshub:upgrade:refused']).error) // as documented
  subscribe('wshub:upgrade:refused', listener)
  const hub = new Hub({ limits })
  const server = createServer(() => {})
  hub.attach(server)
  await listen(server)
  onTestFinished(async () => {
    unsubscribe('wshub:upgrade:refused', listener)
    await hub.close()
    await stop(server)
  })
  const { port } = server.address() as AddressInfo // the server listens on TCP
  for (let i = 0; i < upgrades; i++) new RawClient(port).socket.write(handshake(headers))
  return told.first('the refusal', () => true)
}

/** Returns the error that a hub reports for no connection in particular. */
async function hubFault(options: HubOptions, cause: (hub: Hub) => unknown): Promise<unknown> {
  const faults = new Journal<Error>()
  const hub = new Hub({ ...options, onError: (error) => faults.push(error) })
  onTestFinished(() => void hub.close())
  await hub.cluster.ready().catch(() => {})
  cause(hub)
  return faults.first('the report', () => true)
}

const now = (call: () => unknown) => async () => thrownBy(call)

/** Causes each code through the public API. */
const causes: Record<string, () => Promise<unknown>> = {
  WSHUB_ERR_HUB_CLOSED: async () => {
    const hub = new Hub()
    await hub.close()
    return thrownBy(() => hub.register({} as never, {}))
  },
  WSHUB_ERR_NOT_UPGRADE: () => refusal('GET / HTTP/1.1\r\nHost: a\r\n\r\n'),
  WSHUB_ERR_METHOD: () => refusal(handshake([], 'POST / HTTP/1.1')),
  WSHUB_ERR_VERSION: () => refusal(handshake(['Sec-WebSocket-Version: 8'])),
  WSHUB_ERR_BAD_HANDSHAKE: () => refusal(handshake(['Sec-WebSocket-Key: short'])),
  WSHUB_ERR_ORIGIN: () => refusal(handshake(['Origin: https://evil.example'])),
  WSHUB_ERR_HOST: () => refusal(handshake(['Host: evil.example']), { allowedHosts: ['localhost'] }),
  WSHUB_ERR_HUB_FULL: async () => {
    const { port, connect, refusals } = await serve({ maxConnections: 1 })
    await connect()
    new RawClient(port).socket.write(handshake())
    return refusals.first('the refusal', () => true)
  },
  WSHUB_ERR_TOO_MANY_PENDING: async () => refusedBy({ maxPendingUpgrades: 1 }, 2),
  WSHUB_ERR_UPGRADE_TIMEOUT: async () => refusedBy({ upgradeTimeoutMs: 10 }, 1),
  WSHUB_ERR_TOO_MANY_UPGRADES: async () => {
    const { port, refusals } = await serve({ limits: { maxUpgradesPerSecondPerAddress: 1 } })
    for (let i = 0; i < 20; i++) new RawClient(port).socket.write(handshake())
    return refusals.first('the refusal', () => true)
  },
  WSHUB_ERR_TOO_MANY_CONNECTIONS: async () => refusedBy({ maxConnectionsPerAddress: 1 }, 2),
  WSHUB_ERR_TOO_MANY_HEADERS: async () =>
    refusedBy(
      {},
      1,
      Array.from({ length: 995 }, (_, i) => `x-${i}: 1`),
    ),
  WSHUB_ERR_SOCKET_CLOSED: async () => {
    const { port, refusals } = await serve({}, {}, { before: (req) => req.socket.destroy() })
    new RawClient(port).socket.write(handshake())
    return refusals.first('the refusal', () => true)
  },
  WSHUB_ERR_NOT_ATTACHED: async () => {
    const hub = new Hub()
    const thrown = new Journal<unknown>()
    const server = createServer((req, res) => {
      thrown.push(thrownBy(() => hub.upgrade(req, {})))
      res.end()
    })
    await listen(server)
    onTestFinished(() => stop(server))
    new RawClient((server.address() as AddressInfo).port).socket.write(handshake()) // the server listens on TCP
    return thrown.first('the refusal', () => true)
  },
  WSHUB_ERR_ALREADY_UPGRADED: async () => {
    const hub = new Hub()
    const thrown = new Journal<unknown>()
    const server = createServer((req) => {
      void hub.upgrade(req, {})
      thrown.push(thrownBy(() => hub.upgrade(req, {})))
    })
    hub.attach(server)
    await listen(server)
    onTestFinished(async () => {
      await hub.close({ timeoutMs: 20 })
      await stop(server)
    })
    new RawClient((server.address() as AddressInfo).port).socket.write(handshake()) // the server listens on TCP
    return thrown.first('the refusal', () => true)
  },
  WSHUB_ERR_INVALID_OPTION: now(() => new Hub({ maxConnections: 0 })),
  WSHUB_ERR_INVALID_HANDLER: now(() => new Hub().register({} as never, { onOpen: 1 } as never)),
  WSHUB_ERR_INVALID_SOCKET: now(() => new Hub().register({} as never, {})),
  WSHUB_ERR_INVALID_PAYLOAD: now(() => new Hub().broadcast({} as never)),
  WSHUB_ERR_INVALID_ROOM: now(() => new Hub().roomSize('')),
  WSHUB_ERR_INVALID_CLOSE: now(() => new Hub().close({ code: 1005 })),
  WSHUB_ERR_INVALID_HEADER: now(() => Handshake.createResponse(KEY, { headers: { a: 'b\r\nc: d' } })),
  WSHUB_ERR_CONTROL_TOO_LONG: now(() => Frame.ping('x'.repeat(126))),
  WSHUB_ERR_FOREIGN_CONNECTION: now(() => new Hub().joinRoom({} as never, 'tea')),
  WSHUB_ERR_ALREADY_ITERATED: async () => {
    const { connect } = await serve()
    const { connection } = await connect()
    connection[Symbol.asyncIterator]()
    return thrownBy(() => connection[Symbol.asyncIterator]())
  },
  WSHUB_ERR_INVALID_SELECTOR: () => new Hub().cluster.disconnect({} as never).catch((error) => error),
  WSHUB_ERR_INVALID_FRAME: now(() => Frame.decode(Buffer.from([0x83, 0]))),
  WSHUB_ERR_PROTOCOL: () => reported((client) => client.socket.write(Frame.text('unmasked').encode())),
  WSHUB_ERR_INVALID_DATA: () =>
    reported((client) => client.send({ opcode: Opcode.text, payload: Buffer.from([0xff]) })),
  WSHUB_ERR_MESSAGE_TOO_BIG: () =>
    reported((client) => client.send({ opcode: Opcode.text, payload: Buffer.alloc(11) })),
  WSHUB_ERR_TOO_MANY_FRAGMENTS: () =>
    reported(
      (client) => {
        client.send({ opcode: Opcode.text, fin: false })
        client.send({ opcode: Opcode.continuation, fin: false })
      },
      { limits: { maxFragments: 1 } },
    ),
  WSHUB_ERR_RATE_LIMIT: () =>
    reported(
      (client) => {
        for (let i = 0; i < 20; i++) client.send({ opcode: Opcode.text })
      },
      { limits: { maxMessagesPerSecond: 1, rateLimitPolicy: 'close' } },
    ),
  WSHUB_ERR_TOO_MANY_ROOMS: async () => {
    const { hub, connect } = await serve({ limits: { maxRoomsPerConnection: 1 } })
    const { connection } = await connect()
    return thrownBy(() => hub.joinRoom(connection, ['tea', 'coffee']))
  },
  WSHUB_ERR_TOO_MUCH_METADATA: async () => {
    const { connect } = await serve({ limits: { maxMetadataEntries: 1 } })
    const { connection } = await connect()
    connection.setMetadata('a', 1)
    return thrownBy(() => connection.setMetadata('b', 1))
  },
  WSHUB_ERR_HANDLER_THREW: async () => {
    const { connect, log, errors } = await serve({}, { onOpen: () => Promise.reject('no error') })
    await connect()
    await log.first('the error', (entry) => entry.startsWith('error'))
    return errors[0]
  },
  WSHUB_ERR_OPEN_TIMEOUT: async () => {
    const { connect, log, errors } = await serve(
      { openTimeoutMs: 20 },
      { onOpen: () => new Promise(() => {}) },
    )
    await connect()
    await log.first('the error', (entry) => entry.startsWith('error'))
    return errors[0]
  },
  WSHUB_ERR_SLOW_CONSUMER: async () => {
    const { connectRaw, log, errors } = await serve({ maxBufferedBytes: 100_000 })
    const { client, connection } = await connectRaw()
    client.socket.pause()
    for (let i = 0; i < 2_000 && connection.state === 'open'; i++) {
      connection.sendBinary(Buffer.alloc(65_536))
      await turn()
    }
    await log.first('the error', (entry) => entry.startsWith('error'))
    return errors[0]
  },
  WSHUB_ERR_TOO_MANY_CALLS: async () => {
    const hub = new Hub({ cluster: { maxPendingCalls: 1 } })
    hub.cluster.handle('slow', () => new Promise(() => {}))
    const waiting = hub.cluster.call('slow')
    const error = await hub.cluster.nodes().catch((thrown) => thrown)
    await hub.close()
    await waiting
    return error
  },
  WSHUB_ERR_BACKPLANE: async () => {
    const backplane = new Bus().backplane()
    backplane.startError = new Error('no such host')
    return hubFault({ backplane }, () => {})
  },
  WSHUB_ERR_NO_HISTORY: () => new Hub().publish('room', '').catch((error) => error),
  WSHUB_ERR_NO_PRESENCE: () => new Hub().presenceSettled('room').catch((error) => error),
  WSHUB_ERR_PRESENCE: async () => {
    const presence: PresenceOptions = { rooms: () => 'members', user: () => '' }
    const errors = new Journal<Error>()
    const { hub, connect } = await serve({ presence, onError: (error) => errors.push(error) })
    const { connection } = await connect()
    hub.joinRoom(connection, 'room')
    return errors.first('the error', () => true)
  },
  WSHUB_ERR_NOT_SENT: async () => {
    const { connect } = await serve()
    const { connection } = await connect()
    const view = asWebSocket(connection)
    connection.terminate()
    return new Promise((resolve) => view.send('never written', resolve))
  },
  WSHUB_ERR_NOT_STORED: () => withHistoryCut((hub) => hub.publish('room', '')),
  WSHUB_ERR_HISTORY_AWAY: () => withHistoryCut((hub) => hub.history('room')),
  WSHUB_ERR_NOT_PUBLISHED: () =>
    hubFault({ backplane: new Bus().backplane() }, async (hub) => {
      await hub.close()
      hub.broadcast('x')
    }),
  WSHUB_ERR_ENVELOPE: async () => {
    const bus = new Bus()
    return hubFault({ backplane: bus.backplane() }, () => bus.inject('wshub.c', Buffer.from([1])))
  },
  WSHUB_ERR_ENVELOPE_VERSION: async () => {
    const bus = new Bus()
    return hubFault({ backplane: bus.backplane() }, () => bus.inject('wshub.c', Buffer.from([2])))
  },
  WSHUB_ERR_ENVELOPE_TOO_BIG: () =>
    hubFault({ backplane: new Bus().backplane(), cluster: { maxEnvelopeBytes: 1_024 } }, (hub) =>
      hub.broadcast('x'.repeat(1_024)),
    ),
}

/** Returns the error of a call while the store of the history is away. */
async function withHistoryCut(call: (hub: Hub) => Promise<unknown>): Promise<unknown> {
  const bus = new MemoryHistoryBus()
  const hub = new Hub({ history: { store: memoryHistory({ bus }), rooms: () => ({}) }, onError: () => {} })
  onTestFinished(() => void hub.close())
  bus.cut()
  return call(hub).catch((error) => error)
}

describe('HUB_ERRORS', () => {
  it('has no code that this test cannot cause', () => {
    expect(Object.keys(causes).sort()).toEqual(Object.keys(HUB_ERRORS).sort())
  })

  it.each(Object.entries(causes))('has %s, which the API throws or reports', async (code, cause) => {
    const error = await inTime(code, cause(), () => code)
    const rule = HUB_ERRORS[code as HubErrorCode] // the test above compares the names
    expect(error).toBeInstanceOf(HubError)
    expect(error).toMatchObject({
      name: 'HubError',
      code,
      status: rule.status,
      statusCode: rule.status,
      expose: rule.status < 500 || (rule.status !== 500 && Object(error).cause === undefined),
      headers: 'headers' in rule ? rule.headers : {},
      closeCode: 'closeCode' in rule ? rule.closeCode : undefined,
      message: expect.stringMatching(/./),
    })
  })
})

describe('HubError', () => {
  it('has a stack unless it refuses a request', () => {
    for (const [code, rule] of Object.entries(HUB_ERRORS)) {
      const error = new HubError(code as HubErrorCode, 'message') // Object.entries forgets the key type
      const isRefusal = rule.status !== 500 && 'headers' in rule && 'Connection' in rule.headers
      if (isRefusal) expect(error.stack).toBe(`HubError [${code}]: message`)
      else expect(error.stack).toMatch(/^\s+at /m)
      expect(error.expose).toBe(isRefusal || rule.status !== 500)
    }
  })

  it('keeps its cause', () => {
    const cause = new Error('deeper')
    expect(new HubError('WSHUB_ERR_PROTOCOL', 'x', { cause }).cause).toBe(cause)
  })

  it.each<[code: HubErrorCode, isShown: boolean]>([
    ['WSHUB_ERR_HUB_CLOSED', false],
    ['WSHUB_ERR_BACKPLANE', false],
    ['WSHUB_ERR_NOT_STORED', false],
    ['WSHUB_ERR_HISTORY_AWAY', false],
    ['WSHUB_ERR_MESSAGE_TOO_BIG', true],
    ['WSHUB_ERR_PROTOCOL', true],
  ])('shows clients no text of an engine: %s with a cause', (code, isShown) => {
    const cause = new Error('connect ECONNREFUSED 10.0.0.7:6379')
    expect(new HubError(code, cause.message, { cause }).expose).toBe(isShown)
    expect(new HubError(code, 'a text of our own', { cause: undefined }).expose).toBe(true)
  })
})
