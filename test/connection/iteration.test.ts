import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type WebSocket, WebSocketServer } from 'ws'
import { type Connection, Frame, type FrameInit, Hub, Opcode } from 'wshub'
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
import { gate, iterating, marker, untilItIsStuck } from './iterating.ts'

const masked = (init: FrameInit) => new Frame({ masked: true, ...init }).encode()
const text = (data: string) => masked({ opcode: Opcode.text, payload: Buffer.from(data) })
const goodbye = masked({ opcode: Opcode.close, payload: Buffer.from([0x03, 0xe8]) })

/** Sends several frames in one packet. */
const sendAtOnce = (client: RawClient, ...frames: Buffer[]) => client.socket.write(Buffer.concat(frames))

const messagesIn = ({ log }: HubServer) => log.all.filter((entry) => entry.startsWith('message'))

describe('Connection', () => {
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
