import { once } from 'node:events'
import { createServer } from 'node:http'
import { describe, expect, it, onTestFinished } from 'vitest'
import { WebSocket } from 'ws'
import { CloseCode, type EventHandler, Handshake, Hub } from 'wshub'
import { connect, type SocketData } from 'wshub/client'
import { serve, stop, thrownBy } from '../support/hub-server.ts'
import { SilentServer } from '../support/silent-server.ts'
import { connectRecorded, times } from './support.ts'

const echo: EventHandler = {
  onMessage(connection, { data }) {
    if (typeof data === 'string') connection.sendText(data)
    else connection.sendBinary(data)
  },
}

describe('connect', () => {
  it('has the interface of a WebSocket', async () => {
    const { url } = await serve({ protocols: ['chat'] }, echo)
    const { socket, log } = connectRecorded(url, { protocols: 'chat' })
    const { CONNECTING, OPEN, CLOSING, CLOSED } = socket
    expect([CONNECTING, OPEN, CLOSING, CLOSED]).toEqual([0, 1, 2, 3])
    expect([socket.readyState, socket.protocol, socket.extensions, socket.binaryType]).toEqual([
      0,
      '',
      '',
      'blob',
    ])
    socket.binaryType = 'arraybuffer'
    await times(log, 'open', 1)
    expect([socket.readyState, socket.protocol, socket.binaryType]).toEqual([1, 'chat', 'arraybuffer'])
    expect(socket.url).toBe(`${url}/`)
    socket.send('text')
    await times(log, 'message text', 1)
    const binary = new Promise<MessageEvent>((resolve) => {
      socket.onmessage = resolve
    })
    socket.send(Uint8Array.of(1, 2, 3))
    const { data } = await binary
    expect(data).toEqual(Uint8Array.of(1, 2, 3).buffer)
    socket.close(3000, 'bye')
    expect(socket.readyState).toBe(2)
    await times(log, 'close 3000 bye', 1)
    expect(socket.readyState).toBe(3)
    expect(log.all.filter((entry) => entry.startsWith('close'))).toHaveLength(1)
  })

  it('calls on… attributes as listeners, with the socket as this, and what they throw stops nothing', async () => {
    const { url } = await serve({}, echo)
    const { socket, log } = connectRecorded(url)
    const seen: unknown[] = []
    socket.onopen = function (this: unknown) {
      seen.push(this)
    }
    socket.onclose = ({ code }) => seen.push(code)
    await times(log, 'open', 1)
    socket.close()
    await log.first('the close', (entry) => entry.startsWith('close'))
    expect(seen).toEqual([socket, 1005])
  })

  it.each([1001, 1006, 1009, 1011, 1012, 1013, 3000, 4000, 4399, 4500])(
    'comes back after %i',
    async (code) => {
      const app = await serve()
      const { socket, log, closes } = connectRecorded(app.url)
      await times(log, 'open', 1)
      const [connection] = app.connections
      if (code === 1006) connection?.terminate()
      else connection?.close(code, 'for a test')
      await times(log, 'open', 2)
      expect(closes).toMatchObject([
        { code, reason: code === 1006 ? '' : 'for a test', wasClean: code !== 1006 },
      ])
      expect(closes[0]?.retryInMs).toBeLessThanOrEqual(20)
      expect(socket.readyState).toBe(1)
      expect(app.connections).toHaveLength(2)
    },
  )

  it.each([1000, 1008, 4400, 4401, 4403, 4499])('does not come back after %i', async (code) => {
    const app = await serve()
    const { socket, log, closes } = connectRecorded(app.url)
    const states: number[] = []
    socket.onclose = () => states.push(socket.readyState)
    await times(log, 'open', 1)
    app.connections[0]?.close(code, 'for good')
    await times(log, `close ${code} for good`, 1)
    expect(closes).toMatchObject([{ code, retryInMs: undefined }])
    expect(states).toEqual([3])
    socket.send('discarded')
    expect(socket.bufferedAmount).toBe(0)
    // Another client comes and goes twenty delays later, and nobody else has come.
    const other = connectRecorded(app.url)
    for (let round = 1; round <= 20; round++) {
      await times(other.log, 'open', round)
      app.connections.at(-1)?.close(1011)
    }
    await times(other.log, 'open', 21)
    expect(app.connections).toHaveLength(22)
  })

  it('says in a close event when it comes back, and that it is connecting', async () => {
    const app = await serve()
    const { socket, log, closes } = connectRecorded(app.url, { minDelayMs: 7, maxDelayMs: 7 })
    const states: number[] = []
    socket.onclose = () => states.push(socket.readyState)
    await times(log, 'open', 1)
    app.connections[0]?.close(1011)
    await times(log, 'open', 2)
    expect(closes).toMatchObject([{ code: 1011, retryInMs: 7 }])
    expect(states).toEqual([0])
  })

  it('comes back to a server that died, and sends what waited in order', async () => {
    const first = await serve()
    const { socket, log } = connectRecorded(first.url)
    await times(log, 'open', 1)
    await first.hub.close({ timeoutMs: 50 })
    await stop(first.server)
    for (const text of ['one', 'two', 'three']) socket.send(text)
    expect(socket.bufferedAmount).toBe(11)
    await log.first('a refused attempt', (entry) => entry === 'error')

    const hub = new Hub()
    onTestFinished(async () => void (await hub.close()))
    const received: string[] = []
    const server = createServer(
      (req) =>
        void hub.upgrade(req, {
          onMessage: (connection, { data }) => {
            received.push(String(data))
            connection.sendText(`got ${data}`)
          },
        }),
    )
    hub.attach(server)
    server.listen(first.port, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => stop(server))
    await times(log, 'message got three', 1)
    expect(received).toEqual(['one', 'two', 'three'])
    expect(socket.bufferedAmount).toBe(0)
  })

  it('tries again after an upgrade that was refused', async () => {
    const app = await serve({ maxConnections: 1 })
    const { client } = await app.connect()
    const { log, closes } = connectRecorded(app.url)
    await times(log, 'close 1006', 3)
    await client.close()
    await times(log, 'open', 1)
    expect(closes.every(({ wasClean }) => !wasClean)).toBe(true)
  })

  it('gives an attempt up that does not open within openTimeoutMs', async () => {
    const silent = await SilentServer.start()
    const { log, socket } = connectRecorded(`ws://127.0.0.1:${silent.port}`, { openTimeoutMs: 20 })
    await times(log, 'close 1006', 3)
    expect(log.all.slice(0, 4)).toEqual(['error', 'close 1006', 'error', 'close 1006'])
    socket.close()
    await silent.isLeft()
  })

  it.each(['', 'relative', 'ftp://localhost', 'ws://localhost/#fragment'])(
    'throws what a WebSocket throws for the URL %j',
    (url) => {
      expect(() => connect(url, { WebSocket })).toThrow(SyntaxError)
    },
  )

  it.each<[options: object, message: string]>([
    [{ toString: 1 }, '"toString" is not an option of connect'],
    [{ minDelay: 1 }, '"minDelay" is not an option of connect'],
    [{ minDelayMs: 0 }, 'minDelayMs is an integer from 1 to 1000000000, not 0'],
    [{ minDelayMs: Number.NaN }, 'minDelayMs is an integer from 1 to 1000000000, not NaN'],
    [{ minDelayMs: 20, maxDelayMs: 19 }, 'maxDelayMs is an integer from 20 to 1000000000, not 19'],
    [{ openTimeoutMs: 0 }, 'openTimeoutMs is an integer from 1 to 1000000000, not 0'],
    [{ heartbeatTimeoutMs: -1 }, 'heartbeatTimeoutMs is an integer from 0 to 1000000000, not -1'],
    [{ maxQueuedBytes: 2e9 }, 'maxQueuedBytes is an integer from 0 to 1000000000, not 2000000000'],
    [{ maxQueuedMessages: 1.5 }, 'maxQueuedMessages is an integer from 0 to 1000000000, not 1.5'],
    [{ maxQueuedBytes: null }, 'maxQueuedBytes is an integer from 0 to 1000000000, not null'],
    [{ positionOf: 'x' }, 'positionOf is a function, not x'],
    [{ onReconnect: {} }, 'onReconnect is a function, not [object Object]'],
    [{ protocols: 'chat', token: 'x' }, 'token is a function, not x'],
    [{ WebSocket: 'ws' }, 'WebSocket is a function, not ws'],
    [{ token: () => 'x' }, 'token needs a subprotocol beside it: set protocols'],
    [{ protocols: [], token: () => 'x' }, 'token needs a subprotocol beside it: set protocols'],
  ])('refuses %o', (options, message) => {
    expect(thrownBy(() => connect('ws://localhost', { WebSocket, ...options }))).toEqual(
      new TypeError(message),
    )
  })

  it.each([null, 'chat', 7])('refuses %j as options', (options) => {
    const call: (url: string, options: unknown) => unknown = Object(connect) // as JavaScript calls it
    expect(thrownBy(() => call('ws://localhost', options))).toEqual(
      new TypeError(`options is an object, not ${options}`),
    )
  })

  it('needs a WebSocket', () => {
    if ('WebSocket' in globalThis) return
    expect(() => connect('ws://localhost')).toThrow('set the option WebSocket')
  })
})

