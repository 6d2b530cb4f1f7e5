import type { Duplex } from 'node:stream'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type Connection, type EventHandler, Hub, type HubOptions } from 'wshub'
import { type ConnectOptions, connect, type TestClient } from 'wshub/testing'
import { root, run } from '../package/support.ts'
import { compiled } from '../support/compiled.ts'
import { thrownBy } from '../support/hub-server.ts'
import { Gate, until } from '../support/raw.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  vi.useRealTimers()
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

interface Opened {
  readonly client: TestClient
  readonly connection: Connection
  /** The arguments of `onClose`. */
  readonly closes: string[]
}

/** Connects a client to its own hub. */
async function open(
  handler: EventHandler = {},
  { hub: hubOptions, ...options }: ConnectOptions & { hub?: HubOptions } = {},
): Promise<Opened> {
  const hub = new Hub(hubOptions)
  hub.attach()
  cleanups.push(() => hub.close({ timeoutMs: 50 }))
  const closes: string[] = []
  const client = await connect(
    (req) =>
      hub.upgrade(req, {
        ...handler,
        onClose: (_connection, code, reason) => void closes.push(`${code} ${reason}`.trim()),
      }),
    '/',
    options,
  )
  const [connection] = hub.connections()
  if (connection === undefined) throw new Error('the hub has no connection')
  return { client, connection, closes }
}

/** Returns the reason with which a promise rejects. */
async function rejection(promise: Promise<unknown>): Promise<Error> {
  const error = await promise.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (error instanceof Error) return error
  throw new Error('nothing was rejected')
}

const text = (data: string) => ({ type: 'text', data })

const echo: EventHandler = {
  onMessage: (connection, message) => {
    if (message.type === 'text') connection.sendText(message.data)
  },
}

