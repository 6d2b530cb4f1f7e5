import { describe, expect, it } from 'vitest'
import { type Connection, Frame, type HubErrorCode, Opcode } from 'wshub'
import { eventually, type RawClient, serve, turn } from '../support/hub-server.ts'

const masked =
  (...bytes: number[]) =>
  (client: RawClient) =>
    client.socket.write(
      Buffer.concat([
        Buffer.from([bytes[0] ?? 0, (bytes[1] ?? 0) | 0x80, 0, 0, 0, 0]),
        Buffer.from(bytes.slice(2)),
      ]),
    )

describe('Connection', () => {
  describe('a client that sends', () => {
    const cases: {
      what: string
      send: (client: RawClient) => unknown
      closeCode: number
      error: HubErrorCode
    }[] = [
      {
        what: 'an unmasked frame',
        send: (c) => c.socket.write(Frame.text('x').encode()),
        closeCode: 1002,
        error: 'WSHUB_ERR_PROTOCOL',
      },
      {
        what: 'RSV1 without compression',
        send: masked(0xc1, 0),
        closeCode: 1002,
        error: 'WSHUB_ERR_PROTOCOL',
      },
      { what: 'RSV2', send: masked(0xa1, 0), closeCode: 1002, error: 'WSHUB_ERR_PROTOCOL' },
      { what: 'RSV3', send: masked(0x91, 0), closeCode: 1002, error: 'WSHUB_ERR_PROTOCOL' },
      { what: 'a reserved data opcode', send: masked(0x83, 0), closeCode: 1002, error: 'WSHUB_ERR_PROTOCOL' },
      {
        what: 'a reserved control opcode',
        send: masked(0x8b, 0),
        closeCode: 1002,
        error: 'WSHUB_ERR_PROTOCOL',
      },
      {
        what: 'a continuation of nothing',
        send: masked(0x80, 1, 65),
        closeCode: 1002,
        error: 'WSHUB_ERR_PROTOCOL',
      },
      {
        what: 'a message inside a fragmented one',
        send: (c) => [masked(0x01, 1, 65)(c), masked(0x81, 1, 66)(c)],
        closeCode: 1002,
        error: 'WSHUB_ERR_PROTOCOL',
      },
      { what: 'a fragmented ping', send: masked(0x09, 0), closeCode: 1002, error: 'WSHUB_ERR_PROTOCOL' },
      { what: 'a ping of 126 bytes', send: masked(0x89, 126), closeCode: 1002, error: 'WSHUB_ERR_PROTOCOL' },
      {
        what: 'text that is not UTF-8',
        send: masked(0x81, 1, 0xff),
        closeCode: 1007,
        error: 'WSHUB_ERR_INVALID_DATA',
      },
      {
        what: 'a close reason that is not UTF-8',
        send: masked(0x88, 3, 0x03, 0xe8, 0xff),
        closeCode: 1007,
        error: 'WSHUB_ERR_INVALID_DATA',
      },
      {
        what: 'the close code 1006',
        send: masked(0x88, 2, 0x03, 0xee),
        closeCode: 1002,
        error: 'WSHUB_ERR_PROTOCOL',
      },
      {
        what: 'the close code 999',
        send: masked(0x88, 2, 0x03, 0xe7),
        closeCode: 1002,
        error: 'WSHUB_ERR_PROTOCOL',
      },
      {
        what: 'a close frame of one byte',
        send: masked(0x88, 1, 0x03),
        closeCode: 1002,
        error: 'WSHUB_ERR_PROTOCOL',
      },
      {
        what: 'a message over maxMessageSize',
        send: (c) => c.send({ opcode: Opcode.binary, payload: Buffer.alloc(101) }),
        closeCode: 1009,
        error: 'WSHUB_ERR_MESSAGE_TOO_BIG',
      },
      {
        what: 'fragments that add up to more than maxMessageSize',
        send: (c) => {
          c.send({ opcode: Opcode.binary, fin: false, payload: Buffer.alloc(60) })
          c.send({ opcode: Opcode.continuation, payload: Buffer.alloc(60) })
        },
        closeCode: 1009,
        error: 'WSHUB_ERR_MESSAGE_TOO_BIG',
      },
    ]
    it.each(cases)(
      'is closed with $closeCode after $what, and no other client is',
      async ({ send, closeCode, error }) => {
        const { connect, connectRaw, errors, log } = await serve({ maxMessageSize: 100 })
        const { client: other, connection } = await connect()
        const { client } = await connectRaw()
        send(client)
        expect((await client.closeFrame()).code).toBe(closeCode)
        await client.hungUp()
        await log.first('onClose', (entry) => entry.startsWith('close'))
        expect(log.all.filter((entry) => !entry.startsWith('open'))).toEqual([
          `error ${error}`,
          `close ${closeCode}`,
        ])
        expect(errors[0]).toMatchObject({ closeCode, cause: expect.any(Error) })
        connection.sendText('end')
        expect(await other.upTo('end')).toEqual([])
      },
    )

    it('is served when its message has exactly maxMessageSize bytes', async () => {
      const { connectRaw, log } = await serve({ maxMessageSize: 3 })
      const { client } = await connectRaw()
      client.send({ opcode: Opcode.text, fin: false, payload: Buffer.from('ab') })
      client.send({ opcode: Opcode.ping, payload: Buffer.from('between') })
      client.send({ opcode: Opcode.continuation, payload: Buffer.from('c') })
      await log.first('the message', (entry) => entry === 'message abc')
      expect(log.all).toEqual(['open', 'ping between', 'message abc'])
      const pong = await client.frames.first('the pong', ({ opcode }) => opcode === Opcode.pong)
      expect(pong.payload.toString()).toBe('between')
    })
  })

  describe('keepalive', () => {
    it('ends a client that does not answer pings, and records the times', async () => {
      const { connect, log } = await serve({ pingIntervalMs: 40, pongTimeoutMs: 40 })
      const before = Date.now()
      const { connection } = await connect({ autoPong: false })
      expect(await log.first('onClose', (entry) => entry.startsWith('close'))).toBe(
        'close 1006 no answer to a ping within 40 ms',
      )
      expect(connection.lastPingTime).toBeGreaterThanOrEqual(before)
      expect(connection.lastPingTime).toBeLessThanOrEqual(Date.now())
      expect(connection.lastPongTime).toBe(0)
    })

    it('keeps a client that answers', async () => {
      const { connect, log } = await serve({ pingIntervalMs: 40, pongTimeoutMs: 400 })
      const { connection } = await connect()
      await log.until('three pongs', (all) => all.filter((entry) => entry === 'pong').length >= 3)
      expect(connection.state).toBe('open')
      expect(connection.lastPongTime).toBeGreaterThanOrEqual(connection.lastPingTime - 400)
      expect(connection.lastPongTime).toBeGreaterThan(0)
    })
  })

  describe('a client that does not read', () => {
    const chunk = Buffer.alloc(64 * 1024)
    const flood = async (connection: Connection, more: (accepted: boolean) => boolean) => {
      for (let i = 0; i < 2_000; i++) {
        const numbered = Buffer.from(chunk)
        numbered.writeUInt32BE(i)
        const accepted = connection.sendBinary(numbered)
        if (!more(accepted)) return i
        await turn()
      }
      throw new Error(`2,000 messages were taken, bufferedBytes is ${connection.bufferedBytes}`)
    }

    it('is closed with 1013, and the others receive everything', async () => {
      const { connect, connectRaw, hub, log } = await serve({ maxBufferedBytes: 200_000 })
      const { client: other } = await connect()
      const { client, connection } = await connectRaw()
      client.socket.pause()
      await flood(connection, () => connection.state === 'open')
      expect(connection.sendText('x')).toBe(false)
      hub.broadcast('end')
      expect(await other.upTo('end')).toEqual([])
      client.socket.resume()
      expect(await client.closeFrame()).toEqual({ code: 1013, reason: 'too slow' })
      client.send({ opcode: Opcode.close, payload: Buffer.from([0x03, 0xf5]) })
      await log.first('onClose', (entry) => entry.startsWith('close'))
      expect(log.all.slice(2)).toEqual(['error WSHUB_ERR_SLOW_CONSUMER', 'close 1013'])
    })

    it('loses the newest messages under dropNewest', async () => {
      const { connectRaw } = await serve({ maxBufferedBytes: 200_000, slowConsumer: 'dropNewest' })
      const { client, connection } = await connectRaw()
      client.socket.pause()
      const dropped = await flood(connection, (accepted) => accepted)
      expect(connection.bufferedBytes).toBeLessThanOrEqual(200_000)
      expect(connection.sendPing('never dropped')).toBe(true)
      client.socket.resume()
      await client.frames.first('the ping', ({ opcode }) => opcode === Opcode.ping)
      expect(connection.sendText('end')).toBe(true)
      await client.frames.first('the marker', ({ opcode }) => opcode === Opcode.text)
      const numbers = client.frames.all
        .filter(({ opcode }) => opcode === Opcode.binary)
        .map(({ payload }) => payload.readUInt32BE())
      expect(numbers).toEqual(Array.from({ length: dropped }, (_, i) => i))
    })

    it('loses the oldest messages under dropOldest', async () => {
      const { connectRaw } = await serve({ maxBufferedBytes: 200_000, slowConsumer: 'dropOldest' })
      const { client, connection } = await connectRaw()
      client.socket.pause()
      let fullFor = 0
      const last = await flood(connection, (accepted) => {
        expect(accepted).toBe(true)
        if (connection.bufferedBytes > 130_000) fullFor++
        return fullFor < 20
      })
      client.socket.resume()
      await eventually(
        'the backlog to leave',
        () => connection.bufferedBytes === 0,
        () => connection.bufferedBytes,
      )
      connection.sendText('end')
      await client.frames.first('the marker', ({ opcode }) => opcode === Opcode.text)
      const numbers = client.frames.all
        .filter(({ opcode }) => opcode === Opcode.binary)
        .map(({ payload }) => payload.readUInt32BE())
      expect(numbers.at(-1)).toBe(last)
      expect(numbers.length).toBeLessThan(last + 1)
      expect(numbers).toEqual([...numbers].sort((a, b) => a - b))
    })
  })
})