describe('token', () => {
  const tokensOf = async () => {
    const tokens: (string | undefined)[] = []
    const app = await serve(
      { protocols: ['chat'] },
      {},
      { before: (req) => tokens.push(Handshake.bearerToken(req)) },
    )
    return { app, tokens }
  }

  it('is asked for each attempt, and again after 4401', async () => {
    const { app, tokens } = await tokensOf()
    let count = 0
    const { socket, log } = connectRecorded(app.url, {
      protocols: ['chat'],
      token: async () => `token-${++count}`,
    })
    await times(log, 'open', 1)
    expect(socket.protocol).toBe('chat')
    app.connections[0]?.close(4401, 'credential expired')
    await times(log, 'open', 2)
    app.connections[1]?.terminate()
    await times(log, 'open', 3)
    expect(tokens).toEqual(['token-1', 'token-2', 'token-3'])
  })

  it('that throws, rejects or is no token is a failed attempt, with the error', async () => {
    const { app, tokens } = await tokensOf()
    const errors: unknown[] = []
    const answers: (() => string | Promise<string>)[] = [
      () => Promise.reject(new Error('rejected')),
      () => {
        throw new Error('thrown')
      },
      () => 'not a token',
      () => 'good',
    ]
    const { socket, log } = connectRecorded(app.url, {
      protocols: 'chat',
      token: (): string | Promise<string> => answers.shift()?.() ?? '',
    })
    socket.onerror = ({ error }) => errors.push(error)
    await times(log, 'open', 1)
    expect(tokens).toEqual(['good'])
    expect(errors).toMatchObject([{ message: 'rejected' }, { message: 'thrown' }, { name: 'SyntaxError' }])
    expect(log.all.slice(0, 2)).toEqual(['error', 'close 1006'])
  })

  it('that comes after close, or too late, is not used', async () => {
    const { app, tokens } = await tokensOf()
    const asked: ((token: string) => void)[] = []
    const token = (): Promise<string> => new Promise((resolve) => asked.push(resolve))
    const options = { protocols: 'chat', token, openTimeoutMs: 10 }
    const { socket, log } = connectRecorded(app.url, options)
    await times(log, 'close 1006', 1)
    asked[0]?.('late')
    await log.until('another question', () => asked.length > 1)
    socket.close()
    asked[1]?.('closed')
    await log.until('the end', () => socket.readyState === 3)
    const marker = connectRecorded(app.url, { protocols: 'chat', token: () => 'marker' })
    await times(marker.log, 'open', 1)
    expect(tokens).toEqual(['marker'])
  })
})

