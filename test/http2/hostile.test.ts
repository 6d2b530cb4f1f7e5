import { once } from 'node:events'
import { constants, type ServerHttp2Stream } from 'node:http2'
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import { type Connection, type HubOptions, Opcode } from 'wshub'
import { echo } from '../adapters/frameworks.ts'
import { destroySessions, Http2Client, type StreamClient } from '../support/http2-client.ts'
import { Journal } from '../support/hub-server.ts'
import { destroyClients, Gate, inTime, text, until } from '../support/raw.ts'
import { type Served, serve } from './served.ts'

afterEach(destroySessions)
afterEach(destroyClients)

const { NGHTTP2_CANCEL: CANCEL } = constants

const WINDOW = 65_535

/** A client that has been granted this many bytes, and grants no more while it does not read. */
async function slowClient(served: Served, windowBytes = WINDOW): Promise<StreamClient> {
  const client = await Http2Client.connect(served, { initialWindowSize: windowBytes })
  const socket = await client.open()
  socket.stream.pause()
  return socket
}

describe('A client over HTTP/2 that does not read', () => {
  const message = 'x'.repeat(10_000)

  it.each([
    ['with a window', WINDOW],
    ['with a window of 0', 0],
  ])('is closed above maxBufferedBytes, %s', async (_what, windowBytes) => {
    const errors = new Journal<string>()
    const served = await serve(
      { maxBufferedBytes: 100_000, closeTimeoutMs: 100 },
      { ...echo, onError: (_conn, error) => errors.push(String(Reflect.get(error, 'code'))) },
    )
    const slow = await slowClient(served, windowBytes)
    const neighbour = await (await Http2Client.connect(served)).open()
    const [connection] = served.connections
    let most = 0
    await until(
      'the slow client to be closed',
      () => {
        connection?.sendText(message)
        most = Math.max(most, connection?.bufferedBytes ?? 0)
        return errors.all.length > 0
      },
      () => connection?.bufferedBytes,
    )
    expect(errors.all).toEqual(['WSHUB_ERR_SLOW_CONSUMER'])
    expect(most).toBeLessThan(300_000)
    expect(await slow.reset()).toBe(CANCEL)
    await neighbour.echoes()
    await until('the slow client to be gone', () => served.hub.size === 1)
  })

  it('gets what it has room for, and the latest of the rest once it reads', async () => {
    const served = await serve({ maxBufferedBytes: 50_000, slowConsumer: 'dropOldest' })
    const slow = await slowClient(served)
    const [connection] = served.connections
    for (let number = 0; number < 50; number++) {
      connection?.sendText(`${number} ${message}`)
      await new Promise((resolve) => setImmediate(resolve))
    }
    connection?.sendText('the last')
    slow.stream.resume()
    await slow.frames.first('the last', ({ payload }) => payload.toString() === 'the last')
    const numbers = slow.frames.all.map(({ payload }) => Number.parseInt(payload.toString(), 10)).slice(0, -1)
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
    expect(numbers.length).toBeLessThan(50)
    expect(numbers[0]).toBe(0)
  })

  it('is counted once when it is refused, and its stream is closed at the deadline', async () => {
    const served = await serve({ limits: { upgradeTimeoutMs: 100 } })
    const client = await Http2Client.connect(served, { initialWindowSize: 0 })
    const refused = client.request('/ws', { origin: 'https://evil.example' })
    expect((await refused.answer())[':status']).toBe(403)
    expect(await refused.reset()).toBe(CANCEL)
    expect(refused.body).toBe('')
    expect(served.hub.stats()).toMatchObject({ pendingUpgrades: 0, refusedUpgrades: { WSHUB_ERR_ORIGIN: 1 } })
    expect(Object.keys(served.hub.stats().refusedUpgrades)).toEqual(['WSHUB_ERR_ORIGIN'])
  })

  it('does not hold up other streams of its session', async () => {
    const served = await serve({ maxBufferedBytes: 1_000_000 })
    const client = await Http2Client.connect(served, { initialWindowSize: 1_000 })
    const slow = await client.open()
    slow.stream.pause()
    const other = await client.open()
    for (let number = 0; number < 50; number++) served.connections[0]?.sendText(message)
    await other.echoes()
  })
})

