import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type Connection, type Dropped, type EventHandler, Frame, Hub, type HubOptions, Opcode } from 'wshub'
import { JUDGE_MS } from '../../src/delivery/congestion.ts'
import {
  type Client,
  eventually,
  handshake,
  Journal,
  listen,
  RawClient,
  serve,
  stop,
  turn,
} from '../support/hub-server.ts'

/**
 * Starts a server whose only hub has the given handler. It sends no pings: the clients here answer none, and
 * on a busy machine a test takes longer than the 30 s after which the first is sent.
 */
async function bare(options: HubOptions, handler: EventHandler) {
  const hub = new Hub({ pingIntervalMs: 0, ...options })
  const server = createServer((req) => void hub.upgrade(req, handler))
  hub.attach(server)
  await listen(server)
  onTestFinished(async () => {
    await hub.close({ timeoutMs: 50 })
    await stop(server)
  })
  const { port } = server.address() as AddressInfo // the server listens on TCP
  return { hub, port }
}

/** Opens the only connection of a hub, by a client that does not read. */
async function openPaused(hub: Hub, port: number): Promise<RawClient> {
  const client = await RawClient.open(port)
  client.socket.pause()
  await eventually(
    'the connection to be open',
    () => hub.size === 1,
    () => hub.size,
  )
  return client
}

/** A client that compares received bytes with the expected ones, and keeps none of them. */
class Comparer {
  readonly socket: Socket
  readonly #expected: Buffer
  readonly #events = new Journal<string>()
  #head = Buffer.alloc(0)
  /** Bytes received after the 101. */
  received = -1
  /** Bytes that arrived after, or instead of, the expected ones. */
  rest = Buffer.alloc(0)

  constructor(port: number, expected: Buffer) {
    this.#expected = expected
    this.socket = connect(port, '127.0.0.1')
    this.socket.on('data', (data) => this.#take(data))
    this.socket.on('error', () => {}) // 'close' follows
    this.socket.on('close', () => this.#events.push('closed'))
    this.socket.write(handshake())
    onTestFinished(() => {
      this.socket.destroy()
    })
  }

  async opened(): Promise<this> {
    await this.#events.first('the answer to the handshake', (event) => event === 'open')
    return this
  }

  /** Whether everything expected has arrived. */
  get isDone(): boolean {
    return this.received === this.#expected.length || this.rest.length > 0 || this.socket.destroyed
  }

  #take(data: Buffer): void {
    if (this.received >= 0) {
      this.#compare(data)
      return
    }
    this.#head = Buffer.concat([this.#head, data])
    const end = this.#head.indexOf('\r\n\r\n')
    if (end < 0) return
    this.received = 0
    this.#events.push('open')
    this.#compare(this.#head.subarray(end + 4))
  }

  #compare(data: Buffer): void {
    const expected = this.#expected.subarray(this.received, this.received + data.length)
    let same = this.rest.length > 0 ? 0 : expected.length
    if (!data.subarray(0, same).equals(expected.subarray(0, same))) {
      same = expected.findIndex((byte, i) => byte !== data[i])
    }
    this.received += same
    if (same < data.length) this.rest = Buffer.concat([this.rest, data.subarray(same)])
  }
}

async function comparers(port: number, count: number, expected: Buffer): Promise<Comparer[]> {
  const clients: Comparer[] = []
  while (clients.length < count) {
    const some = Array.from(
      { length: Math.min(100, count - clients.length) },
      () => new Comparer(port, expected),
    )
    clients.push(...(await Promise.all(some.map((client) => client.opened()))))
  }
  return clients
}

/**
 * Resolves when each client has received what it should, and nothing else; rejects when no client receives
 * anything any more.
 */
async function complete(clients: readonly Comparer[], length: number, look = () => {}): Promise<void> {
  const sum = () => clients.reduce((total, { received }) => total + received, 0)
  while (!clients.every(({ isDone }) => isDone)) {
    const before = sum()
    await eventually(
      'more to come',
      () => sum() > before || clients.every(({ isDone }) => isDone),
      () => clients.map(({ received }) => received),
    )
    look()
  }
  expect(new Set(clients.map(({ received, rest }) => `${received} + ${rest}`))).toEqual(
    new Set([`${length} + `]),
  )
}