describe('send', () => {
  it('keeps messages until the connection is open, in order, and copies bytes', async () => {
    const { url, log: server } = await serve()
    const { socket } = connectRecorded(url)
    const bytes = Uint8Array.of(1, 2, 3, 4)
    const messages: SocketData[] = [
      'ä',
      bytes.subarray(1, 3),
      bytes.buffer,
      new DataView(bytes.buffer, 3),
      new Blob(['b']),
    ]
    for (const data of messages) socket.send(data)
    expect(socket.bufferedAmount).toBe(2 + 2 + 4 + 1 + 1)
    bytes.fill(0)
    await server.first('the last', (entry) => entry === 'message 0x62')
    expect(server.all).toEqual([
      'open',
      'message ä',
      'message 0x0203',
      'message 0x01020304',
      'message 0x04',
      'message 0x62',
    ])
  })

  it('throws when no more messages may wait, and what waits arrives', async () => {
    const { url, log: server } = await serve()
    const { socket } = connectRecorded(url, { maxQueuedMessages: 2 })
    socket.send('1')
    socket.send('2')
    const thrown = thrownBy(() => socket.send('3'))
    expect(thrown).toBeInstanceOf(DOMException)
    expect(thrown).toMatchObject({ name: 'InvalidStateError' })
    await server.first('the second', (entry) => entry === 'message 2')
    socket.send('4')
    await server.first('the fourth', (entry) => entry === 'message 4')
    expect(server.all).toEqual(['open', 'message 1', 'message 2', 'message 4'])
  })

  it('throws when more bytes would wait than may', async () => {
    const { url } = await serve()
    const { socket } = connectRecorded(url, { maxQueuedBytes: 4 })
    socket.send('ää')
    expect(thrownBy(() => socket.send('x'))).toMatchObject({ name: 'InvalidStateError' })
    expect(socket.bufferedAmount).toBe(4)
  })

  it('throws while there is no connection with maxQueuedMessages 0', async () => {
    const app = await serve()
    const { socket, log } = connectRecorded(app.url, { maxQueuedMessages: 0 })
    expect(thrownBy(() => socket.send('x'))).toMatchObject({ name: 'InvalidStateError' })
    await times(log, 'open', 1)
    socket.send('now')
    await app.log.first('the message', (entry) => entry === 'message now')
  })

  it('does not lose messages to a connection that the hub has begun to close', async () => {
    const app = await serve()
    const { socket, log } = connectRecorded(app.url)
    await times(log, 'open', 1)
    app.connections[0]?.close(1012)
    await log.until('the closing handshake', () => socket.readyState !== 1)
    socket.send('waits')
    await app.log.first('the message', (entry) => entry === 'message waits')
    expect(app.connections).toHaveLength(2)
  })
})

