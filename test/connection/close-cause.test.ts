import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { WebSocketServer } from 'ws'
import {
  type CloseCause,
  type CloseReason,
  type Connection,
  type EventHandler,
  Hub,
  type HubDiagnostics,
  type HubOptions,
  Opcode,
  type UpgradeInit,
} from 'wshub'
import { CLOSE_REASONS } from '../../src/connection/close-cause.ts'
import { eventually, inTime, Journal, RawClient, serve } from '../support/hub-server.ts'

/** The arguments of a call of `onClose`, without the connection. */
type Close = readonly [code: number, reason: string, cause: CloseCause]

interface House {
  readonly hub: Hub
  readonly port: number
  readonly connections: Connection[]
  readonly closes: Journal<Close>
}

type Open = (
  options: HubOptions,
  handler: EventHandler,
  init: Pick<UpgradeInit, 'expiresAt'>,
) => Promise<House>

const accepting: Open = async (options, handler, init) => {
  const closes = new Journal<Close>()
  const { hub, port, connections } = await serve(
    options,
    { ...handler, onClose: (_connection, ...close) => closes.push(close) },
    init,
  )
  return { hub, port, connections, closes }
}

/** A hub that registers the WebSockets of a server of `ws`. */
const registering: Open = async (options, handler, init) => {
  const hub = new Hub(options)
  const closes = new Journal<Close>()
  const connections: Connection[] = []
  const wss = new WebSocketServer({
    port: 0,
    host: '127.0.0.1',
    maxPayload: options.maxMessageSize ?? 65_536,
  })
  wss.on('connection', (socket) => {
    const recording: EventHandler = {
      ...handler,
      onError: () => {},
      onClose: (_connection, ...close) => closes.push(close),
    }
    connections.push(hub.register(socket, recording, init))
  })
  onTestFinished(async () => {
    await hub.close({ timeoutMs: 50 })
    wss.close()
  })
  if (wss.address() === null) await inTime('the server to listen', once(wss, 'listening'), () => connections)
  const { port } = wss.address() as AddressInfo // the server listens on TCP
  return { hub, port, connections, closes }
}

const tick = () => new Promise((resolve) => setImmediate(resolve))

/** Sends until the hub ends the connection, or the connection has a backlog. */
async function flood(connection: Connection, until: () => boolean): Promise<void> {
  const block = Buffer.alloc(200_000)
  await eventually(
    'a client that does not read',
    () => {
      connection.sendBinary(block)
      return until()
    },
    () => connection.bufferedBytes,
  )
}

interface Case {
  what: string
  options?: HubOptions
  handler?: EventHandler
  init?: () => Pick<UpgradeInit, 'expiresAt'>
  end(client: RawClient, connection: Connection, hub: Hub): unknown
  close: [code: number, reason: string]
  cause: Pick<CloseCause, 'by' | 'reason'> & { error?: string }
}

