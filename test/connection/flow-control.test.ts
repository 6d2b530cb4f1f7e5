import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type WebSocket, WebSocketServer } from 'ws'
import { type Connection, Frame, type FrameInit, Hub, type Message, Opcode } from 'wshub'
import {
  Client,
  eventually,
  type HubServer,
  inTime,
  Journal,
  RawClient,
  serve,
  thrownBy,
  turn,
} from '../support/hub-server.ts'

const masked = (init: FrameInit) => new Frame({ masked: true, ...init }).encode()
const text = (data: string) => masked({ opcode: Opcode.text, payload: Buffer.from(data) })
const goodbye = masked({ opcode: Opcode.close, payload: Buffer.from([0x03, 0xe8]) })

/** Sends several frames in one packet. */
const sendAtOnce = (client: RawClient, ...frames: Buffer[]) => client.socket.write(Buffer.concat(frames))

const messagesIn = ({ log }: HubServer) => log.all.filter((entry) => entry.startsWith('message'))

/** Proves that no more messages are delivered: a message that another client sends later is. */
async function marker(served: HubServer): Promise<void> {
  const { client } = await served.connect()
  client.socket.send('marker')
  await served.log.first('the marker', (entry) => entry === 'message marker')
  served.log.all.splice(served.log.all.indexOf('message marker'), 1)
  await client.close()
}

/** Iterates over a connection and records each step. */
function iterating(connection: Connection, each: (message: Message) => unknown = () => {}) {
  const seen = new Journal<string>()
  const loop = async () => {
    try {
      for await (const message of connection) {
        seen.push(message.type === 'text' ? message.data : `0x${message.data.toString('hex')}`)
        await each(message)
      }
      seen.push('end')
    } catch (error) {
      seen.push(`threw ${error}`)
    }
  }
  void loop()
  return seen
}

/**
 * Sends more than fits into the buffers of a server that does not read, so that the end after it is not
 * noticed.
 */
async function overfill(client: RawClient, connection: Connection): Promise<void> {
  const some = Buffer.concat(Array.from({ length: 1_000 }, (_, i) => text(String(i).padEnd(100, '.'))))
  await eventually(
    'the buffers to be full',
    () => {
      if (client.socket.writableLength === 0) client.socket.write(some)
      return client.socket.writableNeedDrain && client.socket.writableLength > 0
    },
    () => connection,
  )
}

/** A promise that the test resolves. */
function gate() {
  let open = () => {}
  const passed = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open, passed }
}

