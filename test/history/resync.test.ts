import { describe, expect, it } from 'vitest'
import { type Connection, Hub, type ResumeResult } from 'wshub'
import { type Client, eventually, turn } from '../support/hub-server.ts'
import { lastPosition, numbers, serveHistory, text } from './support.ts'

const LIMIT = 65_536
/** Messages that fill the buffers of the kernel and then the backlog, many times over. */
const COUNT = 30_000
const PADDING = 'x'.repeat(400)

const padded = (n: number) => JSON.stringify({ n, padding: PADDING })

const endsWith = (texts: readonly string[], n: string) => numbers(texts.slice(-1))[0] === n

/** Makes a client stop reading, and sends until its socket is congested: what is sent next waits. */
async function congest({ client, connection }: { client: Client; connection: Connection }): Promise<void> {
  client.socket.pause()
  while (connection.bufferedBytes < LIMIT) {
    for (let sent = 0; sent < 10; sent++) connection.sendText(padded(0))
    for (let turns = 0; turns < 2; turns++) await turn() // it is written, and taken if there is space
  }
}

describe("the policy 'resync'", () => {
  it('sends a client that stalled everything it missed when it reads again, in order and once', async () => {
    const { hub, connect, log } = await serveHistory(
      { rooms: () => ({ maxMessages: COUNT * 2 }) },
      { slowConsumer: 'resync', maxBufferedBytes: LIMIT },
    )
    const { client, connection } = await connect()
    await hub.resumeRoom(connection, 'chat')
    client.socket.pause()
    let most = 0
    for (let n = 1; n <= COUNT; n++) {
      hub.broadcastToRoom('chat', padded(n))
      if (n % 100 === 0) await turn()
      most = Math.max(most, connection.bufferedBytes)
    }
    connection.sendText(text('direct'))
    client.socket.resume()
    await client.received.until('the last message', (all) => all.length > COUNT)
    await hub.publish('chat', text('live'))
    await client.received.until('the live message', (all) => all.length > COUNT + 1)

    const all = numbers(client.received.all)
    expect(all.filter((n) => n !== 'direct')).toEqual([
      ...Array.from({ length: COUNT }, (_, i) => i + 1),
      'live',
    ])
    expect(all).toContain('direct')
    expect(most).toBeLessThanOrEqual(LIMIT + 100 * 500) // a turn's messages come on top
    expect(hub.stats().history?.resynced).toBeGreaterThan(0)
    expect(hub.dropped.resync.messages).toBeGreaterThan(0)
    expect(log.all).not.toContain('behind chat')
  })

  it('says so when not everything is kept any more', async () => {
    const { hub, connect, log } = await serveHistory(
      { rooms: () => ({ maxMessages: 100 }), maxCachedBytes: 0 },
      { slowConsumer: 'resync', maxBufferedBytes: LIMIT },
    )
    const { client, connection } = await connect()
    await hub.resumeRoom(connection, 'chat')
    client.socket.pause()
    for (let n = 1; n <= COUNT; n++) {
      hub.broadcastToRoom('chat', padded(n))
      if (n % 100 === 0) await turn()
    }
    client.socket.resume()
    await log.until('onBehind', (all) => all.includes('behind chat'))
    await hub.publish('chat', text('live'))
    await client.received.until('the live message', (all) => numbers(all).includes('live'))
    const all = numbers(client.received.all)
    expect(all.slice(0, -1)).toEqual(Array.from({ length: all.length - 1 }, (_, i) => i + 1))
    expect(log.all.filter((entry) => entry === 'behind chat')).toHaveLength(1)
    expect(hub.stats().history?.resynced).toBe(1)
  })

  it('says so once to a client that reads nothing, although little waits in its socket', async () => {
    const { hub, connect, log } = await serveHistory(
      { rooms: () => ({ maxMessages: 100 }), maxCachedBytes: 0 },
      { slowConsumer: 'resync', maxBufferedBytes: LIMIT * 4 },
    )
    const { client, connection } = await connect()
    await hub.resumeRoom(connection, 'chat')
    client.socket.pause()
    for (let turns = 0; turns < 20; turns++) {
      if (connection.bufferedBytes === 0) {
        connection.sendText(text('direct').padEnd(LIMIT * 1.5))
        turns = 0
      }
      await turn()
    }
    for (let n = 1; n <= 6_000; n++) {
      hub.broadcastToRoom('chat', padded(n))
      if (n % 100 === 0) await turn()
    }
    expect(log.all).not.toContain('behind chat') // it can do nothing about it yet
    client.socket.resume()
    await log.until('onBehind', (all) => all.includes('behind chat'))
    await hub.publish('chat', text('live'))
    await client.received.until('the live message', (all) => numbers(all.slice(-1))[0] === 'live')
    expect(log.all.filter((entry) => entry === 'behind chat')).toHaveLength(1)
    expect(hub.stats().history?.resynced).toBe(1)
  })

  it('says so when a resume without since takes the place of a resync', async () => {
    const { hub, connect, log } = await serveHistory(
      { rooms: () => ({}) },
      { slowConsumer: 'resync', maxBufferedBytes: LIMIT },
    )
    const { client, connection } = await connect()
    await hub.resumeRoom(connection, 'chat')
    client.socket.pause()
    for (let n = 1; hub.stats().history?.resynced === 0; n++) {
      hub.broadcastToRoom('chat', padded(n))
      if (n % 100 === 0) await turn()
    }
    expect(log.all).not.toContain('behind chat')
    await hub.resumeRoom(connection, 'chat')
    await log.until('onBehind', (all) => all.includes('behind chat'))
    client.socket.resume()
    await hub.publish('chat', text('live'))
    await client.received.until('the live message', (all) => numbers(all.slice(-1))[0] === 'live')
  })

  it('keeps clients that stall together below the limit for all of them, and closes none', async () => {
    const { hub, connect, log } = await serveHistory(
      { rooms: () => ({ maxMessages: COUNT * 2 }) },
      { slowConsumer: 'resync', maxBufferedBytes: LIMIT * 100, maxTotalBufferedBytes: LIMIT * 8 },
    )
    const stalled = [await connect(), await connect(), await connect()]
    for (const { client, connection } of stalled) {
      await hub.resumeRoom(connection, 'chat')
      client.socket.pause()
    }
    for (let n = 1; n <= COUNT; n++) {
      hub.broadcastToRoom('chat', padded(n))
      if (n % 100 === 0) await turn()
    }
    expect(hub.stats().history?.resynced).toBeGreaterThan(0)
    for (const { client } of stalled) {
      client.socket.resume()
      await client.received.until('the last message', (all) => all.length === COUNT)
      expect(numbers(client.received.all)).toEqual(Array.from({ length: COUNT }, (_, i) => i + 1))
    }
    expect(log.all).not.toContain('behind chat')
  })

  it('closes a client for which too much else waits', async () => {
    const { hub, connect } = await serveHistory({}, { slowConsumer: 'resync', maxBufferedBytes: LIMIT })
    const { client, connection } = await connect()
    await hub.resumeRoom(connection, 'chat')
    client.socket.pause()
    await eventually(
      'the client to be closed',
      () => {
        connection.sendText(PADDING.repeat(10))
        return connection.state !== 'open'
      },
      () => connection.bufferedBytes,
    )
    client.socket.resume()
    expect(await client.closed()).toMatch(/^1013/)
  })

  it('keeps the order when the client is resynced while it is being replayed to', async () => {
    const { hub, connect } = await serveHistory(
      { rooms: () => ({ maxMessages: COUNT * 2 }) },
      { slowConsumer: 'resync', maxBufferedBytes: LIMIT },
    )
    for (let n = 1; n <= COUNT; n++) await hub.publish('chat', padded(n))
    const { client, connection } = await connect()
    client.socket.pause()
    const resumed = hub.resumeRoom(connection, 'chat', { last: COUNT })
    await hub.resumeRoom(connection, 'other')
    for (let n = 1; n <= 1_000; n++) {
      hub.broadcastToRoom('other', padded(-n))
      if (n % 10 === 0) await turn()
    }
    client.socket.resume()
    expect(await resumed).toMatchObject({ complete: true })
    await client.received.until('all', (all) => all.length >= COUNT + 1_000)
    const all = numbers(client.received.all)
    expect(all.filter((n) => Number(n) > 0)).toEqual(Array.from({ length: COUNT }, (_, i) => i + 1))
    expect(all.filter((n) => Number(n) < 0)).toEqual(Array.from({ length: 1_000 }, (_, i) => -i - 1))
  })

  it('replays again what waited for a client that stalled while it was being replayed to', async () => {
    const { hub, connect } = await serveHistory(
      { rooms: () => ({}) },
      { slowConsumer: 'resync', maxBufferedBytes: LIMIT * 4 },
    )
    for (let n = 1; n <= 500; n++) await hub.publish('chat', padded(n))
    const { client, connection } = await connect()
    await hub.resumeRoom(connection, 'other')
    await congest({ client, connection })
    const before = connection.bufferedBytes
    const resumed = hub.resumeRoom(connection, 'chat', { last: 500 })
    await eventually(
      'the replay to fill its share',
      () => connection.bufferedBytes > LIMIT * 2 - 1_000,
      () => [before, connection.bufferedBytes],
    )
    let sent = 0
    while (hub.stats().history?.resynced === 0) await hub.publish('other', padded(--sent))
    client.socket.resume()
    expect(await resumed).toMatchObject({ complete: true })
    await hub.publish('chat', text('live'))
    const all = numbers(await client.received.until('the live message', (texts) => endsWith(texts, 'live')))
    expect(all.filter((n) => Number(n) > 0)).toEqual(Array.from({ length: 500 }, (_, i) => i + 1))
    expect(all.filter((n) => Number(n) < 0)).toEqual(Array.from({ length: -sent }, (_, i) => -i - 1))
  })

  describe('with the position that a resume returns', () => {
    async function stalled() {
      const served = await serveHistory(
        { rooms: () => ({}) },
        { slowConsumer: 'resync', maxBufferedBytes: LIMIT * 4 },
      )
      const { client, connection } = await served.connect()
      /** Sends the position, as an application does, and then more than may wait. Returns what arrives. */
      const tell = async ({ position }: ResumeResult) => {
        connection.sendText(JSON.stringify({ n: 'position', at: position }))
        for (let n = 1; n <= (LIMIT * 4) / PADDING.length; n++) await served.hub.publish('chat', padded(n))
        expect(served.hub.stats().history?.resynced).toBe(1)
        client.socket.resume()
        await served.hub.publish('chat', text('live'))
        const all = await client.received.until(
          'the live message',
          (texts) => numbers(texts.slice(-1))[0] === 'live',
        )
        const told = numbers(all).indexOf('position')
        return { told: position, before: lastPosition(all.slice(0, told)), log: served.log.all }
      }
      return { ...served, connection, congest: () => congest({ client, connection }), tell }
    }

    it('sends what it had replayed before that, although it drops messages later', async () => {
      const { hub, connection, congest, tell } = await stalled()
      for (let n = -10; n < 0; n++) await hub.publish('chat', padded(n))
      await congest()
      const resumed = await hub.resumeRoom(connection, 'chat', { last: 10 })
      expect(resumed).toMatchObject({ complete: true, replayed: 10 })
      const { told, before } = await tell(resumed)
      expect(before).toBe(told)
    })

    it.each([{}, { since: 'position' }])(
      'sends what was waiting before that, asked again with %o',
      async (from) => {
        const { hub, connection, congest, tell } = await stalled()
        const first = await hub.resumeRoom(connection, 'chat')
        await congest()
        const { position } = await hub.publish('chat', padded(0))
        const again = 'since' in from ? { since: position } : {}
        const resumed = await hub.resumeRoom(connection, 'chat', again)
        expect(resumed).toMatchObject({ complete: true, replayed: 0, position })
        expect(position).not.toBe(first.position)
        const { told, before, log } = await tell(resumed)
        expect(before).toBe(told)
        expect(log).not.toContain('behind chat')
      },
    )
  })

  it('is refused without histories', () => {
    expect(() => new Hub({ slowConsumer: 'resync' })).toThrow(
      expect.objectContaining({ code: 'WSHUB_ERR_INVALID_OPTION' }),
    )
  })
})
