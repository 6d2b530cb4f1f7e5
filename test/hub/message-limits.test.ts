import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { Frame, type Message, Opcode } from 'wshub'
import { closeApps } from '../adapters/frameworks.ts'
import { inTime, serve, thrownBy } from '../support/hub-server.ts'
import { destroyClients, until } from '../support/raw.ts'

afterEach(async () => {
  destroyClients()
  await closeApps()
})

/** Stops the clock of the hub: however long it takes to read a packet, it is the same moment. */
function stopClock(): void {
  vi.useFakeTimers({ toFake: ['performance'] })
  onTestFinished(() => void vi.useRealTimers())
}

describe('limits.maxMessagesPerSecond', () => {
  const texts = Array.from({ length: 60 }, (_, i) => String(i))
  const packet = Buffer.concat(
    texts.map((data) =>
      new Frame({ opcode: Opcode.text, masked: true, payload: Buffer.from(data) }).encode(),
    ),
  )
  const limits = { maxMessagesPerSecond: 40 }

  /**
   * Checks that no second of `times` has more than the limit: one second's worth, and what is allowed during
   * it.
   */
  function expectRate(times: readonly number[]): void {
    // At 40 a second, 60 messages take at least half a second: 40 at once, then 20.
    expect((times.at(-1) ?? 0) - (times[0] ?? 0)).toBeGreaterThanOrEqual(450)
    const atOnce = times.filter((time) => time - (times[0] ?? 0) < 100)
    expect(atOnce.length).toBeLessThanOrEqual(46)
  }

  it('delays messages that arrive faster, keeps their order, and loses nothing', async () => {
    const times: number[] = []
    const { connectRaw, log } = await serve(
      { limits },
      { onMessage: () => void times.push(performance.now()) },
    )
    const { client } = await connectRaw([], packet)
    await log.first('the last message', (entry) => entry === 'message 59')
    expect(log.all.filter((entry) => entry.startsWith('message'))).toEqual(texts.map((t) => `message ${t}`))
    expectRate(times)
    client.send({ opcode: Opcode.text, payload: Buffer.from('marker') })
    await log.first('the marker', (entry) => entry === 'message marker')
  })

  it('delays messages of an iteration too', async () => {
    const times: number[] = []
    const seen: Message['data'][] = []
    const { connectRaw } = await serve(
      { limits },
      {
        async onOpen(connection) {
          for await (const { data } of connection) {
            seen.push(data)
            times.push(performance.now())
          }
        },
      },
    )
    await connectRaw([], packet)
    await until('all messages', () => seen.length === 60)
    expect(seen).toEqual(texts)
    expectRate(times)
  })

  it('delivers delayed messages to a paused connection only after it is resumed', async () => {
    const { connectRaw, log, connections } = await serve(
      { limits },
      {
        onMessage: (connection, { data }) => {
          if (data === '50') connection.pause()
        },
      },
    )
    await connectRaw([], packet)
    await log.first('the pause', (entry) => entry === 'message 50')
    await new Promise((resolve) => setImmediate(resolve))
    expect(log.all.at(-1)).toBe('message 50')
    connections[0]?.resume()
    await log.first('the last message', (entry) => entry === 'message 59')
  })

  it('counts pings', async () => {
    stopClock()
    const { connectRaw, log } = await serve({ limits: { ...limits, rateLimitPolicy: 'close' } })
    const ping = new Frame({ opcode: Opcode.ping, masked: true }).encode()
    const { client } = await connectRaw([], Buffer.concat(Array(60).fill(ping)))
    expect(await client.closeFrame()).toEqual({ code: 1008, reason: 'too many messages' })
    const pings = log.all.filter((entry) => entry.startsWith('ping')).length
    expect(pings).toBeGreaterThanOrEqual(40)
    expect(pings).toBeLessThan(60)
  })

  it('closes with 1008 under the policy close, once', async () => {
    stopClock()
    const { connectRaw, log } = await serve({ limits: { ...limits, rateLimitPolicy: 'close' } })
    const { client } = await connectRaw([], packet)
    expect(await client.closeFrame()).toEqual({ code: 1008, reason: 'too many messages' })
    const messages = log.all.filter((entry) => entry.startsWith('message')).length
    expect(messages).toBeGreaterThanOrEqual(40)
    expect(messages).toBeLessThan(60)
    expect(log.all.filter((entry) => entry === 'error WSHUB_ERR_RATE_LIMIT')).toHaveLength(1)
  })
})

