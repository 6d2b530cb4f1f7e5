import { once } from 'node:events'
import { describe, expect, it, onTestFinished } from 'vitest'
import { WebSocketServer } from 'ws'
import { type CloseResult, type Connection, type EventHandler, Hub } from 'wshub'
import { RunningHandlers } from '../../src/base/running-handlers.ts'
import { Bus } from '../support/bus.ts'
import { acquainted, join } from '../support/cluster.ts'
import { Client, eventually, inTime, Journal, serve, turn } from '../support/hub-server.ts'

/** Blocks callbacks until it is opened. */
class Gate {
  #open = (): void => {}
  readonly passed = new Promise<void>((resolve) => {
    this.#open = resolve
  })
  open(): void {
    this.#open()
  }
}

async function turns(count = 5): Promise<void> {
  for (let i = 0; i < count; i++) await turn()
}

/** Asserts that `hub.close` waits for something. */
async function expectPending(closing: Promise<CloseResult>): Promise<void> {
  let result: CloseResult | undefined
  void closing.then((closed) => {
    result = closed
  })
  await turns()
  expect(result).toBeUndefined()
}

describe('RunningHandlers', () => {
  it('resolves every call of idle when the last callback has settled', async () => {
    const running = new RunningHandlers()
    running.begin()
    running.begin()
    let idle = 0
    const both = [running.idle(), running.idle()].map((promise) => promise.then(() => idle++))
    running.end()
    await turns()
    expect(idle).toBe(0)
    running.end()
    await inTime('both calls', Promise.all(both))
    expect(idle).toBe(2)
    await inTime('a call when none is running', running.idle())
  })
})

interface Case {
  what: string
  handler: (gate: Gate, running: Journal<string>) => EventHandler
  begin?: (client: Client) => void
}

const reply = (connection: Connection) => connection.sendText('reply')

/** The body of a callback that waits for its gate, and then replies. */
async function finish(connection: Connection, gate: Gate, running: Journal<string>): Promise<void> {
  running.push('begun')
  await gate.passed
  reply(connection)
}

const cases: Case[] = [
  {
    what: 'onMessage',
    handler: (gate, running) => ({
      onMessage: (connection) => finish(connection, gate, running),
    }),
  },
  {
    what: 'one of two onMessage',
    handler: (gate, running) => ({
      async onMessage(connection, { data }) {
        running.push('begun')
        if (data === 'begin') await gate.passed
        reply(connection)
      },
    }),
    begin: (client) => {
      client.socket.send('begin')
      client.socket.send('and another')
    },
  },
  {
    what: 'onOpen',
    handler: (gate, running) => ({
      onOpen: (connection) => finish(connection, gate, running),
    }),
    begin: () => {},
  },
  {
    what: 'onPing',
    handler: (gate, running) => ({
      onPing: (connection) => finish(connection, gate, running),
    }),
    begin: (client) => client.socket.ping(),
  },
  {
    what: 'the body of an iteration that nobody awaits',
    handler: (gate, running) => ({
      onOpen(connection) {
        void (async () => {
          for await (const _message of connection) await finish(connection, gate, running)
        })()
      },
    }),
  },
  {
    what: 'onOpen, with an iteration',
    handler: (gate, running) => ({
      async onOpen(connection) {
        for await (const _message of connection) {
          running.push('begun')
          await gate.passed
        }
        reply(connection)
      },
    }),
  },
  {
    what: 'onMessage, with an iteration that waits for more',
    handler: (gate, running) => ({
      async onMessage(connection) {
        running.push('begun')
        for await (const _message of connection) break
        await gate.passed
        reply(connection)
      },
    }),
  },
]