describe('A hub that does not read from a stream', () => {
  it('lets the client send no more than the window', async () => {
    const opened = new Gate()
    const served = await serve({}, { ...echo, onOpen: () => opened.opened })
    const client = await Http2Client.connect(served)
    const socket = await client.open()
    const bytes = text('y'.repeat(1_000))
    let sent = 0
    let written = 0
    await until('the window to be full', () => {
      for (let i = 0; i < 10; i++) {
        written++
        socket.stream.write(bytes, () => sent++)
      }
      return socket.stream.writableLength > 1_000_000
    })
    expect(sent * bytes.length).toBeLessThan(3 * WINDOW)
    await (await client.open('/ws')).stream.close()
    opened.open()
    await socket.frames.until('all echoes', (all) => all.length === written)
  })

  it('bounds what is sent before the route answers', async () => {
    const answered = new Gate()
    const served = await serve({}, echo, {
      before: (req, res) => {
        if (req.url !== '/never') return false
        void answered.opened.then(() => res.writeHead(404).end())
        return true
      },
    })
    const client = await Http2Client.connect(served)
    const socket = client.request('/never')
    let sent = 0
    await until('the window to be full', () => {
      for (let i = 0; i < 10; i++) socket.stream.write(text('z'.repeat(1_000)), () => sent++)
      return socket.stream.writableLength > 1_000_000
    })
    expect(sent * 1_000).toBeLessThan(6 * WINDOW)
    answered.open()
    expect((await socket.answer())[':status']).toBe(404)
    await (await client.open()).echoes()
  })
})

describe('A connection that is paused with unread data, whose client has ended its stream', () => {
  it.each<[string, (connection: Connection | undefined) => void]>([
    ['terminated', (connection) => connection?.terminate()],
    ['closed', (connection) => void connection?.close()],
  ])('leaves nothing behind when it is %s', async (_how, end) => {
    const served = await serve({ closeTimeoutMs: 80, limits: { maxConnectionsPerSession: 1 } }, {})
    const streams: ServerHttp2Stream[] = []
    served.server.on('stream', (stream: ServerHttp2Stream) => streams.push(stream))
    const client = await Http2Client.connect(served)
    const socket = await client.open()
    const [connection] = served.connections
    connection?.pause()
    socket.write(text('y'.repeat(60_000)))
    socket.stream.end()
    await until('its data to wait', () => streams[0]?.isPaused() === true)
    end(connection)
    await until('the stream to be gone', () => streams[0]?.destroyed === true)
    await client.open()
  })
})

describe('Frames that arrive with the CONNECT', () => {
  it('are delivered in order after onOpen, and so is the close behind them', async () => {
    const log = new Journal<string>()
    const served = await serve(
      {},
      {
        onOpen: async () => {
          await new Promise((resolve) => setImmediate(resolve))
          log.push('open')
        },
        onMessage: (_conn, { data }) => log.push(String(data)),
        onClose: (_conn, code) => log.push(`close ${code}`),
      },
    )
    const socket = (await Http2Client.connect(served)).request()
    socket.send('a')
    socket.send('b')
    socket.close(4_000)
    socket.stream.end()
    await log.first('the close', (entry) => entry.startsWith('close'))
    expect(log.all).toEqual(['open', 'a', 'b', 'close 4000'])
  })
})

describe('closeTimeoutMs over HTTP/2', () => {
  it.each<[string, (socket: StreamClient, served: Served) => void]>([
    ['has begun to close', (socket) => socket.close()],
    ['has broken the protocol', (socket) => socket.write(Buffer.from([0xf1, 0x80, 0, 0, 0, 0]))],
    ['does not answer a close frame', (_socket, { connections }) => void connections[0]?.close()],
  ])('ends the stream of a client that %s, and never ends it itself', async (_what, act) => {
    const served = await serve({ closeTimeoutMs: 80 })
    const client = await Http2Client.connect(served)
    const socket = await client.open()
    act(socket, served)
    await socket.reset()
    await until('the connection to end', () => served.hub.size === 0)
    await (await client.open()).echoes()
  })

  it('ends the stream of a client that ended its side, and reads nothing', async () => {
    const served = await serve({ closeTimeoutMs: 80, maxBufferedBytes: 10_000_000 })
    const slow = await slowClient(served)
    served.hub.broadcast(Buffer.alloc(1_000_000))
    slow.stream.end()
    await until('the connection to end', () => served.hub.size === 0)
  })

  it('ends a silent client that answers no ping', async () => {
    const closes = new Journal<number>()
    const served = await serve(
      { pingIntervalMs: 50, pongTimeoutMs: 50 },
      { onClose: (_conn, code) => closes.push(code) },
    )
    const socket = await (await Http2Client.connect(served)).open()
    expect(await socket.reset()).toBe(CANCEL)
    await closes.first('onClose', (code) => code === 1006)
    expect(socket.frames.all.map(({ opcode }) => opcode)).toEqual([Opcode.ping])
  })

  it('does not end a client that is sending a long message while it answers no ping', async () => {
    const served = await serve({ pingIntervalMs: 50, pongTimeoutMs: 50, maxMessageSize: 1_000_000 })
    const socket = await (await Http2Client.connect(served)).open()
    const bytes = text('long '.repeat(20_000))
    let sent = 0
    await until('the message to be sent', () => {
      // A piece at a time, for longer than both times together.
      socket.write(bytes.subarray(sent, sent + 1_000))
      sent += 1_000
      return sent >= bytes.length
    })
    await socket.frames.first('the echo', ({ opcode }) => opcode === Opcode.text)
  })
})

