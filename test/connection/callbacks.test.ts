import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type EventHandler, Frame, Opcode } from 'wshub'
import type { CallbackName } from '../../src/connection/event-handler.ts'
import { eventually, handshake, RawClient, recordWarnings, serve, turn } from '../support/hub-server.ts'

/** A stack and that of its cause, whose lines begin with functions of this file. */
const STACK_WITH_CAUSE =
  /^TypeError: nobody listens\n +at .*callbacks\.test\.ts:[\s\S]*\nCaused by: Error: and why\n +at .*callbacks\.test\.ts:/

describe('Connection', () => {
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
      const warnings = recordWarnings()
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
      const warnings = recordWarnings()
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
      const warnings = recordWarnings()
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
})