describe('TestClient', () => {
  describe('#next', () => {
    it('returns messages that arrived before it was called, in order', async () => {
      const { client } = await open({
        onOpen(connection) {
          for (const data of ['a', 'b', 'c']) connection.sendText(data)
        },
      })
      await client.close()
      expect(await client.next()).toEqual(text('a'))
      expect(await client.next()).toEqual(text('b'))
      expect(await client.next()).toEqual(text('c'))
    })

    it('gives each of several waits its own message, in the order of the calls', async () => {
      const { client, connection } = await open()
      const waits = [client.next(), client.next(), client.next()]
      for (const data of ['a', 'b', 'c', 'd']) connection.sendText(data)
      expect(await Promise.all(waits)).toEqual([text('a'), text('b'), text('c')])
      expect(await client.next()).toEqual(text('d'))
    })

    it('gives no message to a wait that is over', async () => {
      const { client, connection } = await open({}, { timeoutMs: 20 })
      await rejection(client.next())
      connection.sendText('late')
      expect(await client.next()).toEqual(text('late'))
    })

    it('returns messages in their own memory', async () => {
      const { client, connection } = await open()
      const other = await connect((req) => connection.hub.upgrade(req, {}), '/')
      connection.hub.broadcast(Buffer.from('hello'))
      const [first, second] = [await client.next(), await other.next()]
      if (first.type === 'binary') first.data.fill(0)
      expect(second.data).toEqual(Buffer.from('hello'))
    })

    it('rejects after timeoutMs, and says what was received', async () => {
      const { client, connection } = await open({}, { timeoutMs: 50 })
      const started = performance.now()
      expect((await rejection(client.next())).message).toBe(
        'no message within 50 ms; received: nothing; the connection is open',
      )
      expect(performance.now() - started).toBeGreaterThan(40)
      connection.sendText('a "quoted" one')
      connection.sendBinary(Buffer.from([0xca, 0xfe]))
      await client.next()
      await client.next()
      expect((await rejection(client.next())).message).toBe(
        'no message within 50 ms; received: "a \\"quoted\\" one", 0xcafe; the connection is open',
      )
    })

    it('shows the latest messages, and the beginning of long ones', async () => {
      const { client, connection } = await open({}, { timeoutMs: 20 })
      for (let i = 1; i <= 30; i++) connection.sendText(`number ${i}`)
      connection.sendText('x'.repeat(300))
      connection.sendBinary(Buffer.alloc(101))
      for (let i = 1; i <= 32; i++) await client.next()
      const { message } = await rejection(client.next())
      expect(message).toContain('received: 12 more, "number 13", ')
      expect(message).toContain(
        `"${'x'.repeat(100)}"… (300 characters), 0x${'00'.repeat(100)}… (101 bytes); `,
      )
    })

    it('rejects at once when the connection has ended, and says how', async () => {
      const { client, connection } = await open({}, { timeoutMs: 0 })
      const wait = rejection(client.next())
      connection.sendText('the last')
      connection.close(1008, 'go away')
      const late = client.next()
      await wait.catch(() => {})
      const message = 'no message; received: "the last"; the connection is closed with 1008 "go away"'
      expect((await rejection(late)).message).toBe(message)
      expect((await rejection(client.next())).message).toBe(message)
    })

    it('has the line of the test in the stack of its error', async () => {
      const { client } = await open({}, { timeoutMs: 20 })
      const wait = async () => await client.next()
      expect((await rejection(wait())).stack).toContain('client.test.ts')
    })

    it('does not count the time in which the process stalls', async () => {
      const { client } = await open(echo, { timeoutMs: 200 })
      client.send('hello')
      const wait = client.next()
      const end = performance.now() + 400
      while (performance.now() < end);
      expect(await wait).toEqual(text('hello'))
    })

    it('keeps its time beside faked timers', async () => {
      const { client } = await open(echo, { timeoutMs: 20 })
      vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'clearInterval', 'Date'] })
      client.send('hello')
      expect(await client.next()).toEqual(text('hello'))
      expect((await rejection(client.next())).message).toContain('no message within 20 ms')
    })
  })

  describe('iteration', () => {
    it('continues to the end of the connection', async () => {
      const { client, connection } = await open()
      for (const data of ['a', 'b', 'c']) connection.sendText(data)
      connection.close()
      const messages = []
      for await (const message of client) messages.push(message)
      expect(messages).toEqual([text('a'), text('b'), text('c')])
    })

    it('leaves the remaining messages when its loop ends early', async () => {
      const { client, connection } = await open()
      for (const data of ['a', 'b']) connection.sendText(data)
      for await (const message of client) {
        expect(message).toEqual(text('a'))
        break
      }
      expect(await client.next()).toEqual(text('b'))
    })

    it('throws when a message does not arrive in time', async () => {
      const { client, connection } = await open({}, { timeoutMs: 20 })
      connection.sendText('a')
      const all = async () => {
        for await (const message of client) expect(message).toEqual(text('a'))
      }
      expect((await rejection(all())).message).toBe(
        'no message within 20 ms; received: "a"; the connection is open',
      )
    })
  })

  describe('#closed', () => {
    it('rejects while the connection is open, after timeoutMs, and says what was received', async () => {
      const { client, connection } = await open({}, { timeoutMs: 20 })
      connection.sendText('still here')
      expect((await rejection(client.closed)).message).toBe(
        'not closed within 20 ms; received: "still here"; the connection is open',
      )
      connection.close(3000)
      expect(await client.closed).toEqual({ code: 3000, reason: '' })
    })

    it('causes no unhandled rejection', async () => {
      const unhandled = vi.fn()
      process.on('unhandledRejection', unhandled)
      cleanups.push(() => process.off('unhandledRejection', unhandled))
      const { client } = await open({}, { timeoutMs: 20 })
      void client.closed
      await rejection(client.next()) // a turn later than the other
      expect(unhandled).not.toHaveBeenCalled()
    })

    it('is 1006 when the application ends the connection without a close frame', async () => {
      const { client, connection } = await open({}, { timeoutMs: 0 })
      const { closed } = client
      connection.terminate()
      expect(await closed).toEqual({ code: 1006, reason: '' })
      expect(await client.closed).toEqual({ code: 1006, reason: '' })
    })
  })

  describe('#close', () => {
    it.each([
      [undefined, undefined, '1005', { code: 1005, reason: '' }],
      [1000, undefined, '1000', { code: 1000, reason: '' }],
      [4002, 'had enough', '4002 had enough', { code: 4002, reason: 'had enough' }],
    ])('passes %j %j to the application', async (code, reason, seen, closed) => {
      const { client, closes } = await open()
      expect(await client.close(code, reason)).toEqual(closed)
      await until('onClose', () => closes.length > 0)
      expect(closes).toEqual([seen])
    })

    it('follows everything sent before', async () => {
      const received: string[] = []
      const { client, closes } = await open({
        onMessage: (_connection, { data }) => void received.push(String(data)),
      })
      client.send('first')
      client.send('second')
      await client.close()
      await until('onClose', () => closes.length > 0)
      expect(received).toEqual(['first', 'second'])
    })

    it('throws for a code that may not be sent', async () => {
      const { client } = await open()
      expect(() => client.close(1006)).toThrow(TypeError)
      expect(await client.close(1000)).toEqual({ code: 1000, reason: '' })
    })

    it('ends a client that was paused', async () => {
      const { client, connection } = await open()
      client.pause()
      connection.sendText('unread')
      await until('it to be sent', () => connection.bufferedBytes === 0)
      expect(await client.close(1000)).toEqual({ code: 1000, reason: '' })
      expect(await client.next()).toEqual(text('unread'))
    })

    it('ends the connection when the application does not answer', async () => {
      const gate = new Gate()
      cleanups.push(() => gate.open())
      const { client, closes } = await open({ onOpen: () => gate.passed() }, { timeoutMs: 50 })
      expect((await rejection(client.close())).message).toBe(
        'not closed within 50 ms; received: nothing; the connection is closing',
      )
      expect(await client.closed).toEqual({ code: 1006, reason: '' })
      gate.open()
      await until('onClose', () => closes.length > 0)
    })
  })

  it('#terminate ends the connection without a closing handshake', async () => {
    const { client, closes } = await open()
    client.terminate()
    expect(await client.closed).toEqual({ code: 1006, reason: '' })
    await until('onClose', () => closes.length > 0)
    expect(closes).toEqual(['1006'])
  })

  describe('#send', () => {
    it('returns false when it is too late', async () => {
      const { client, connection } = await open()
      expect(client.send('in time')).toBe(true)
      connection.close()
      await client.closed
      expect(client.send('too late')).toBe(false)
    })

    it('throws for what is no message, also when it is too late', async () => {
      const { client } = await open(echo)
      const wrong = [undefined, null, 5, {}, [1], new Blob([])]
      const refusals = () => wrong.map((data) => thrownBy(() => client.send(data as string))) // as JavaScript calls it
      const each = wrong.map(
        () => new TypeError('a message is a string or bytes; serialize objects yourself'),
      )
      expect(refusals()).toEqual(each)
      client.send('marker')
      expect(await client.next()).toEqual(text('marker'))
      await client.close()
      expect(refusals()).toEqual(each)
    })

    it('waits for an application that does not read', async () => {
      const gate = new Gate()
      cleanups.push(() => gate.open())
      const received: number[] = []
      const { client } = await open({
        onOpen: () => gate.passed(),
        onMessage: (_connection, { data }) => void received.push(data.length),
      })
      expect(client.bufferedAmount).toBe(0)
      const data = 'x'.repeat(50_000)
      for (let i = 0; i < 20; i++) client.send(data)
      await until('the socket to be full', () => client.bufferedAmount > 500_000)
      expect(received).toEqual([])
      gate.open()
      await until('all to be read', () => received.length === 20)
      await until('the socket to be empty', () => client.bufferedAmount === 0)
    })
  })

  describe('pings', () => {
    it('are answered', async () => {
      const pongs: string[] = []
      const { connection } = await open({
        onPong: (_connection, payload) => void pongs.push(String(payload)),
      })
      connection.sendPing('are you there')
      await until('the pong', () => pongs.length > 0)
      expect(pongs).toEqual(['are you there'])
    })

    it('are sent', async () => {
      const pings: string[] = []
      const { client } = await open({ onPing: (_connection, payload) => void pings.push(String(payload)) })
      client.ping('hello')
      client.ping()
      await until('the pings', () => pings.length > 1)
      expect(pings).toEqual(['hello', ''])
    })

    it('keep a silent client alive, but not a paused one', async () => {
      const hub = { pingIntervalMs: 20, pongTimeoutMs: 200 }
      const { client, connection, closes } = await open({}, { hub })
      await until('a pong', () => connection.lastPongTime > 0)
      expect(closes).toEqual([])
      client.pause()
      await until('onClose', () => closes.length > 0)
      expect(closes).toEqual(['1006 no answer to a ping within 200 ms'])
      client.resume()
      expect(await client.closed).toEqual({ code: 1006, reason: '' })
    })
  })

  describe('#pause', () => {
    it('makes the application find its socket full, until #resume', async () => {
      const { client, connection } = await open()
      client.pause()
      const data = 'x'.repeat(10_000)
      for (let i = 0; i < 50; i++) expect(connection.sendText(data)).toBe(true)
      await until('the socket to be full', () => connection.bufferedBytes > 300_000)
      client.resume()
      for (let i = 0; i < 50; i++) expect(await client.next()).toEqual(text(data))
      await until('the socket to be empty', () => connection.bufferedBytes === 0)
    })

    it('triggers the slow-consumer policy', async () => {
      const errors: Error[] = []
      const { client, connection, closes } = await open(
        { onError: (_connection, error) => void errors.push(error) },
        { hub: { maxBufferedBytes: 100_000 } },
      )
      client.pause()
      let sent = 0
      await until('the connection to be given up', () => {
        if (connection.sendText('x'.repeat(10_000))) sent++
        return errors.length > 0
      })
      expect(errors).toEqual([expect.objectContaining({ code: 'WSHUB_ERR_SLOW_CONSUMER' })])
      expect(sent).toBeLessThan(40)
      client.resume()
      expect(await client.closed).toEqual({ code: 1013, reason: 'too slow' })
      await until('onClose', () => closes.length > 0)
    })

    it('lets the application notice a client that disconnects while it is paused', async () => {
      const { client, connection, closes } = await open()
      client.pause()
      for (let i = 0; i < 50; i++) connection.sendText('x'.repeat(10_000))
      await until('the socket to be full', () => connection.bufferedBytes > 300_000)
      client.terminate()
      await until('onClose', () => closes.length > 0)
      expect(closes).toEqual(['1006'])
    })
  })

  it('ends the connection when more than 10,000 messages are not read, and says so', async () => {
    const { client, connection } = await open({}, { hub: { maxBufferedBytes: 10_000_000 } })
    for (let i = 0; i <= 10_000; i++) connection.sendText(String(i))
    expect(await client.closed).toEqual({ code: 1006, reason: '' })
    for (let i = 0; i <= 10_000; i++) {
      const { data } = await client.next()
      if (data !== String(i)) expect(data).toBe(String(i))
    }
    const error = await rejection(client.next())
    expect(error.message).toMatch(/^no message; received: 9981 more, "9981", /)
    expect(error.cause).toEqual(new Error('10000 messages were not read with next()'))
  })

  it('reports an application that violates the protocol', async () => {
    const hub = new Hub()
    hub.attach()
    cleanups.push(() => hub.close({ timeoutMs: 50 }))
    const breaking = (socket: Duplex): EventHandler => ({
      onOpen: () => void socket.write(Buffer.from([0xf1, 0])),
    })
    const client = await connect((req) => hub.upgrade(req, breaking(req.socket)), '/')
    expect((await client.closed).code).toBe(1006)
    expect((await rejection(client.next())).cause).toBeInstanceOf(RangeError)
  })

  it.each(['an open client', 'a paused client', 'no client'])('keeps no process alive: %s', async (which) => {
    const file = `${root}test/testing/process.ts`
    const output = await run(process.execPath, [compiled(file), which], { cwd: root })
    expect(output).toBe('hello\n')
  })
})
