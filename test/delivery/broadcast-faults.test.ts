import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type Dropped, Frame } from 'wshub'
import { JUDGE_MS } from '../../src/delivery/congestion.ts'
import {
  type Client,
  dial,
  eventually,
  handshake,
  Journal,
  RawClient,
  serve,
  turn,
} from '../support/hub-server.ts'
import { bare, frames, textsOf } from './comparer.ts'

/** A client that compares received bytes with the expected ones, and keeps none of them. */
class Comparer {
  readonly socket: ReturnType<typeof dial>
  readonly #expected: Buffer
  readonly #events = new Journal<string>()
  #head = Buffer.alloc(0)
  /** Bytes received after the 101. */
  received = -1
  /** Bytes that arrived after, or instead of, the expected ones. */
  rest = Buffer.alloc(0)

  constructor(port: number, expected: Buffer) {
    this.#expected = expected
    this.socket = dial(port)
    this.socket.on('data', (data: Buffer) => this.#take(data))
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
    const [, ...reading] = hub.connections()
    const texts: string[] = []
    while (drops.length === 0) {
      expect(texts.length).toBeLessThan(2_000)
      texts.push(`${texts.length}`.padEnd(50_000, '.'))
      hub.broadcast(texts.at(-1) ?? '')
      await eventually(
        'the others to have it',
        () => reading.every(({ bufferedBytes }) => bufferedBytes === 0),
        () => reading.map(({ bufferedBytes }) => bufferedBytes),
      )
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