describe('limits.maxBytesPerSecond', () => {
  it('counts bytes, of text as UTF-8', async () => {
    const times: number[] = []
    const { connect, log } = await serve(
      { limits: { maxBytesPerSecond: 2_000 } },
      { onMessage: () => void times.push(performance.now()) },
    )
    const { client } = await connect()
    client.socket.send('é'.repeat(1_500)) // 3,000 bytes: half a second's worth too many
    client.socket.send('next')
    await log.first('the next', (entry) => entry === 'message next')
    expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThanOrEqual(450)
  })

  it('closes with 1008 under the policy close', async () => {
    const { connect } = await serve({ limits: { maxBytesPerSecond: 2_000, rateLimitPolicy: 'close' } })
    const { client } = await connect()
    client.socket.send(Buffer.alloc(2_001))
    expect(await client.closed()).toBe('1008 too many messages')
  })
})

describe('limits of rooms', () => {
  it('admit maxRoomsPerConnection rooms, and join none if there would be more', async () => {
    const { connect, hub } = await serve({ limits: { maxRoomsPerConnection: 2 } })
    const { connection } = await connect()
    hub.joinRoom(connection, ['a', 'b', 'a'])
    hub.joinRoom(connection, ['a', 'b'])
    expect(thrownBy(() => hub.joinRoom(connection, ['a', 'c']))).toMatchObject({
      code: 'WSHUB_ERR_TOO_MANY_ROOMS',
    })
    expect(hub.rooms()).toEqual(['a', 'b'])
    hub.leaveRoom(connection, 'a')
    expect(hub.joinRoom(connection, 'c')).toBe(true)
  })

  it('admit names of maxRoomNameBytes', async () => {
    const { connect, hub } = await serve({ limits: { maxRoomNameBytes: 4 } })
    const { connection } = await connect()
    expect(hub.joinRoom(connection, 'éé')).toBe(true)
    expect(thrownBy(() => hub.joinRoom(connection, ['a', 'ééa']))).toMatchObject({
      code: 'WSHUB_ERR_INVALID_ROOM',
    })
    expect(hub.rooms()).toEqual(['éé'])
  })
})

describe('limits.maxFragments', () => {
  function fragments(bytes: number, size: number): Buffer {
    const payload = Buffer.alloc(size, 'x')
    const count = bytes / size
    return Buffer.concat(
      Array.from({ length: count }, (_, i) =>
        new Frame({
          opcode: i === 0 ? Opcode.text : Opcode.continuation,
          fin: i === count - 1,
          masked: true,
          payload,
        }).encode(),
      ),
    )
  }

  it('by default fits maxMessageSize: 4 MiB in fragments of 64 bytes pass', async () => {
    let bytes = 0
    const { connectRaw, log } = await serve(
      { maxMessageSize: 4 * 1_048_576 },
      {
        onMessage(connection, { data }) {
          bytes = data.length
          connection.sendText('whole')
        },
      },
    )
    const { client } = await connectRaw()
    client.socket.write(fragments(4 * 1_048_576, 64))
    await client.frames.first('the answer', ({ payload }) => payload.toString() === 'whole')
    expect(bytes).toBe(4 * 1_048_576)
    expect(log.all).not.toContainEqual(expect.stringMatching(/^error/))
  })

  it('ends the connection with 1008 above it', async () => {
    const { connectRaw, log } = await serve({ limits: { maxFragments: 8 } })
    const { client } = await connectRaw()
    client.socket.write(fragments(8, 1))
    await log.first('a message of eight', (entry) => entry === 'message xxxxxxxx')
    client.socket.write(fragments(9, 1))
    expect((await client.closeFrame()).code).toBe(1008)
    await log.first('the error', (entry) => entry === 'error WSHUB_ERR_TOO_MANY_FRAGMENTS')
  })
})

describe('limits.maxBufferedChunks', () => {
  it('ends a connection with 1008 if its frame arrives in too many pieces', async () => {
    const { connectRaw, log, connections } = await serve({ limits: { maxBufferedChunks: 4 } })
    const { client, serverSocket } = await connectRaw()
    client.socket.setNoDelay(true)
    const bytes = new Frame({ opcode: Opcode.text, masked: true, payload: Buffer.alloc(100, 'x') }).encode()
    for (let i = 0; i < bytes.length && connections[0]?.state === 'open'; i++) {
      const read = serverSocket.bytesRead
      client.socket.write(bytes.subarray(i, i + 1))
      await until('the byte to be read', () => serverSocket.bytesRead !== read)
    }
    await inTime(
      'the error',
      log.first('the error', (e) => e === 'error WSHUB_ERR_TOO_MANY_FRAGMENTS'),
      () => log.all,
    )
    expect((await client.closeFrame()).code).toBe(1008)
  })
})