const frames = (texts: readonly string[]) => Buffer.concat(texts.map((text) => Frame.text(text).encode()))

const textsOf = (client: RawClient) =>
  client.frames.all.filter(({ opcode }) => opcode === Opcode.text).map(({ payload }) => payload.toString())

describe('a message', () => {
  describe.each([false, true])('with compression %o', (enableCompression) => {
    const options = { enableCompression: enableCompression && { thresholdBytes: 0 } }
    const clientOptions = { perMessageDeflate: enableCompression && { threshold: 0 } }

    it.each([0, 1, 125, 126, 127, 65_535, 65_536])(
      'a message of %d bytes arrives in both directions',
      async (length) => {
        const { connect } = await serve(options, {
          onMessage(connection, { type, data }) {
            if (type === 'text') connection.sendText(data)
            else connection.hub.broadcast(data)
          },
        })
        const { client } = await connect(clientOptions)
        const bytes = Buffer.from(Array.from({ length }, (_, i) => (i * 7919) & 0xff))
        const text = bytes.toString('latin1').replace(/[^ -~]/g, '.')
        client.socket.send(bytes)
        client.socket.send(text)
        client.socket.send('end')
        expect(await client.upTo('end')).toEqual([`0x${bytes.toString('hex')}`, text])
      },
    )

    it('a message of maxMessageSize arrives in both directions; one more byte is refused', async () => {
      const maxMessageSize = 300_000
      const { connect } = await serve(
        { ...options, maxMessageSize },
        { onMessage: (connection, { data }) => connection.sendText(String(data)) },
      )
      const { client } = await connect(clientOptions)
      const text = Array.from({ length: maxMessageSize }, (_, i) => String(i % 10)).join('')
      client.socket.send(text)
      client.socket.send('end')
      expect(await client.upTo('end')).toEqual([text])
      client.socket.send(`${text}.`)
      expect(await client.closed()).toBe('1009')
    })

    it('a message has the bytes of the time of the call', async () => {
      const { connect, hub } = await serve(options)
      const { client, connection } = await connect(clientOptions)
      hub.joinRoom(connection, 'tea')
      const bytes = new Uint8Array(1_000).fill(1)
      const sends = [
        () => connection.sendBinary(bytes),
        () => connection.sendBinary(Buffer.from(bytes.buffer)),
        () => connection.sendBinary(bytes.buffer),
        () => hub.broadcast(bytes),
        () => hub.broadcastToRoom('tea', bytes.buffer),
      ]
      for (const send of sends) {
        bytes.fill(1)
        send()
        bytes.fill(2)
      }
      connection.sendText('end')
      expect(await client.upTo('end')).toEqual(sends.map(() => `0x${'01'.repeat(1_000)}`))
    })
  })

  it('arrives in order when it is sent during an async onOpen, before messages that onOpen sends later', async () => {
    let finish = () => {}
    const pending = new Promise<void>((resolve) => {
      finish = resolve
    })
    const { connect, hub } = await serve(
      {},
      {
        async onOpen(connection) {
          connection.sendText('1')
          await pending
          connection.sendText('4')
        },
      },
    )
    const { client, connection } = await connect()
    hub.broadcast('2')
    connection.sendText('3')
    await client.received.first('what was sent meanwhile', (data) => data === '3')
    finish()
    await client.received.first('what onOpen sent', (data) => data === '4')
    expect(client.received.all).toEqual(['1', '2', '3', '4'])
  })

  it('keeps its order among pings, even while the socket is congested', async () => {
    const { connectRaw, hub } = await serve({ maxBufferedBytes: 50_000_000 })
    const { client, connection } = await connectRaw()
    client.socket.pause()
    const expected: string[] = []
    const send = (text: string, ping: string) => {
      connection.sendText(text)
      connection.sendPing(ping)
      hub.broadcast(`${text} to all`)
      expected.push(text, ping, `${text} to all`)
    }
    for (let i = 0; i < 200; i++) {
      send(`${i}`.padEnd(50_000, '.'), `ping ${i}`)
      if (i % 10 === 0) await turn()
    }
    expect(connection.bufferedBytes).toBeGreaterThan(1_000_000)
    client.socket.resume()
    const received = await client.frames.until('everything', (all) => all.length === expected.length)
    expect(received.map(({ payload }) => payload.toString())).toEqual(expected)
  })

  it('arrives before a close that follows at once', async () => {
    const { connectRaw, hub } = await serve()
    const { client, connection } = await connectRaw()
    client.socket.pause()
    const texts = Array.from({ length: 200 }, (_, i) => `${i}`.padEnd(50_000, '.'))
    for (const text of texts) expect(connection.sendText(text)).toBe(true)
    expect(connection.close(4000, 'bye')).toBe(true)
    expect(connection.bufferedBytes).toBeGreaterThan(1_000_000)
    expect([connection.sendText('late'), hub.broadcast('late')]).toEqual([false, 0])
    client.socket.resume()
    expect(await client.closeFrame()).toEqual({ code: 4000, reason: 'bye' })
    expect(textsOf(client)).toEqual(texts)
  })

  it('arrives when it is sent before an exception, and is followed by 1011', async () => {
    const { connect } = await serve(
      {},
      {
        onMessage(connection) {
          connection.sendText('1')
          connection.hub.broadcast('2')
          if (connection.state === 'open') throw new Error('between two sends')
          connection.sendText('3')
        },
      },
    )
    const { client } = await connect()
    const { client: other } = await connect()
    client.socket.send('go')
    expect(await client.closed()).toBe('1011')
    expect(client.received.all).toEqual(['1', '2'])
    await other.received.first('the broadcast', (data) => data === '2')
  })

  it('reaches the other clients when it is sent in onClose', async () => {
    const sent: unknown[] = []
    const { connect } = await serve(
      {},
      {
        onClose(connection) {
          sent.push(connection.sendText('x'), connection.sendPing(), connection.hub.broadcast('one has left'))
        },
      },
    )
    const { client } = await connect()
    const { client: other } = await connect()
    await client.close()
    await other.received.first('the broadcast', (data) => data === 'one has left')
    expect(sent).toEqual([false, false, 1])
  })
})