describe('hub.close', () => {
  it.each(cases)(
    'waits for $what, whose reply is sent before the close frame',
    async ({ handler, begin = (client) => client.socket.send('begin') }) => {
      const gate = new Gate()
      const running = new Journal<string>()
      const { hub, connect, log } = await serve({}, handler(gate, running))
      const { client } = await connect()
      begin(client)
      await running.first('the callback', () => true)
      const closing = hub.close({ code: 1012, reason: 'deploy' })
      await expectPending(closing)
      expect(hub.size).toBe(1)
      gate.open()
      expect(await closing).toEqual({ closed: 1, terminated: 0 })
      expect(await client.closed()).toBe('1012 deploy')
      expect(client.received.all.at(-1)).toBe('reply')
      expect(log.all.at(-1)).toBe('close 1012 deploy')
    },
  )

  it('waits for onMessage of a client that has disconnected', async () => {
    const gate = new Gate()
    const log: string[] = []
    const {
      hub,
      connect,
      log: events,
    } = await serve(
      {},
      {
        async onMessage() {
          await gate.passed
          log.push('stored')
        },
      },
    )
    const { client } = await connect()
    client.socket.send('store this')
    await events.first('the message', (entry) => entry === 'message store this')
    await client.close()
    const closing = hub.close()
    await expectPending(closing)
    gate.open()
    await closing
    expect(log).toEqual(['stored'])
  })

  it('delivers no message that arrives while it waits', async () => {
    const gate = new Gate()
    const { hub, connect, log } = await serve({}, { onMessage: () => gate.passed })
    const { client, connection } = await connect()
    client.socket.send('first')
    await log.first('the message', (entry) => entry === 'message first')
    const closing = hub.close()
    client.socket.send('second')
    client.socket.ping()
    await inTime('the pong behind it', once(client.socket, 'pong'), () => client.received.all)
    expect(connection.sendText('still open')).toBe(true)
    gate.open()
    await closing
    expect(log.all).toEqual(['open', 'message first', 'close 1001'])
    expect(client.received.all).toEqual(['still open'])
  })

  it.each(['the handler', 'the hub'])('waits for onError of %s', async (whose) => {
    const gate = new Gate()
    const log: string[] = []
    const onError = async () => {
      await gate.passed
      log.push('stored')
    }
    const {
      hub,
      connect,
      log: events,
    } = await serve(
      whose === 'the hub' ? { onError } : {},
      {
        onMessage: () => {
          throw new Error('to be stored')
        },
        ...(whose === 'the hub' ? {} : { onError }),
      },
      { withoutOnError: whose === 'the hub' },
    )
    const { client } = await connect()
    client.socket.send('begin')
    expect(await client.closed()).toBe('1011')
    await events.first('onClose', (entry) => entry.startsWith('close'))
    const closing = hub.close()
    await expectPending(closing)
    gate.open()
    await closing
    expect(log).toEqual(['stored'])
  })

  it('waits for the handler of a cluster call, whose answer still arrives', async () => {
    const gate = new Gate()
    const running = new Journal<string>()
    const bus = new Bus()
    const asking = await join(bus, { callTimeoutMs: 10_000 })
    const asked = await join(bus, { callTimeoutMs: 10_000 })
    await acquainted([asking, asked])
    asked.hub.cluster.handle('slow', async () => {
      running.push('begun')
      await gate.passed
      return 'the answer'
    })
    const answers = asking.hub.cluster.call('slow', '')
    await running.first('the call', () => true)
    const closing = asked.hub.close()
    await expectPending(closing)
    gate.open()
    await closing
    expect(JSON.stringify(await answers)).toContain('the answer')
  })

  it('closes connections without running handlers at once', async () => {
    const gate = new Gate()
    const { hub, connect, log } = await serve({}, { onMessage: () => gate.passed })
    const { client } = await connect()
    const { client: idle } = await connect()
    client.socket.send('begin')
    await log.first('the message', (entry) => entry === 'message begin')
    const closing = hub.close()
    expect(await idle.closed()).toBe('1001')
    await eventually(
      'the other to be closed',
      () => hub.size === 1,
      () => hub.size,
    )
    await turns()
    expect(hub.size).toBe(1)
    gate.open()
    expect(await closing).toEqual({ closed: 2, terminated: 0 })
  })

  it('closes a connection whose handler never settles, and resolves after timeoutMs', async () => {
    const { hub, connect, log } = await serve({}, { onMessage: () => new Promise(() => {}) })
    const { client } = await connect()
    client.socket.send('begin')
    await log.first('the message', (entry) => entry === 'message begin')
    await hub.close({ timeoutMs: 500 })
    expect(await client.closed()).toBe('1001')
  })

  it('does not wait for an onExpire that timed out', async () => {
    const { hub, connect } = await serve(
      { openTimeoutMs: 40 },
      { onExpire: () => new Promise(() => {}) },
      { expiresAt: Date.now() + 200 },
    )
    const { client } = await connect()
    expect(await client.closed()).toBe('4401 credential expired')
    await inTime('the hub to close', hub.close({ timeoutMs: 60_000 }), () => hub.stats())
  })

  it('closes with 1011 when a handler fails while it waits', async () => {
    const gate = new Gate()
    const { hub, connect, log } = await serve(
      {},
      {
        async onMessage() {
          await gate.passed
          throw new Error('failed meanwhile')
        },
      },
    )
    const { client } = await connect()
    client.socket.send('begin')
    await log.first('the message', (entry) => entry === 'message begin')
    const closing = hub.close()
    gate.open()
    expect(await closing).toEqual({ closed: 1, terminated: 0 })
    expect(await client.closed()).toBe('1011')
  })

  it('waits for a handler of a registered socket', async () => {
    const gate = new Gate()
    const hub = new Hub()
    const log = new Journal<string>()
    const wss = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    onTestFinished(() => void wss.close())
    wss.on('connection', (socket) => {
      hub.register(socket, {
        async onMessage(connection) {
          log.push('begun')
          await gate.passed
          reply(connection)
        },
      })
    })
    await eventually(
      'the server to listen',
      () => wss.address() !== null,
      () => wss.address(),
    )
    const address = wss.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    const client = await Client.open(`ws://127.0.0.1:${address.port}`)
    client.socket.send('begin')
    await log.first('the callback', () => true)
    const closing = hub.close()
    gate.open()
    expect(await closing).toEqual({ closed: 1, terminated: 0 })
    expect(await client.closed()).toBe('1001')
    expect(client.received.all).toEqual(['reply'])
  })
})

describe('A server that stops listening', () => {
  it('waits for a running onMessage, whose reply is sent before the close frame', async () => {
    const gate = new Gate()
    const { server, connect, log, hub } = await serve(
      { closeTimeoutMs: 800 },
      {
        async onMessage(connection) {
          await gate.passed
          reply(connection)
        },
      },
    )
    const { client } = await connect()
    const { client: idle } = await connect()
    client.socket.send('begin')
    await log.first('the message', (entry) => entry === 'message begin')
    server.close()
    expect(await idle.closed()).toBe('1001')
    await eventually(
      'the other to be closed',
      () => hub.size === 1,
      () => hub.size,
    )
    await turns()
    expect(hub.size).toBe(1)
    gate.open()
    expect(await client.closed()).toBe('1001')
    expect(client.received.all).toEqual(['reply'])
  })

  it('closes after closeTimeoutMs a connection whose handler never settles', async () => {
    const { server, connect, log } = await serve(
      { closeTimeoutMs: 80 },
      { onMessage: () => new Promise(() => {}) },
    )
    const { client } = await connect()
    client.socket.send('begin')
    await log.first('the message', (entry) => entry === 'message begin')
    server.close()
    expect(await client.closed()).toBe('1001')
  })
})