describe('close', () => {
  it('ends a socket that waits for its next attempt', async () => {
    const app = await serve()
    const { socket, log, closes } = connectRecorded(app.url, { minDelayMs: 60_000, maxDelayMs: 60_000 })
    await times(log, 'open', 1)
    app.connections[0]?.close(1011)
    await times(log, 'close 1011', 1)
    socket.send('discarded')
    socket.close()
    socket.close()
    expect([socket.readyState, socket.bufferedAmount]).toEqual([2, 0])
    await times(log, 'close 1006', 1)
    expect(socket.readyState).toBe(3)
    expect(closes.map(({ retryInMs }) => retryInMs)).toEqual([60_000, undefined])
  })

  it('ends a socket in its first attempt', async () => {
    const silent = await SilentServer.start()
    const { socket, log } = connectRecorded(`ws://127.0.0.1:${silent.port}`)
    socket.close()
    expect(socket.readyState).toBe(2)
    await times(log, 'close 1006', 1)
    expect([socket.readyState, log.all]).toEqual([3, ['error', 'close 1006']])
    await silent.isLeft()
  })

  it.each(['open', 'error', 'close'] as const)('may be called by a listener of %s', async (type) => {
    const app = await serve({ maxConnections: 1 })
    if (type === 'error') await app.connect()
    const { socket, log } = connectRecorded(app.url)
    if (type !== 'close') socket.send('never') // what waits is not sent after close
    socket.addEventListener(type, () => socket.close())
    if (type === 'close') {
      await times(log, 'open', 1)
      app.connections[0]?.terminate()
    }
    await log.until('the end', () => socket.readyState === 3)
    await log.until('its event', (all) => all.at(-1)?.startsWith('close') === true)
    const marker = type === 'error' ? undefined : await app.connect()
    marker?.client.socket.send('marker')
    if (marker !== undefined) await app.log.first('the marker', (entry) => entry === 'message marker')
    expect(app.log.all).not.toContain('message never')
  })

  it.each([0, 999, 1001, 1005, 2999, 5000, Number.NaN])(
    'refuses the code %d, connected or not',
    async (code) => {
      const { url } = await serve()
      const { socket, log } = connectRecorded(url)
      for (const expected of [0, 1]) {
        expect(socket.readyState).toBe(expected)
        expect(thrownBy(() => socket.close(code))).toMatchObject({ name: 'InvalidAccessError' })
        if (expected === 0) await times(log, 'open', 1)
      }
    },
  )

  it('refuses a reason of more than 123 bytes, before, in and between connections', async () => {
    const app = await serve()
    const { socket, log } = connectRecorded(app.url, { minDelayMs: 60_000, maxDelayMs: 60_000 })
    const refusal = () => thrownBy(() => socket.close(3000, 'é'.repeat(62)))
    expect(refusal()).toMatchObject({ name: 'SyntaxError' })
    await times(log, 'open', 1)
    expect(refusal()).toMatchObject({ name: 'SyntaxError' })
    expect(socket.readyState).toBe(1)
    app.connections[0]?.close(1011)
    await times(log, 'close 1011', 1)
    expect(refusal()).toMatchObject({ name: 'SyntaxError' })
    expect(socket.readyState).toBe(0)
    socket.close(3000, `${'é'.repeat(61)}e`)
    expect(socket.readyState).toBe(2)
  })

  it('leaves no timer and no listener, so that a process ends by itself', async () => {
    const { url } = await serve()
    const { socket, log } = connectRecorded(url, { heartbeatTimeoutMs: 60_000 })
    await times(log, 'open', 1)
    const before = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    socket.close()
    await log.first('the end', (entry) => entry.startsWith('close'))
    expect(process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length).toBeLessThan(before)
  })
})