describe('a broadcast', () => {
  it('reaches a client that reads byte by byte', async () => {
    const { connect, hub, port } = await serve()
    const { client: other } = await connect()
    const bytes: number[] = []
    const slow = await RawClient.open(port)
    await eventually(
      'it to be open',
      () => hub.size === 2,
      () => hub.size,
    )
    slow.socket.removeAllListeners('data')
    slow.socket.pause()
    const texts = Array.from({ length: 40 }, (_, i) => `${i}`.padEnd(120, '.'))
    for (const text of texts) expect(hub.broadcast(text)).toBe(2)
    const expected = frames(texts)
    await eventually(
      'every byte',
      () => {
        const byte: Buffer | null = slow.socket.read(1)
        if (byte !== null) bytes.push(...byte)
        return bytes.length === expected.length
      },
      () => bytes.length,
    )
    expect(Buffer.from(bytes).equals(expected)).toBe(true)
    hub.broadcast('end')
    expect(await other.upTo('end')).toEqual(texts)
  })

  it('reaches all others when clients disconnect during it', async () => {
    const texts = Array.from({ length: 40 }, (_, i) => `${i}`.padEnd(40_000, '.'))
    const closed: number[] = []
    const { hub, port } = await bare({}, { onClose: (_connection, code) => closed.push(code) })
    const staying = await comparers(port, 5, frames(texts))
    const leaving = await comparers(port, 5, frames(texts))
    const leftEarly = await comparers(port, 5, frames(texts))
    await eventually(
      'all to be open',
      () => hub.size === 15,
      () => hub.size,
    )
    for (const { socket } of leaving) socket.once('data', () => socket.resetAndDestroy())
    for (const { socket } of leftEarly) socket.resetAndDestroy() // not known to the hub yet
    for (const text of texts) expect(hub.broadcast(text)).toBe(15)
    await complete(staying, frames(texts).length)
    await eventually(
      'the others to be closed',
      () => closed.length === 10,
      () => closed,
    )
    expect(closed).toEqual(Array(10).fill(1006))
  })

  it('reaches all others when connections are terminated between its slices', async () => {
    const { hub, port } = await bare({}, {})
    const text = 'x'.repeat(4_096)
    const clients = await comparers(port, 400, frames([text]))
    await eventually(
      'all to be open',
      () => hub.size === 400,
      () => hub.size,
    )
    const connections = hub.connections()
    hub.broadcast(text)
    await turn()
    // Every second client whose frames have not been written yet.
    const ended = connections.filter(({ bufferedBytes }, i) => bufferedBytes > 0 && i % 2 === 0)
    expect(ended.length).toBeGreaterThan(0)
    for (const connection of ended) connection.terminate()
    const withAll = () => clients.filter(({ received }) => received === frames([text]).length)
    const ofNothing = () => clients.filter(({ received, socket }) => received === 0 && socket.destroyed)
    await eventually(
      'all to have it or be closed',
      () => withAll().length + ofNothing().length === 400,
      () => ({ withAll: withAll().length, ofNothing: ofNothing().length }),
    )
    expect(ofNothing()).toHaveLength(ended.length)
    expect(hub.dropped.closed).toEqual({ messages: ended.length, bytes: ended.length * 4_100 })
  })

  it('may close its receivers, which receive it and nothing after it', async () => {
    const { connect, hub } = await serve(
      {},
      {
        onMessage() {
          hub.broadcastToRoom('tea', '1')
          for (const member of hub.members('tea')) member.close(4000)
          hub.broadcastToRoom('tea', '2')
          hub.broadcast('3')
        },
      },
    )
    const { client: sender } = await connect()
    const members: Client[] = []
    for (let i = 0; i < 3; i++) {
      const { client, connection } = await connect()
      hub.joinRoom(connection, 'tea')
      members.push(client)
    }
    sender.socket.send('go')
    for (const member of members) {
      expect(await member.closed()).toBe('4000')
      expect(member.received.all).toEqual(['1'])
    }
    await sender.received.first('the last broadcast', (data) => data === '3')
    expect(sender.received.all).toEqual(['3'])
  })

  it('reaches all others when onDrop closes every connection', async () => {
    const drops: Dropped[] = []
    const { hub, port } = await bare(
      { maxBufferedBytes: 100_000, slowConsumer: 'dropNewest' },
      {
        onDrop(connection, dropped) {
          if (drops.push(dropped) > 1) return
          for (const each of connection.hub.connections()) each.close(4001)
          connection.hub.broadcast('late')
        },
      },
    )
    const stalled = await RawClient.open(port)
    stalled.socket.pause()
    const others = await Promise.all([RawClient.open(port), RawClient.open(port)])
    await eventually(
      'all to be open',
      () => hub.size === 3,
      () => hub.size,
    )
    const texts: string[] = []
    while (drops.length === 0) {
      expect(texts.length).toBeLessThan(2_000)
      texts.push(`${texts.length}`.padEnd(50_000, '.'))
      hub.broadcast(texts.at(-1) ?? '')
      await turn()
    }
    for (const other of others) {
      expect((await other.closeFrame()).code).toBe(4001)
      expect(textsOf(other)).toEqual(texts)
    }
    stalled.socket.resume()
    expect((await stalled.closeFrame()).code).toBe(4001)
    expect(textsOf(stalled)).toEqual(texts.slice(0, -1))
    expect(drops).toEqual([{ reason: 'dropNewest', messages: 1, bytes: 50_004 }])
  })

  it('is held once when it is repeated 100,000 times in a turn; closes only a client that stalls', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    onTestFinished(() => {
      vi.useRealTimers()
    })
    const { hub, log, port } = await serve()
    const texts = Array.from({ length: 100_000 }, (_, i) => `${i}`.padEnd(118, '.'))
    const expected = frames(texts)
    const healthy = await comparers(port, 12, expected)
    const [stalled] = await comparers(port, 1, expected)
    stalled?.socket.pause()
    await eventually(
      'all to be open',
      () => hub.size === 13,
      () => hub.size,
    )
    const stalledConnection = hub.connections().at(-1)
    const before = process.memoryUsage.rss()
    let most = 0
    for (const text of texts) if (hub.broadcast(text) !== 13) throw new Error(`somebody was refused ${text}`)
    await complete(healthy, expected.length, () => {
      most = Math.max(most, process.memoryUsage.rss())
    })
    // With a copy for each client, 144 MB would wait.
    expect(most - before).toBeLessThan((healthy.length * expected.length) / 2)
    vi.advanceTimersByTime(2 * JUDGE_MS) // it has read nothing
    await log.first('the stalled client to be given up', (entry) => entry === 'error WSHUB_ERR_SLOW_CONSUMER')
    expect(stalledConnection?.state).toBe('closing')
    expect(stalledConnection?.bufferedBytes).toBeLessThan(200_000)
    stalled?.socket.resume()
    const goodbye = Frame.close(1013, 'too slow').encode()
    await eventually(
      'its close frame',
      () => stalled?.rest.length === goodbye.length,
      () => stalled?.received,
    )
    expect(stalled?.rest).toEqual(goodbye)
    const received = (stalled?.received ?? 0) / 120
    expect(hub.size).toBe(13)
    expect(hub.dropped.overflow).toEqual({
      messages: texts.length - received,
      bytes: expected.length - received * 120,
    })
  })

  it('does not block the event loop with 2,000 clients', async () => {
    const { hub, port } = await bare({ maxConnections: 2_000 }, {})
    const text = 'x'.repeat(1_000)
    const rounds = 5
    const clients = await comparers(port, 2_000, frames(Array<string>(rounds).fill(text)))
    await eventually(
      'all to be open',
      () => hub.size === clients.length,
      () => hub.size,
    )
    const last = hub.connections().at(-1)
    const isFlushing = () => last !== undefined && last.bufferedBytes > 0
    const shares: number[] = []
    for (let round = 1; round <= rounds; round++) {
      expect(hub.broadcast(text)).toBe(clients.length)
      const began = performance.now()
      let before = began
      let longest = 0
      for (let turns = 0; isFlushing(); turns++) {
        expect(turns).toBeLessThan(10_000)
        await turn()
        const now = performance.now()
        longest = Math.max(longest, now - before)
        before = now
      }
      shares.push(longest / (before - began))
      await eventually(
        'it to arrive',
        () => clients.every(({ received }) => received === round * 1_004),
        () => round,
      )
    }
    // One of five rounds is enough, since another process may delay any of them.
    expect(Math.min(...shares)).toBeLessThan(0.5)
  })
})

