import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type Connection, type EventHandler, Frame, type HubErrorCode, Opcode } from 'wshub'
import type { CallbackName } from '../../src/connection/event-handler.ts'
import { eventually, handshake, hearWarnings, RawClient, serve, turn } from '../support/hub-server.ts'

const hubError = (code: HubErrorCode) => expect.objectContaining({ name: 'HubError', code })

const masked =
  (...bytes: number[]) =>
  (client: RawClient) =>
    client.socket.write(
      Buffer.concat([
        Buffer.from([bytes[0] ?? 0, (bytes[1] ?? 0) | 0x80, 0, 0, 0, 0]),
        Buffer.from(bytes.slice(2)),
      ]),
    )

/** A stack and that of its cause, whose lines begin with functions of this file. */
const STACK_WITH_CAUSE =
  /^TypeError: nobody listens\n +at .*connection\.test\.ts:[\s\S]*\nCaused by: Error: and why\n +at .*connection\.test\.ts:/

describe('Connection', () => {
  describe('#sendText and #sendBinary', () => {
    it('deliver text as text and bytes as binary, in the order of the calls', async () => {
      const { connect, hub } = await serve()
      const { client, connection } = await connect()
      hub.joinRoom(connection, 'tea')
      expect(connection.sendText('1')).toBe(true)
      expect(hub.broadcast('2')).toBe(1)
      expect(connection.sendBinary(new Uint8Array([3]))).toBe(true)
      expect(hub.broadcastToRoom('tea', '4')).toBe(1)
      expect(connection.sendText('5')).toBe(true)
      expect(connection.close(4000, 'bye')).toBe(true)
      expect(await client.closed()).toBe('4000 bye')
      expect(client.received.all).toEqual(['1', '2', '0x03', '4', '5'])
    })

    it('copy the bytes at once', async () => {
      const { connect, hub } = await serve()
      const { client, connection } = await connect()
      const bytes = Buffer.from([1])
      connection.sendBinary(bytes)
      bytes[0] = 2
      hub.broadcast(bytes)
      bytes[0] = 3
      connection.sendText('end')
      expect(await client.upTo('end')).toEqual(['0x01', '0x02'])
    })

    it.each([undefined, null, 1, {}, []])('refuse %o', async (data) => {
      const { connect } = await serve()
      const { connection } = await connect()
      expect(() => connection.sendText(data as never)).toThrow(hubError('WSHUB_ERR_INVALID_PAYLOAD'))
      expect(() => connection.sendBinary(data as never)).toThrow(hubError('WSHUB_ERR_INVALID_PAYLOAD'))
    })

    it('refuse the payload of the other', async () => {
      const { connect } = await serve()
      const { connection } = await connect()
      expect(() => connection.sendText(Buffer.from('x') as never)).toThrow(
        hubError('WSHUB_ERR_INVALID_PAYLOAD'),
      )
      expect(() => connection.sendBinary('x' as never)).toThrow(hubError('WSHUB_ERR_INVALID_PAYLOAD'))
    })
  })

  describe('#sendPing and #sendPong', () => {
    it('send up to 125 bytes, answered by the client', async () => {
      const { connect, log } = await serve()
      const { client, connection } = await connect()
      expect(connection.lastPingTime).toBe(0)
      expect(connection.lastPongTime).toBe(0)
      const before = Date.now()
      expect(connection.sendPing('hi')).toBe(true)
      await log.first('the pong', (entry) => entry === 'pong hi')
      expect(connection.lastPingTime).toBeGreaterThanOrEqual(before)
      expect(connection.lastPongTime).toBeGreaterThanOrEqual(connection.lastPingTime)
      expect(connection.sendPong(Buffer.alloc(125))).toBe(true)
      connection.sendText('end')
      await client.upTo('end')
    })

    it('refuse 126 bytes, also on a closed connection', async () => {
      const { connect } = await serve()
      const { connection } = await connect()
      const long = 'x'.repeat(126)
      expect(() => connection.sendPing(long)).toThrow(hubError('WSHUB_ERR_CONTROL_TOO_LONG'))
      expect(() => connection.sendPong(long)).toThrow(hubError('WSHUB_ERR_CONTROL_TOO_LONG'))
      connection.close()
      expect(() => connection.sendPing(long)).toThrow(hubError('WSHUB_ERR_CONTROL_TOO_LONG'))
    })
  })

  describe('#close', () => {
    it('closes with 1000 and no reason by default, and once', async () => {
      const { connect, log } = await serve()
      const { client, connection } = await connect()
      expect(connection.close()).toBe(true)
      expect(connection.close()).toBe(false)
      expect(connection.state).toBe('closing')
      expect(await client.closed()).toBe('1000')
      await log.first('onClose', (entry) => entry === 'close 1000')
      expect(connection.state).toBe('closed')
      expect(connection.close()).toBe(false)
    })

    it('prevents further sending', async () => {
      const { connect, hub, log } = await serve()
      const { client, connection } = await connect()
      hub.joinRoom(connection, 'tea')
      connection.close()
      const sends = () => [
        connection.sendText('x'),
        connection.sendBinary(Buffer.from('x')),
        connection.sendPing(),
        connection.sendPong(),
        hub.broadcast('x'),
        hub.broadcastToRoom('tea', 'x'),
      ]
      expect(sends()).toEqual([false, false, false, false, 0, 0])
      await client.closed()
      await log.first('onClose', (entry) => entry.startsWith('close'))
      expect(sends()).toEqual([false, false, false, false, 0, 0])
      expect(client.received.all).toEqual([])
    })

    it('delivers no message that arrives afterwards', async () => {
      const { connectRaw, log } = await serve()
      const { client, connection } = await connectRaw()
      connection.close()
      await client.closeFrame()
      client.send({ opcode: Opcode.text, payload: Buffer.from('late') })
      client.send({ opcode: Opcode.close, payload: Buffer.from([0x03, 0xe8]) })
      await log.first('onClose', (entry) => entry.startsWith('close'))
      expect(log.all).toEqual(['open', 'close 1000'])
    })

    it.each([
      [1004, ''],
      [1005, ''],
      [1006, ''],
      [1015, ''],
      [999, ''],
      [2000, ''],
      [5000, ''],
      [1000.5, ''],
      [1000, 'x'.repeat(124)],
      [1000, 'ü'.repeat(62)],
    ])('refuses %d %o and keeps the connection open', async (code, reason) => {
      const { connect } = await serve()
      const { client, connection } = await connect()
      expect(() => connection.close(code, reason)).toThrow(hubError('WSHUB_ERR_INVALID_CLOSE'))
      connection.sendText('end')
      await client.upTo('end')
    })

    it('terminates a client that never answers after closeTimeoutMs', async () => {
      const { connectRaw, log } = await serve({ closeTimeoutMs: 40 })
      const { client, connection } = await connectRaw()
      connection.close()
      await client.hungUp()
      expect(await log.first('onClose', (entry) => entry.startsWith('close'))).toBe('close 1000')
    })
  })

  describe('#terminate', () => {
    it('ends the connection without a close frame', async () => {
      const { connectRaw, log } = await serve()
      const { client, connection } = await connectRaw()
      connection.terminate()
      connection.terminate()
      await client.hungUp()
      await log.first('onClose', (entry) => entry === 'close 1006')
      connection.terminate()
      expect(client.frames.all).toEqual([])
      expect(log.all).toEqual(['open', 'close 1006'])
    })
  })

  describe('#metadata', () => {
    it('is filled before onOpen, and is set and read by key', async () => {
      const seen: unknown[] = []
      const { connect } = await serve(
        {},
        { onOpen: (connection) => seen.push(connection.getMetadata('name')) },
        { metadata: { name: 'ann' } },
      )
      const { connection } = await connect()
      expect(seen).toEqual(['ann'])
      connection.setMetadata('age', 7)
      expect(connection.metadata.get('age')).toBe(7)
      connection.metadata.delete('name')
      expect(connection.getMetadata('name')).toBeUndefined()
      const { connection: other } = await connect()
      expect([...other.metadata]).toEqual([['name', 'ann']])
      expect(other.getMetadata('age')).toBeUndefined()
    })
  })

  describe('onOpen', () => {
    it('runs before the frames that arrived with the handshake, and none is lost', async () => {
      const first = new Frame({ opcode: Opcode.text, payload: Buffer.from('1'), masked: true }).encode()
      const second = new Frame({ opcode: Opcode.binary, payload: Buffer.from([2]), masked: true }).encode()
      const { connectRaw, log } = await serve()
      await connectRaw([], Buffer.concat([first, second]))
      await log.first('the second message', (entry) => entry === 'message 0x02')
      expect(log.all).toEqual(['open', 'message 1', 'message 0x02'])
    })

    it('holds back the messages and the promise while it is pending', async () => {
      let finish = () => {}
      const pending = new Promise<void>((resolve) => {
        finish = resolve
      })
      const { connectRaw, log, upgrades } = await serve({}, { onOpen: () => pending })
      const frame = new Frame({ opcode: Opcode.text, payload: Buffer.from('1'), masked: true }).encode()
      const { client, connection } = await connectRaw([], frame)
      connection.sendText('marker')
      await client.frames.first('the marker', ({ payload }) => payload.toString() === 'marker')
      let settled = false
      void upgrades[0]?.then(() => {
        settled = true
        log.push('settled')
      })
      for (let i = 0; i < 10; i++) await turn()
      expect({ settled, log: log.all }).toEqual({ settled: false, log: ['open'] })
      finish()
      await log.first('the message', (entry) => entry === 'message 1')
      expect(log.all).toEqual(['open', 'settled', 'message 1'])
      expect(await upgrades[0]).toBe(connection)
    })

    it('is reported and ends the connection with 1011 when it does not settle within openTimeoutMs', async () => {
      const { connect, log, upgrades } = await serve(
        { openTimeoutMs: 40 },
        { onOpen: () => new Promise(() => {}) },
      )
      const { client, connection } = await connect()
      expect(await client.closed()).toBe('1011')
      await log.first('onClose', (entry) => entry.startsWith('close'))
      expect(log.all).toEqual(['open', 'error WSHUB_ERR_OPEN_TIMEOUT', 'close 1011'])
      expect(await upgrades[0]).toBe(connection)
    })

    it('does not suppress onClose when it closes the connection and never settles', async () => {
      const { connect, log } = await serve(
        { openTimeoutMs: 40, closeTimeoutMs: 40 },
        {
          onOpen(connection) {
            connection.close()
            return new Promise(() => {})
          },
        },
      )
      const { client } = await connect()
      await client.closed()
      await log.first('onClose', (entry) => entry.startsWith('close'))
    })

    it('settles before onClose runs', async () => {
      let finish = () => {}
      const pending = new Promise<void>((resolve) => {
        finish = resolve
      })
      const { connect, hub, log } = await serve({}, { onOpen: () => pending })
      const { client, connection } = await connect()
      connection.close()
      await client.closed()
      await eventually(
        'the connection to be closed',
        () => hub.size === 0,
        () => log.all,
      )
      expect(log.all).toEqual(['open'])
      log.push('settling')
      finish()
      await log.first('onClose', (entry) => entry.startsWith('close'))
      expect(log.all).toEqual(['open', 'settling', 'close 1000'])
    })
  })

  describe('onClose', () => {
    it.each([
      {
        what: 'the code and the reason of the client',
        code: 4001,
        reason: 'done',
        seen: 'close 4001 done',
      },
      { what: '1005 for an empty close frame', code: undefined, reason: undefined, seen: 'close 1005' },
    ])('gets $what', async ({ code, reason, seen }) => {
      const { connect, log } = await serve()
      const { client } = await connect()
      client.socket.close(code, reason)
      await log.first('onClose', (entry) => entry === seen)
    })

    it('gets 1006 when the TCP connection is reset', async () => {
      const { connectRaw, log } = await serve()
      const { client } = await connectRaw()
      client.socket.resetAndDestroy()
      await log.first('onClose', (entry) => entry === 'close 1006')
      expect(log.all).toEqual(['open', 'close 1006'])
    })

    it('can read the rooms, which no longer have the connection, and receives nothing from them', async () => {
      const seen: unknown[] = []
      const { connect, hub, log } = await serve(
        {},
        {
          onClose(connection) {
            seen.push(
              [...connection.rooms],
              connection.inRoom('tea'),
              hub.roomSize('tea'),
              hub.getConnection(connection.id),
              hub.joinRoom(connection, 'rum'),
              hub.leaveRoom(connection, 'tea'),
              connection.sendText('x'),
              hub.broadcastToRoom('tea', 'x left'),
              connection.state,
              connection.close(),
            )
          },
        },
      )
      const { client, connection } = await connect()
      const { client: other, connection: stays } = await connect()
      hub.joinRoom(connection, ['tea', 'ale'])
      hub.joinRoom(stays, 'tea')
      await client.close()
      await log.first('onClose', (entry) => entry.startsWith('close'))
      expect(seen).toEqual([['tea', 'ale'], true, 1, undefined, false, false, false, 1, 'closed', false])
      await other.received.first('the message', (data) => data === 'x left')
      expect(hub.rooms()).toEqual(['tea'])
    })
  })

  describe('a callback', () => {
    const names: CallbackName[] = ['onOpen', 'onMessage', 'onClose', 'onError', 'onPing', 'onPong']
    const ways = [
      {
        way: 'throws an Error',
        fail: (error: unknown) => {
          throw error
        },
        thrown: new Error('broken'),
      },
      {
        way: 'rejects with an Error',
        fail: (error: unknown) => Promise.reject(error),
        thrown: new Error('broken'),
      },
      {
        way: 'throws a string',
        fail: (error: unknown) => {
          throw error
        },
        thrown: 'broken',
      },
      { way: 'rejects with undefined', fail: (error: unknown) => Promise.reject(error), thrown: undefined },
    ]
    describe.each(ways)('that $way', ({ fail, thrown }) => {
      it.each(names)('in %s is reported once, and the process keeps running', async (name) => {
        const reported: unknown[] = []
        const handler: EventHandler = { [name]: () => fail(thrown) }
        if (name !== 'onError') handler.onError = (_connection, error) => reported.push(error)
        const { connect, log } = await serve({ onError: (error) => reported.push(error) }, handler)
        const { client } = await connect()
        if (name === 'onMessage') client.socket.send('x')
        if (name === 'onPing') client.socket.ping()
        if (name === 'onPong') client.socket.pong()
        if (name === 'onClose') client.socket.close(1000)
        if (name === 'onError') client.socket.send(Buffer.alloc(65_537))
        const code = await client.closed()
        expect(code).toBe(name === 'onClose' ? '1000' : name === 'onError' ? '1009' : '1011')
        await log.first('onClose', (entry) => entry.startsWith('close'))
        await eventually(
          'the report',
          () => reported.length > 0,
          () => log.all,
        )
        expect(reported).toHaveLength(1)
        expect(reported[0]).toEqual(
          thrown instanceof Error
            ? thrown
            : expect.objectContaining({ code: 'WSHUB_ERR_HANDLER_THREW', cause: thrown }),
        )
        expect(log.all.filter((entry) => entry.startsWith('close'))).toHaveLength(1)
        await connect()
      })
    })

    it('causes one warning for an error that clients can repeat at will', async () => {
      const warnings = hearWarnings()
      const { connect } = await serve({ maxMessageSize: 10 }, {}, { withoutOnError: true })
      for (let i = 0; i < 3; i++) {
        const { client } = await connect()
        client.socket.send('more than ten bytes')
        expect(await client.closed()).toBe('1009')
      }
      expect(warnings.all).toEqual([
        expect.objectContaining({ code: 'WSHUB_ERR_MESSAGE_TOO_BIG', detail: undefined }),
      ])
    })

    it('causes a process warning with stack, connection and path when it fails and there is no onError', async () => {
      const warnings = hearWarnings()
      const { port, connections } = await serve(
        {},
        {
          onMessage() {
            throw new TypeError('nobody listens', { cause: new Error('and why') })
          },
        },
        { withoutOnError: true },
      )
      const client = new RawClient(port)
      client.socket.write(handshake([], 'GET /chat/tea?token=secret HTTP/1.1'))
      client.send({ opcode: Opcode.text })
      expect((await client.closeFrame()).code).toBe(1011)
      const warning = await warnings.first('the warning', () => true)
      const [connection] = connections
      expect(warning.message).toBe(
        `onMessage of connection ${connection?.id} (/chat/tea) failed: nobody listens`,
      )
      expect(warning.cause).toMatchObject({ message: 'nobody listens' })
      expect(warning).toMatchObject({ name: 'HubWarning', detail: expect.stringMatching(STACK_WITH_CAUSE) })
    })

    it('causes a warning with the thrown value when that is no Error', async () => {
      const warnings = hearWarnings()
      const { connect } = await serve({}, { onPing: () => Promise.reject('odd') }, { withoutOnError: true })
      const { client, connection } = await connect()
      client.socket.ping()
      expect(await client.closed()).toBe('1011')
      const warning = await warnings.first('the warning', () => true)
      expect(warning).toMatchObject({
        message: `onPing of connection ${connection.id} (/) failed: onPing threw "odd"`,
        code: 'WSHUB_ERR_HANDLER_THREW',
        detail: undefined, // a stack would be the hub's
      })
    })

    it('causes a warning when options.onError fails too', async () => {
      const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
      onTestFinished(() => warn.mockRestore())
      const { connect } = await serve(
        {
          onError() {
            throw new Error('third')
          },
        },
        {
          onMessage() {
            throw new Error('first')
          },
          onError() {
            throw new Error('second')
          },
        },
      )
      const { client } = await connect()
      client.socket.send('x')
      expect(await client.closed()).toBe('1011')
      expect(warn.mock.calls.map(([warning]) => warning)).toEqual([
        expect.objectContaining({ cause: expect.objectContaining({ message: 'third' }) }),
      ])
    })

    it('may close, leave rooms and broadcast to the room it leaves', async () => {
      const { connect, hub, log } = await serve(
        {},
        {
          onMessage(connection) {
            connection.hub.broadcastToRoom('tea', 'both')
            connection.hub.leaveRoom(connection, 'tea')
            connection.hub.broadcastToRoom('tea', 'one')
            connection.close(4000)
            connection.close(4001)
            connection.hub.broadcastToRoom('tea', 'end')
          },
        },
      )
      const { client, connection } = await connect()
      const { client: other, connection: stays } = await connect()
      hub.joinRoom(connection, 'tea')
      hub.joinRoom(stays, 'tea')
      client.socket.send('go')
      expect(await client.closed()).toBe('4000')
      expect(client.received.all).toEqual(['both'])
      expect(await other.upTo('end')).toEqual(['both', 'one'])
      await log.first('onClose', (entry) => entry === 'close 4000')
    })
  })

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
