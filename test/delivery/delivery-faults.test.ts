import { describe, expect, it } from 'vitest'
import { type Connection, type Dropped, Frame, type Hub, type HubOptions, Opcode } from 'wshub'
import { eventually, RawClient, serve, turn } from '../support/hub-server.ts'
import { bare, textsOf } from './comparer.ts'

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
    const taken: number[] = []
    let refused = 0
    await flood(
      connection,
      (i) => {
        if (hub.broadcast(`${i}`.padEnd(50_000, '.'), { volatile: true }) === 0) refused++
        else taken.push(i)
      },
      () => refused === 5,
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
    expect(numbers).toEqual(taken)
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
    const [, reading] = hub.connections()
    for (let i = 0; errors.length === 0; i++) {
      expect(i).toBeLessThan(2_000)
      hub.broadcast('x'.repeat(50_000))
      await eventually(
        'the other to have it',
        () => reading?.bufferedBytes === 0,
        () => reading?.bufferedBytes,
      )
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