describe('a client that does not read', () => {
  /** Broadcasts once per turn until the connection has refused or dropped messages `times` times. */
  async function flood(
    connection: Connection,
    send: (i: number) => unknown,
    isEnough: () => boolean,
  ): Promise<number> {
    for (let i = 0; i < 2_000; i++) {
      send(i)
      await turn()
      if (isEnough()) return i + 1
    }
    throw new Error(`2,000 messages were taken, bufferedBytes is ${connection.bufferedBytes}`)
  }

  async function stalledIn(options: HubOptions) {
    const drops: Dropped[] = []
    const { hub, port } = await bare(options, { onDrop: (_connection, dropped) => drops.push(dropped) })
    const client = await openPaused(hub, port)
    const [connection] = hub.connections()
    if (connection === undefined) throw new Error('there is no connection')
    return { drops, hub, client, connection }
  }

  it('receives the latest message of each key with conflate, and is not closed', async () => {
    const { drops, hub, client, connection } = await stalledIn({
      maxBufferedBytes: 500_000,
      slowConsumer: 'conflate',
    })
    const filler = '.'.repeat(50_000)
    const count = await flood(
      connection,
      (i) => {
        expect(hub.broadcast(`${i % 3} ${i} ${filler}`, { key: `${i % 3}` })).toBe(1)
      },
      () => connection.dropped.messages >= 100,
    )
    expect(connection.bufferedBytes).toBeLessThanOrEqual(500_000)
    client.socket.resume()
    connection.sendText('end')
    await client.frames.first('the end', ({ payload }) => payload.toString() === 'end')
    const numbers = textsOf(client)
      .slice(0, -1)
      .map((text) => Number(text.split(' ')[1]))
    expect(numbers.slice(-3)).toEqual([count - 3, count - 2, count - 1])
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b))
    expect(numbers.length + connection.dropped.messages).toBe(count)
    expect(connection.state).toBe('open')
    expect(hub.dropped.conflate).toEqual(connection.dropped)
    const told = drops.reduce(
      (sum, { messages, bytes }) => ({ messages: sum.messages + messages, bytes: sum.bytes + bytes }),
      { messages: 0, bytes: 0 },
    )
    expect(told).toEqual(connection.dropped)
    expect(new Set(drops.map(({ reason }) => reason))).toEqual(new Set(['conflate']))
  })

  it('receives no volatile messages until it reads again', async () => {
    const { drops, hub, client, connection } = await stalledIn({})
    const refused: number[] = []
    const count = await flood(
      connection,
      (i) => {
        if (hub.broadcast(`${i}`.padEnd(50_000, '.'), { volatile: true }) === 0) refused.push(i)
      },
      () => refused.length === 5,
    )
    expect(connection.dropped).toEqual({ messages: 5, bytes: 5 * 50_004 })
    expect(drops).toEqual(Array(5).fill({ reason: 'volatile', messages: 1, bytes: 50_004 }))
    expect(hub.dropped.volatile).toEqual(connection.dropped)
    client.socket.resume()
    await eventually(
      'it to have everything',
      () => connection.bufferedBytes === 0,
      () => connection.bufferedBytes,
    )
    await turn()
    expect(hub.broadcast('end', { volatile: true })).toBe(1)
    await client.frames.first('the end', ({ payload }) => payload.toString() === 'end')
    const numbers = textsOf(client)
      .slice(0, -1)
      .map((text) => Number.parseInt(text, 10))
    expect(numbers).toEqual(Array.from({ length: count - 5 }, (_, i) => i))
  })

  it('has its drops reported before onClose', async () => {
    const told: unknown[] = []
    const { hub, port } = await bare(
      { maxBufferedBytes: 50_000_000 },
      {
        onDrop: (connection, { reason, messages, bytes }) =>
          told.push([reason, messages === 0, bytes === connection.dropped.bytes, connection.state]),
        onClose: (_connection, code) => told.push(code),
      },
    )
    const client = await openPaused(hub, port)
    for (let i = 0; i < 400; i++) hub.broadcast('x'.repeat(50_000))
    client.socket.resetAndDestroy()
    await eventually(
      'it to be closed',
      () => told.length === 2,
      () => told,
    )
    expect(told).toEqual([['closed', false, true, 'closed'], 1006])
  })

  it.each([
    {
      way: 'throws',
      onDrop: () => {
        throw new Error('broken')
      },
    },
    { way: 'rejects', onDrop: () => Promise.reject(new Error('broken')) },
  ])('is the only one closed with 1011 when its onDrop $way', async ({ onDrop }) => {
    const errors: Error[] = []
    const { hub, port } = await bare(
      { maxBufferedBytes: 100_000, slowConsumer: 'dropNewest' },
      { onDrop, onError: (_connection, error) => errors.push(error) },
    )
    const client = await RawClient.open(port)
    client.socket.pause()
    const other = await RawClient.open(port)
    await eventually(
      'both to be open',
      () => hub.size === 2,
      () => hub.size,
    )
    for (let i = 0; errors.length === 0; i++) {
      expect(i).toBeLessThan(2_000)
      hub.broadcast('x'.repeat(50_000))
      await turn()
    }
    hub.broadcast('end')
    await other.frames.first('the end', ({ payload }) => payload.toString() === 'end')
    client.socket.resume()
    expect((await client.closeFrame()).code).toBe(1011)
    expect(errors).toEqual([new Error('broken')])
  })

  it('is closed when it sends pings endlessly', async () => {
    const { hub, port } = await bare({ maxBufferedBytes: 100_000 }, {})
    const client = await openPaused(hub, port)
    const [connection] = hub.connections()
    const pings = Buffer.concat(
      Array.from({ length: 50 }, () =>
        new Frame({ opcode: Opcode.ping, payload: Buffer.alloc(125), masked: true }).encode(),
      ),
    )
    let most = 0
    const flooding = () => {
      if (client.socket.writableLength < 1_000_000) client.socket.write(pings)
      most = Math.max(most, connection?.bufferedBytes ?? 0)
    }
    await eventually(
      'it to be closed',
      () => {
        flooding()
        return hub.size === 0
      },
      () => most,
    )
    expect(most).toBeLessThan(200_000)
  })
})
