import { once } from 'node:events'
import { createServer } from 'node:http'
import { describe, expect, it, onTestFinished } from 'vitest'
import { WebSocket } from 'ws'
import { CloseCode, type EventHandler, Handshake, Hub } from 'wshub'
import { connect } from 'wshub/client'
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

  it.each(['', 'relative', '/ws', 'ftp://localhost', 'wsx://localhost', 'ws://localhost/#fragment'])(
    'throws what a WebSocket throws for the URL %j, also with a token',
    (url) => {
      const token = () => {
        throw new Error('the token of a URL that cannot work')
      }
      expect(() => connect(url, { WebSocket })).toThrow(SyntaxError)
      const thrown = thrownBy(() => connect(url, { WebSocket, protocols: 'chat', token }))
      expect(thrown).toMatchObject({ name: 'SyntaxError', message: expect.stringContaining('URL') })
    },
  )

  it.each(['ws://localhost:1', 'http://localhost:1/ws?a=b', 'WSS://localhost:1', 'ws+unix:/none:/ws'])(
    'takes the URL %j with a token',
    (url) => {
      const socket = connect(url, { WebSocket, protocols: "aZ09!#$%&'*+-.^_`|~", token: () => 'x' })
      socket.close()
      expect(socket.url).toBe(url)
    },
  )

  it.each([['a b'], [''], ['chat', 'chat']])(
    'throws what a WebSocket throws for the subprotocols %j, also with a token',
    (...protocols) => {
      const options = { WebSocket, protocols }
      expect(() => connect('ws://localhost', options)).toThrow(SyntaxError)
      const thrown = thrownBy(() => connect('ws://localhost', { ...options, token: () => 'x' }))
      expect(thrown).toMatchObject({ name: 'SyntaxError', message: expect.stringContaining('subprotocol') })
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
    [{ onReconnect: {} }, 'onReconnect is a function, not an object'],
    [
      { maxQueuedBytes: Object.create(null) },
      'maxQueuedBytes is an integer from 0 to 1000000000, not an object',
    ],
    [{ token: Object.create(null) }, 'token is a function, not an object'],
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
      () => '',
      // A caller without types returns whatever it has.
      () => null as unknown as string,
      () => 5 as unknown as string,
      () => 'good',
    ]
    const { socket, log } = connectRecorded(app.url, {
      protocols: 'chat',
      token: (): string | Promise<string> => answers.shift()?.() ?? '',
    })
    socket.onerror = ({ error }) => errors.push(error)
    await times(log, 'open', 1)
    expect(tokens).toEqual(['good'])
    const none = { name: 'TypeError', message: 'token returns a string that is not empty' }
    expect(errors).toMatchObject([
      { message: 'rejected' },
      { message: 'thrown' },
      { name: 'SyntaxError' },
      none,
      none,
      none,
    ])
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