const cases: Case[] = [
  {
    what: 'a close frame of the client',
    end: (client) =>
      client.send({
        opcode: Opcode.close,
        payload: Buffer.concat([Buffer.from([0x0f, 0xa0]), Buffer.from('bye')]),
      }),
    close: [4000, 'bye'],
    cause: { by: 'client', reason: 'normal' },
  },
  {
    what: 'a close frame of the client without a code',
    end: (client) => client.send({ opcode: Opcode.close }),
    close: [1005, ''],
    cause: { by: 'client', reason: 'normal' },
  },
  {
    what: 'connection.close',
    end: async (client, connection) => {
      connection.close(4001, 'enough')
      await client.closeFrame()
      client.send({ opcode: Opcode.close, payload: Buffer.from([0x0f, 0xa1]) })
    },
    close: [4001, ''],
    cause: { by: 'application', reason: 'normal' },
  },
  {
    what: 'connection.close, which the client answers with another code',
    end: async (client, connection) => {
      connection.close(4001, 'enough')
      await client.closeFrame()
      client.send({ opcode: Opcode.close, payload: Buffer.from([0x03, 0xe8]) })
    },
    close: [1000, ''],
    cause: { by: 'application', reason: 'normal' },
  },
  {
    what: 'connection.close, which the client never answers',
    options: { closeTimeoutMs: 60 },
    end: (_client, connection) => connection.close(4001, 'enough'),
    close: [4001, 'enough'],
    cause: { by: 'application', reason: 'normal' },
  },
  {
    what: 'hub.disconnect',
    end: (client, _connection, hub) => {
      hub.disconnect(() => true, 4002, 'all of you')
      client.socket.end()
    },
    close: [4002, 'all of you'],
    cause: { by: 'application', reason: 'normal' },
  },
  {
    what: 'connection.close behind what a client does not read',
    options: { closeTimeoutMs: 60, maxBufferedBytes: 100_000_000 },
    end: async (client, connection) => {
      client.socket.pause()
      await flood(connection, () => connection.bufferedBytes > 2_000_000)
      connection.close()
    },
    close: [1006, 'the close frame could not be sent'],
    cause: { by: 'application', reason: 'normal' },
  },
  {
    what: 'connection.terminate',
    end: (_client, connection) => connection.terminate(),
    close: [1006, ''],
    cause: { by: 'application', reason: 'terminated' },
  },
  {
    what: 'a reset of the TCP connection',
    end: (client) => client.socket.resetAndDestroy(),
    close: [1006, ''],
    cause: { by: 'network', reason: 'lost' },
  },
  {
    what: 'the end of the TCP connection',
    end: (client) => client.socket.end(),
    close: [1006, ''],
    cause: { by: 'network', reason: 'lost' },
  },
  {
    what: 'a ping that is not answered',
    options: { pingIntervalMs: 40, pongTimeoutMs: 40 },
    end: () => {},
    close: [1006, 'no answer to a ping within 40 ms'],
    cause: { by: 'hub', reason: 'timeout' },
  },
  {
    what: 'an onOpen that does not settle',
    options: { openTimeoutMs: 40, closeTimeoutMs: 60 },
    handler: { onOpen: () => new Promise(() => {}) },
    end: () => {},
    close: [1011, ''],
    cause: { by: 'hub', reason: 'openTimeout', error: 'WSHUB_ERR_OPEN_TIMEOUT' },
  },
  {
    what: 'a client that does not read, stalled',
    options: { maxBufferedBytes: 100_000, closeTimeoutMs: 60 },
    end: async (client, connection) => {
      client.socket.pause()
      await flood(connection, () => connection.state !== 'open')
    },
    close: [1013, 'too slow'],
    cause: { by: 'hub', reason: 'slow', error: 'WSHUB_ERR_SLOW_CONSUMER' },
  },
  {
    what: 'messages above the rate',
    options: { limits: { maxMessagesPerSecond: 1, rateLimitPolicy: 'close' }, closeTimeoutMs: 60 },
    end: (client) => {
      for (let i = 0; i < 10; i++) client.send({ opcode: Opcode.text, payload: Buffer.from('x') })
    },
    close: [1008, 'too many messages'],
    cause: { by: 'hub', reason: 'rate', error: 'WSHUB_ERR_RATE_LIMIT' },
  },
  {
    what: 'a message above maxMessageSize',
    options: { maxMessageSize: 1_000, closeTimeoutMs: 60 },
    end: (client) => client.send({ opcode: Opcode.binary, payload: Buffer.alloc(1_001) }),
    close: [1009, ''],
    cause: { by: 'hub', reason: 'tooBig', error: 'WSHUB_ERR_MESSAGE_TOO_BIG' },
  },
  {
    what: 'a frame that breaks the protocol',
    options: { closeTimeoutMs: 60 },
    end: (client) => client.socket.write(Buffer.from([0xf1, 0x80, 0, 0, 0, 0])),
    close: [1002, ''],
    cause: { by: 'hub', reason: 'protocol', error: 'WSHUB_ERR_PROTOCOL' },
  },
  {
    what: 'text that is not UTF-8',
    options: { closeTimeoutMs: 60 },
    end: (client) => client.send({ opcode: Opcode.text, payload: Buffer.from([0xff]) }),
    close: [1007, ''],
    cause: { by: 'hub', reason: 'protocol', error: 'WSHUB_ERR_INVALID_DATA' },
  },
  {
    what: 'a credential that has expired',
    options: { closeTimeoutMs: 60 },
    init: () => ({ expiresAt: Date.now() + 100 }),
    end: () => {},
    close: [4401, 'credential expired'],
    cause: { by: 'hub', reason: 'expired' },
  },
  {
    what: 'hub.close',
    options: { closeTimeoutMs: 60 },
    end: (_client, _connection, hub) => void hub.close({ code: 1012, reason: 'deploy' }),
    close: [1012, 'deploy'],
    cause: { by: 'hub', reason: 'shutdown' },
  },
  {
    what: 'hub.close behind what a client does not read',
    options: { maxBufferedBytes: 100_000_000 },
    end: async (client, connection, hub) => {
      client.socket.pause()
      await flood(connection, () => connection.bufferedBytes > 2_000_000)
      await hub.close({ timeoutMs: 50 })
    },
    close: [1006, 'the close frame could not be sent'],
    cause: { by: 'hub', reason: 'shutdown' },
  },
  {
    what: 'a handler that throws',
    options: { closeTimeoutMs: 60 },
    handler: {
      onMessage: () => {
        throw new Error('a fault of the handler')
      },
    },
    end: (client) => client.send({ opcode: Opcode.text }),
    close: [1011, ''],
    cause: { by: 'hub', reason: 'handlerError', error: 'a fault of the handler' },
  },
]