describe('heartbeatTimeoutMs', () => {
  it('swallows the heartbeats of the hub, which keep the connection', async () => {
    const app = await serve({ heartbeat: { everyMs: 40 } })
    const { socket, log } = connectRecorded(app.url, { heartbeatTimeoutMs: 2_000 })
    const { client } = await app.connect()
    await client.received.until('ten heartbeats', ({ length }) => length >= 10)
    app.hub.broadcast('marker')
    await times(log, 'message marker', 1)
    expect(log.all).toEqual(['open', 'message marker'])
    expect(socket.readyState).toBe(1)
  })

  it('gives a connection up on which nothing comes, and connects again', async () => {
    const app = await serve()
    const { log, closes } = connectRecorded(app.url, { heartbeatTimeoutMs: 30 })
    await times(log, 'open', 3)
    expect(log.all.slice(0, 4)).toEqual(['open', 'error', 'close 1006', 'open'])
    expect(closes[0]).toMatchObject({ code: 1006, wasClean: false })
  })
})

describe('onReconnect', () => {
  it('gets the latest position of each room, before what waited is sent', async () => {
    const app = await serve()
    const resumed: unknown[] = []
    const { socket, log } = connectRecorded(app.url, {
      positionOf: (data) => {
        const { room, at } = JSON.parse(String(data))
        return at === undefined ? undefined : { room, position: at }
      },
      onReconnect(returned, positions) {
        resumed.push([returned === socket, Object.fromEntries(positions)])
        returned.send(`since ${positions.get('tea')}`)
      },
    })
    socket.addEventListener('open', () => socket.send('opened'))
    await times(log, 'open', 1)
    for (const message of [
      { room: 'tea', at: 'e.1' },
      { room: 'ale', at: 'e.7' },
      { room: 'tea', at: 'e.2' },
      { room: 'tea' },
    ]) {
      app.hub.broadcast(JSON.stringify(message))
    }
    await times(log, 'message {"room":"tea"}', 1)
    await app.log.first('the first message', (entry) => entry === 'message opened')
    app.connections[0]?.terminate()
    await times(log, 'close 1006', 1)
    socket.send('waited')
    await times(log, 'open', 2)
    await app.log.first('the message', (entry) => entry === 'message waited')
    expect(resumed).toEqual([[true, { tea: 'e.2', ale: 'e.7' }]])
    expect(app.log.all.filter((entry) => entry.startsWith('message'))).toEqual([
      'message opened',
      'message since e.2',
      'message opened',
      'message waited',
    ])
  })

  it('gets the positions of at most 1 000 rooms, those with the newest messages', async () => {
    const app = await serve()
    const sizes: number[] = []
    const kept: boolean[] = []
    const { log } = connectRecorded(app.url, {
      positionOf: (data) => ({ room: String(data), position: '1' }),
      onReconnect(_socket, positions) {
        sizes.push(positions.size)
        kept.push(positions.has('0'), positions.has('1'), positions.has('1000'))
      },
    })
    await times(log, 'open', 1)
    for (let room = 0; room < 1_000; room++) app.hub.broadcast(String(room))
    app.hub.broadcast('0')
    app.hub.broadcast('1000')
    await times(log, 'message 1000', 1)
    app.connections[0]?.terminate()
    await times(log, 'open', 2)
    expect([sizes, kept]).toEqual([[1_000], [true, false, true]])
  })
})

describe('1012 and 1013', () => {
  it.each([CloseCode.serviceRestart, CloseCode.tryAgainLater])(
    'are waited out for the time that the reason of %i asks for',
    async (code) => {
      const app = await serve()
      const { log, closes } = connectRecorded(app.url)
      await times(log, 'open', 1)
      app.connections[0]?.close(code, 'retry-after=30')
      await times(log, `close ${code} retry-after=30`, 1)
      expect(closes[0]?.retryInMs).toBeGreaterThanOrEqual(30_000)
      expect(closes[0]?.retryInMs).toBeLessThanOrEqual(30_020)
    },
  )
})
