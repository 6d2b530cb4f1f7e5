import { describe, expect, it } from 'vitest'
import { type Connection, Frame, type FrameInit, Opcode } from 'wshub'
import { isHttp2 } from '../support/http2-tunnel.ts'
import { eventually, type HubServer, type RawClient, serve, turn } from '../support/hub-server.ts'
import { gate, iterating, marker, untilItIsStuck } from './iterating.ts'

const masked = (init: FrameInit) => new Frame({ masked: true, ...init }).encode()
const text = (data: string) => masked({ opcode: Opcode.text, payload: Buffer.from(data) })
const goodbye = masked({ opcode: Opcode.close, payload: Buffer.from([0x03, 0xe8]) })

/** Sends several frames in one packet. */
const sendAtOnce = (client: RawClient, ...frames: Buffer[]) => client.socket.write(Buffer.concat(frames))

const messagesIn = ({ log }: HubServer) => log.all.filter((entry) => entry.startsWith('message'))

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
              expect(connection.state).toBe(isHttp2 ? 'closed' : 'closing') // a stream ends in one piece
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
})