/** A cause in words that a test can compare. */
function shown({ by, reason, code, error, openMs, ...rest }: CloseCause): unknown {
  const found = error === undefined ? undefined : 'code' in error ? String(error.code) : error.message
  return { by, reason, code, error: found, openMs: openMs >= 0 && Number.isInteger(openMs), rest }
}

/** Records the `wshub:close` messages of one hub. */
function hear(): HubDiagnostics['wshub:close'][] {
  const told: HubDiagnostics['wshub:close'][] = []
  const listener = (message: unknown) => void told.push(message as HubDiagnostics['wshub:close']) // as the channel is documented
  subscribe('wshub:close', listener)
  onTestFinished(() => void unsubscribe('wshub:close', listener))
  return told
}

describe.each([
  { how: 'accepted', open: accepting },
  { how: 'registered', open: registering },
])('The close cause of a connection that was $how', ({ open }) => {
  it.each(cases)('reports $what', async ({ options = {}, handler = {}, init, end, close, cause }) => {
    const told = hear()
    const house = await open(options, handler, init?.() ?? {})
    const { hub, port, connections, closes } = house
    const client = await RawClient.open(port)
    await eventually(
      'the connection',
      () => connections[0]?.state === 'open' || closes.all.length > 0,
      () => connections.map(({ state }) => state),
    )
    const [connection] = connections
    if (connection === undefined) throw new Error('there is no connection')
    await end(client, connection, hub)
    const [[code, reason, got] = []] = [await closes.first('onClose', () => true)]
    expect([code, reason]).toEqual(close)
    if (got === undefined) throw new Error('onClose got no cause')
    expect(shown(got)).toEqual({ error: undefined, code, openMs: true, rest: {}, ...cause })
    expect(told).toEqual([{ connection, code, reason, cause: got }])
    const others = CLOSE_REASONS.filter((name) => name !== cause.reason)
    const { closeReasons, closedConnections, lostConnections } = hub.stats()
    expect(closeReasons[cause.reason]).toBe(1)
    expect(others.filter((name) => closeReasons[name] !== 0)).toEqual([])
    expect(closedConnections).toBe(1)
    expect(lostConnections).toBe(cause.reason === 'lost' || cause.reason === 'timeout' ? 1 : 0)
  })
})

describe('The close cause', () => {
  it('is tested here for every reason', () => {
    expect(new Set(cases.map(({ cause }) => cause.reason))).toEqual(new Set<CloseReason>(CLOSE_REASONS))
  })

  it('is "network" for a registered socket that never connected', async () => {
    const { WebSocket } = await import('ws')
    const hub = new Hub({ onError: () => {} })
    const closes = new Journal<Close>()
    const wss = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    if (wss.address() === null) await inTime('the server to listen', once(wss, 'listening'), () => [])
    const { port } = wss.address() as AddressInfo // the server listens on TCP
    await new Promise<void>((resolve) => wss.close(() => resolve()))
    hub.register(new WebSocket(`ws://127.0.0.1:${port}`), {
      onClose: (_connection, ...close) => closes.push(close),
    })
    const [, , cause] = await closes.first('onClose', () => true)
    expect(cause).toMatchObject({ by: 'network', reason: 'lost', code: 1006, openMs: 0 })
  })

  it('contains the time that the connection was open', async () => {
    const { connectRaw, causes, log } = await serve()
    const { client } = await connectRaw()
    const start = performance.now()
    await eventually(
      'some time',
      () => performance.now() - start > 30,
      () => causes,
    )
    client.socket.end()
    await log.first('onClose', (entry) => entry.startsWith('close'))
    expect(causes[0]?.openMs).toBeGreaterThanOrEqual(30)
  })

  it('is "rate" when a client sends more pings than can be answered', async () => {
    const { port, log, causes, connections, errors } = await serve({ maxBufferedBytes: 100_000_000 })
    const client = await RawClient.open(port)
    await log.first('onOpen', (entry) => entry === 'open')
    const [connection] = connections
    if (connection === undefined) throw new Error('there is no connection')
    client.socket.pause()
    await flood(connection, () => connection.bufferedBytes > 2_000_000)
    for (let i = 0; i < 100 && log.all.every((entry) => !entry.startsWith('close')); i++) {
      client.send({ opcode: Opcode.ping })
      await tick()
    }
    await log.first('onClose', (entry) => entry.startsWith('close'))
    expect(errors).toMatchObject([{ code: 'WSHUB_ERR_RATE_LIMIT' }])
    expect(causes).toMatchObject([{ by: 'hub', reason: 'rate', code: 1006, error: errors[0] }])
  })
})