describe('Connection', () => {
  describe('#pause and #resume', () => {
    it('hold messages back, also those of the same packet, and deliver them in order', async () => {
      const served = await serve(
        {},
        {
          onMessage(connection, { data }) {
            if (data === '1') connection.pause()
          },
        },
      )
      const { client, connection } = await served.connectRaw()
      sendAtOnce(client, text('1'), text('2'), text('3'))
      await served.log.first('the first message', (entry) => entry === 'message 1')
      sendAtOnce(client, text('4'), text('5'))
      await marker(served)
      expect(messagesIn(served)).toEqual(['message 1'])
      connection.resume()
      connection.resume()
      await served.log.first('the last message', (entry) => entry === 'message 5')
      expect(messagesIn(served)).toEqual(['1', '2', '3', '4', '5'].map((data) => `message ${data}`))
      sendAtOnce(client, text('6'))
      await served.log.first('another message', (entry) => entry === 'message 6')
    })

    it.each([
      { what: 'in onOpen', onOpen: (connection: Connection) => connection.pause() },
      {
        what: 'in an async onOpen',
        onOpen: async (connection: Connection) => {
          await turn()
          connection.pause()
          await turn()
        },
      },
      {
        what: 'twice in onOpen',
        onOpen: (connection: Connection) => {
          connection.pause()
          connection.resume()
          connection.pause()
        },
      },
    ])('$what stay after it', async ({ onOpen }) => {
      const served = await serve(
        {},
        { onOpen: (connection) => (served.connections.length === 1 ? onOpen(connection) : undefined) },
      )
      const { connection } = await served.connectRaw([], Buffer.concat([text('1'), text('2')]))
      await served.upgrades[0]
      await marker(served)
      expect(messagesIn(served)).toEqual([])
      connection.resume()
      await served.log.first('the last message', (entry) => entry === 'message 2')
      expect(messagesIn(served)).toEqual(['message 1', 'message 2'])
    })

    it('do not resume reading before an async onOpen has settled', async () => {
      const { open, passed } = gate()
      const served = await serve(
        {},
        {
          onOpen(connection) {
            if (served.connections.length > 1) return
            connection.pause()
            connection.resume()
            return passed
          },
        },
      )
      await served.connectRaw([], text('1'))
      await marker(served)
      expect(messagesIn(served)).toEqual([])
      open()
      await served.log.first('the message', (entry) => entry === 'message 1')
    })

    it.each([false, true])('lose nothing of 500 messages, compressed: %o', async (perMessageDeflate) => {
      let count = 0
      const { connect, log } = await serve(
        { enableCompression: perMessageDeflate },
        {
          onMessage(connection) {
            if (++count % 7 === 0) {
              connection.pause()
              setImmediate(() => connection.resume())
            }
          },
        },
      )
      const { client } = await connect({ perMessageDeflate: perMessageDeflate && { threshold: 0 } })
      for (let i = 0; i < 500; i++) client.socket.send(String(i).padEnd(200, '.'))
      client.socket.close(1000)
      await log.first('onClose', (entry) => entry === 'close 1000')
      const numbers = log.all
        .filter((entry) => entry.startsWith('message'))
        .map((entry) => Number.parseInt(entry.slice('message '.length), 10))
      expect(numbers).toEqual(Array.from({ length: 500 }, (_, i) => i))
    })

    it('make the client wait, which is not read any further', async () => {
      const { connectRaw, log } = await serve()
      const { client, connection, serverSocket } = await connectRaw()
      connection.pause()
      for (let i = 0; i < 1_000; i++) {
        client.send({ opcode: Opcode.binary, payload: Buffer.alloc(32_768, i) })
      }
      await untilItIsStuck(client, serverSocket)
      connection.resume()
      await log.until('all messages', (all) => all.length === 1_001)
    })

    it('deliver waiting messages before onClose when the client closes', async () => {
      const served = await serve({}, { onMessage: (connection) => connection.pause() })
      const { client } = await served.connectRaw()
      sendAtOnce(client, text('1'), text('2'), goodbye)
      await served.log.first('onClose', (entry) => entry.startsWith('close'))
      expect(served.log.all).toEqual(['open', 'message 1', 'message 2', 'close 1000'])
    })

    it('do not delay the end of a connection that the client has closed', async () => {
      const { connectRaw, log } = await serve(
        {},
        {
          onMessage: (connection) => {
            setImmediate(() => {
              expect(connection.state).toBe('closing')
              connection.pause()
            })
          },
        },
      )
      const { client } = await connectRaw()
      sendAtOnce(client, text('1'), goodbye)
      expect((await client.closeFrame()).code).toBe(1000)
      await log.first('onClose', (entry) => entry === 'close 1000')
    })

    it('do nothing on a closed connection', async () => {
      const { connect, log } = await serve()
      const { client, connection } = await connect()
      connection.pause()
      connection.close()
      connection.pause()
      expect(await client.closed()).toBe('1000')
      await log.first('onClose', (entry) => entry === 'close 1000')
      connection.pause()
      connection.resume()
    })

    it('deliver no more messages once the hub closes the connection', async () => {
      const served = await serve({}, { onMessage: (connection) => connection.pause() })
      const { client, connection } = await served.connectRaw()
      sendAtOnce(client, text('1'), text('2'))
      await served.log.first('the first message', (entry) => entry === 'message 1')
      connection.close()
      connection.resume()
      await client.closeFrame()
      client.socket.write(goodbye)
      await served.log.first('onClose', (entry) => entry === 'close 1000')
      expect(messagesIn(served)).toEqual(['message 1'])
    })

    it('still let a client that reads too slowly answer the close frame', async () => {
      const { connectRaw, log } = await serve({ maxBufferedBytes: 100_000 })
      const { client, connection } = await connectRaw()
      connection.pause()
      client.socket.pause()
      const chunk = Buffer.alloc(65_536)
      for (let i = 0; connection.state === 'open'; i++) {
        expect(i).toBeLessThan(2_000)
        connection.sendBinary(chunk)
        await turn()
      }
      client.socket.resume()
      expect((await client.closeFrame()).code).toBe(1013)
      client.send({ opcode: Opcode.close, payload: Buffer.from([0x03, 0xf5]) })
      await log.first('onClose', (entry) => entry === 'close 1013')
    })

    it('keep a client from timing out that is not read, and so cannot answer a ping', async () => {
      const { connect, log } = await serve({ pingIntervalMs: 40, pongTimeoutMs: 40 })
      const { connection: paused } = await connect({ autoPong: false })
      paused.pause()
      await connect({ autoPong: false })
      // The other connection, which was opened later, was pinged and timed out meanwhile.
      await log.first('onClose', (entry) => entry.startsWith('close'))
      await eventually(
        'a ping',
        () => paused.lastPingTime > 0,
        () => paused,
      )
      expect(paused.state).toBe('open')
      paused.resume()
      await log.until(
        'it to time out too',
        (all) => all.filter((entry) => entry.startsWith('close')).length === 2,
      )
    })
  })

  describe.each([
    ['resets', (client: RawClient) => client.socket.resetAndDestroy()],
    ['closes its socket without a close frame', (client: RawClient) => client.socket.destroy()],
  ])('a client that %s while it is not read', (_what, leave) => {
    it('frees its slot and rooms while an iteration continues with the messages that were read', async () => {
      const { connectRaw, hub, log } = await serve({ pingIntervalMs: 40 })
      const { client, connection } = await connectRaw()
      hub.joinRoom(connection, 'tea')
      const { open, passed } = gate()
      const seen = iterating(connection, () => passed)
      await overfill(client, connection)
      await seen.first('a message', () => true)
      leave(client)
      await log.first('onClose', (entry) => entry === 'close 1006')
      expect([hub.size, hub.rooms(), seen.all.length]).toEqual([0, [], 1])
      open()
      await seen.first('the end', (entry) => entry === 'end')
      expect(seen.all.length).toBeGreaterThan(2)
    })

    it('ends a pause during which nothing of it could be read', async () => {
      const { connectRaw, hub, log } = await serve({ pingIntervalMs: 40 })
      const { client, connection } = await connectRaw()
      connection.pause()
      await overfill(client, connection)
      leave(client)
      await log.first('onClose', (entry) => entry === 'close 1006')
      expect(hub.size).toBe(0)
    })
  })

  describe('#[Symbol.asyncIterator]', () => {
    it('yields text as text and bytes as bytes, and ends when the client closes, after its messages', async () => {
      const served = await serve()
      const { client, connection } = await served.connectRaw()
      const seen = iterating(connection)
      sendAtOnce(client, text('1'), masked({ opcode: Opcode.binary, payload: Buffer.from([2]) }))
      await seen.first('the binary message', (entry) => entry === '0x02')
      sendAtOnce(client, text('3'), text('4'), goodbye)
      await seen.first('the end', (entry) => entry === 'end')
      expect(seen.all).toEqual(['1', '0x02', '3', '4', 'end'])
      await served.log.first('onClose', (entry) => entry === 'close 1000')
      expect(messagesIn(served)).toEqual([])
    })

    it('yields messages that arrived with the handshake when it starts in onOpen or after the upgrade', async () => {
      for (const where of ['onOpen', 'after'] as const) {
        const seen: Journal<string>[] = []
        const served = await serve(
          {},
          {
            onOpen(connection) {
              if (where === 'onOpen') seen.push(iterating(connection))
            },
          },
          {
            before: () => {
              setImmediate(async () => {
                const connection = await served.upgrades[0]
                if (where === 'after' && connection !== undefined) seen.push(iterating(connection))
              })
            },
          },
        )
        await served.connectRaw([], Buffer.concat([text('1'), text('2')]))
        await eventually(
          'the iteration',
          () => seen.length > 0,
          () => served.log.all,
        )
        await seen[0]?.first('the second message', (entry) => entry === '2')
        expect({ where, seen: seen[0]?.all, byHandler: messagesIn(served) }).toEqual({
          where,
          seen: ['1', '2'],
          byHandler: [],
        })
      }
    })

    it('reads from the client only as fast as the loop runs', async () => {
      const { open, passed } = gate()
      const { connectRaw } = await serve()
      const { client, connection, serverSocket } = await connectRaw()
      const numbers: number[] = []
      const seen = iterating(connection, ({ data }) => {
        numbers.push(Buffer.from(data).readUInt32BE())
        return passed
      })
      for (let i = 0; i < 1_000; i++) {
        const payload = Buffer.alloc(32_768)
        payload.writeUInt32BE(i)
        client.send({ opcode: Opcode.binary, payload })
      }
      await untilItIsStuck(client, serverSocket)
      expect(numbers).toEqual([0])
      open()
      client.socket.write(goodbye)
      await seen.first('the end', (entry) => entry === 'end')
      expect(numbers).toEqual(Array.from({ length: 1_000 }, (_, i) => i))
    })

    it('ends at once when the connection is closed from this side', async () => {
      const { connectRaw, log } = await serve()
      const { client, connection } = await connectRaw()
      const seen = iterating(connection, () => connection.close(4000))
      sendAtOnce(client, text('1'), text('2'))
      await seen.first('the end', (entry) => entry === 'end')
      expect(seen.all).toEqual(['1', 'end'])
      expect((await client.closeFrame()).code).toBe(4000)
      client.socket.write(goodbye)
      await log.first('onClose', (entry) => entry === 'close 1000')
    })

    it.each([
      { what: 'closed', end: (_client: RawClient, connection: Connection) => connection.close() },
      { what: 'terminated', end: (_client: RawClient, connection: Connection) => connection.terminate() },
      { what: 'reset by the client', end: (client: RawClient) => client.socket.resetAndDestroy() },
    ])('ends a loop that waits when the connection is $what', async ({ end }) => {
      const { connectRaw } = await serve()
      const { client, connection } = await connectRaw()
      const seen = iterating(connection)
      sendAtOnce(client, text('1'))
      await seen.first('the message', (entry) => entry === '1')
      await turn()
      end(client, connection)
      await seen.first('the end', (entry) => entry === 'end')
      expect(seen.all).toEqual(['1', 'end'])
    })

    it('leaves the remaining messages to onMessage when the loop ends early, and resumes reading', async () => {
      const served = await serve()
      const { client, connection } = await served.connectRaw()
      sendAtOnce(client, text('1'), text('2'), text('3'))
      const first = async () => {
        for await (const { data } of connection) return data
      }
      expect(await inTime('the first message', first(), () => served.log.all)).toBe('1')
      sendAtOnce(client, text('4'))
      await served.log.first('the last message', (entry) => entry === 'message 4')
      expect(messagesIn(served)).toEqual(['message 2', 'message 3', 'message 4'])
    })

    it.each([
      { what: 'is all of', before: async () => {} },
      { what: 'comes later in', before: turn },
    ])('that $what an async onOpen neither waits for it nor exceeds openTimeoutMs', async ({ before }) => {
      const { connect, connections, log, hub, upgrades } = await serve(
        { openTimeoutMs: 40 },
        {
          async onOpen(connection) {
            if (connections.length > 1) return new Promise(() => {})
            if (before === turn) await before()
            for await (const { data } of connection) connection.sendText(`echo ${data}`)
            log.push('onOpen is over')
          },
        },
      )
      const { client, connection } = await connect()
      expect(await upgrades[0]).toBe(connection)
      client.socket.send('1')
      await client.received.first('the echo', (data) => data === 'echo 1')
      // The timeout of a connection that was opened later has passed.
      const { client: other } = await connect()
      expect(await other.closed()).toBe('1011')
      client.socket.send('2')
      await client.received.first('the echo', (data) => data === 'echo 2')
      expect(await hub.close({ timeoutMs: 5_000 })).toEqual({ closed: 1, terminated: 0 })
      expect(await client.closed()).toBe('1001')
      await log.first('the end of onOpen', (entry) => entry === 'onOpen is over')
      expect(log.all.filter((entry) => entry.startsWith('error'))).toEqual(['error WSHUB_ERR_OPEN_TIMEOUT'])
    })

    it('is refused while another iteration runs, and accepted when that has ended', async () => {
      const { connectRaw } = await serve()
      const { client, connection } = await connectRaw()
      const { open, passed } = gate()
      const once = async () => {
        for await (const { data } of connection) {
          await passed
          return data
        }
      }
      const first = once()
      const refused = expect.objectContaining({ code: 'WSHUB_ERR_ALREADY_ITERATED' })
      expect(thrownBy(() => connection[Symbol.asyncIterator]())).toEqual(refused)
      sendAtOnce(client, text('1'), text('2'))
      expect(thrownBy(() => connection[Symbol.asyncIterator]())).toEqual(refused)
      open()
      expect(await first).toBe('1')
      expect(await once()).toBe('2')
    })

    it.each(['close', 'terminate'] as const)('ends at once after %s', async (end) => {
      const { connect, log } = await serve()
      const { connection } = await connect()
      connection[end]()
      const during = iterating(connection)
      await during.first('the end', (entry) => entry === 'end')
      await log.first('onClose', (entry) => entry.startsWith('close'))
      const after = iterating(connection)
      await after.first('the end', (entry) => entry === 'end')
      expect([during.all, after.all]).toEqual([['end'], ['end']])
    })

    it('leaves an error of the loop to the application, and later messages to onMessage', async () => {
      const served = await serve()
      const { client, connection } = await served.connectRaw()
      const seen = iterating(connection, () => {
        throw new Error('broken')
      })
      sendAtOnce(client, text('1'), text('2'))
      await seen.first('the throw', (entry) => entry === 'threw Error: broken')
      await served.log.first('the second message', (entry) => entry === 'message 2')
      expect({ seen: seen.all, errors: served.errors, state: connection.state }).toEqual({
        seen: ['1', 'threw Error: broken'],
        errors: [],
        state: 'open',
      })
    })

    it('ends the connection like any callback when it throws in onOpen', async () => {
      const { connectRaw, errors, log } = await serve(
        {},
        {
          async onOpen(connection) {
            for await (const { data } of connection) throw new Error(`broken by ${data}`)
          },
        },
      )
      const { client } = await connectRaw([], text('1'))
      expect((await client.closeFrame()).code).toBe(1011)
      expect(errors).toEqual([expect.objectContaining({ message: 'broken by 1' })])
      client.socket.write(goodbye)
      await log.first('onClose', (entry) => entry.startsWith('close'))
    })

    it('waits while the connection is paused', async () => {
      const served = await serve()
      const { client, connection } = await served.connectRaw()
      connection.pause()
      const seen = iterating(connection)
      sendAtOnce(client, text('1'))
      await marker(served)
      expect(seen.all).toEqual([])
      connection.resume()
      await seen.first('the message', (entry) => entry === '1')
    })
  })

  describe('of a WebSocket that was opened elsewhere', () => {
    async function elsewhere(listener: (socket: WebSocket) => void) {
      const wss = new WebSocketServer({ port: 0, host: '127.0.0.1' })
      wss.on('connection', listener)
      await inTime('the server to listen', once(wss, 'listening'), () => wss.address())
      onTestFinished(() => {
        for (const client of wss.clients) client.terminate()
        wss.close()
      })
      return `ws://127.0.0.1:${(wss.address() as AddressInfo).port}` // the server listens on TCP
    }

    it('is iterated and paused in the same way', async () => {
      const hub = new Hub()
      onTestFinished(() => hub.close({ timeoutMs: 50 }).then(() => {}))
      const connections = new Journal<Connection>()
      const url = await elsewhere((socket) => connections.push(hub.register(socket, {})))
      const client = await Client.open(url)
      const seen = iterating(await connections.first('the connection', () => true), ({ data }) =>
        data === '3' ? client.socket.close(1000) : undefined,
      )
      for (const data of ['1', '2', '3']) client.socket.send(data)
      await seen.first('the end', (entry) => entry === 'end')
      expect(seen.all).toEqual(['1', '2', '3', 'end'])
    })

    it('holds back messages from the middle of a packet while onOpen is pending', async () => {
      const hub = new Hub()
      onTestFinished(() => hub.close({ timeoutMs: 50 }).then(() => {}))
      const log = new Journal<string>()
      const { open, passed } = gate()
      const url = await elsewhere((socket) => {
        socket.once('message', () => {
          hub.register(socket, {
            onOpen: () => passed.then(() => log.push('opened')),
            onMessage: (_connection, { data }) => log.push(`message ${data}`),
          })
        })
      })
      const client = await RawClient.open(Number(new URL(url).port))
      sendAtOnce(client, text('first'), text('1'), text('2'))
      await eventually(
        'it to be registered',
        () => hub.size === 1,
        () => log.all,
      )
      for (let i = 0; i < 5; i++) await turn()
      log.push('opening')
      open()
      await log.first('the last message', (entry) => entry === 'message 2')
      expect(log.all).toEqual(['opening', 'opened', 'message 1', 'message 2'])
    })
  })
})

/** Waits until the server has stopped reading from a client that has more to send. */
async function untilItIsStuck(client: RawClient, serverSocket: Socket): Promise<void> {
  let bytesRead = -1
  let unchanged = 0
  await eventually(
    'the client to be blocked',
    () => {
      unchanged = serverSocket.bytesRead === bytesRead && client.socket.writableLength > 0 ? unchanged + 1 : 0
      bytesRead = serverSocket.bytesRead
      return unchanged === 100
    },
    () => ({ bytesRead, writableLength: client.socket.writableLength }),
  )
  // One read of the socket, of 32 MB that were sent.
  expect(bytesRead).toBeLessThan(200_000)
}