describe('A flood over HTTP/2', () => {
  const flooded: HubOptions = { limits: { maxPendingUpgrades: 50, maxConnectionsPerSession: 1_000 } }

  it('of CONNECTs that are never answered is refused above maxPendingUpgrades', async () => {
    const served = await serve(flooded, echo, { before: () => true })
    const client = await Http2Client.connect(served)
    const requests = Array.from({ length: 200 }, () => client.request())
    await Promise.all(
      requests.slice(50).map(async (request) => expect((await request.answer())[':status']).toBe(503)),
    )
    expect(served.hub.stats().pendingUpgrades).toBe(50)
    client.destroy()
    await until('all to be gone', () => served.hub.stats().pendingUpgrades === 0)
  })

  it('of CONNECTs that are reset at once leaves nothing behind', async () => {
    const served = await serve(flooded, echo, { before: () => true })
    const client = await Http2Client.connect(served)
    for (let round = 0; round < 20; round++) {
      const requests = Array.from({ length: 20 }, () => client.request())
      for (const request of requests) request.stream.close(CANCEL)
      await Promise.all(requests.map((request) => request.reset()))
    }
    await until('all to be gone', () => served.hub.stats().pendingUpgrades === 0)
    expect(
      await (await Http2Client.connect(served)).request('/', { 'sec-websocket-version': '8' }).events,
    ).toBeDefined()
  })

  it('of connections that are reset at once leaves nothing behind', async () => {
    const closes = new Journal<number>()
    const served = await serve(flooded, { ...echo, onClose: (_conn, code) => closes.push(code) })
    const neighbour = await (await Http2Client.connect(served)).open()
    const client = await Http2Client.connect(served)
    for (let round = 0; round < 10; round++) {
      const sockets = await Promise.all(Array.from({ length: 20 }, () => client.open()))
      for (const socket of sockets) socket.stream.close(CANCEL)
    }
    await closes.until('all to close', (all) => all.length === 200)
    expect(new Set(closes.all)).toEqual(new Set([1006]))
    expect(served.hub.size).toBe(1)
    await neighbour.echoes()
  })

  it('of resets beyond the limit of Node ends the session, and no other', async () => {
    const served = await serve(flooded)
    const neighbour = await (await Http2Client.connect(served)).open()
    served.server.once('connection', (socket) => {
      onTestFinished(() => void socket.destroy()) // Node keeps it until the client has closed its side
    })
    const client = await Http2Client.connect(served)
    await inTime(
      'the session to end',
      (async () => {
        while (!client.session.destroyed && !client.session.closed) {
          const requests = Array.from({ length: 100 }, () => client.request())
          for (const request of requests) request.stream.close(CANCEL)
          await new Promise((resolve) => setImmediate(resolve))
        }
      })(),
    )
    await until('its connections to be gone', () => served.hub.size === 1)
    expect(served.hub.stats().pendingUpgrades).toBe(0)
    await neighbour.echoes()
  })

  it('of garbage instead of frames of HTTP/2 harms nobody', async () => {
    const served = await serve()
    const neighbour = await (await Http2Client.connect(served)).open()
    const socket = connect(served.port, '127.0.0.1')
    socket.on('error', () => {}) // 'close' follows
    socket.resume()
    socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.alloc(1_000, 0xff)]))
    await inTime('the server to hang up', once(socket, 'close'))
    await neighbour.echoes()
  })
})

describe('A request of HTTP/1.1 on the same port', () => {
  it.each([
    'CONNECT example.com:443',
    'OPTIONS *',
    'TRACE /',
    'PRI *',
    'CONNECT /\r\nUpgrade: websocket\r\nX:',
  ])('ends no process: %s', async (line) => {
    const served = await serve({}, echo, { secure: true })
    const neighbour = await (await Http2Client.connect(served)).open()
    const socket = connectTls({
      port: served.port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      ALPNProtocols: ['http/1.1'],
    })
    socket.on('error', () => {}) // 'close' follows
    socket.resume()
    socket.write(`${line} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n`)
    await inTime('the server to hang up', once(socket, 'close'))
    await neighbour.echoes()
  })
})
