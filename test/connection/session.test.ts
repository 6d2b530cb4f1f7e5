import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type WebSocket, WebSocketServer } from 'ws'
import { Hub, type HubOptions } from 'wshub'
import { Meters } from '../../src/base/meters.ts'
import { RunningHandlers } from '../../src/base/running-handlers.ts'
import { CONNECTION_BOUNDS } from '../../src/connection/connection-bounds.ts'
import { ForeignWebSocket } from '../../src/connection/foreign-websocket.ts'
import { Keepalive } from '../../src/connection/keepalive.ts'
import { Session } from '../../src/connection/session.ts'
import { Tally } from '../../src/connection/tally.ts'
import { Delivery } from '../../src/delivery/delivery.ts'
import { OutgoingMessage } from '../../src/delivery/outgoing-message.ts'
import { eventually, handshake, inTime, listen, stop, turn } from '../support/hub-server.ts'

const MIB = 1_048_576

/** A session over a real WebSocket, and the client's TCP socket. */
async function openSession(hubOptions: HubOptions = {}) {
  const hub = new Hub({ maxBufferedBytes: 50 * MIB, ...hubOptions })
  const { options } = hub
  const delivery = new Delivery(options)
  const server = createServer()
  const wss = new WebSocketServer({ server })
  await listen(server)
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1') // the server listens on TCP
  onTestFinished(async () => {
    client.destroy()
    await stop(server)
  })
  client.write(handshake())
  const opened = once(wss, 'connection') as Promise<[WebSocket, { socket: typeof client }]> // as ws documents it
  const [ws, { socket }] = await inTime('the WebSocket to open', opened, () => client.readyState)
  const session = new Session(
    {
      hub,
      options,
      delivery,
      keepalive: new Keepalive(new Set<never>(), options, () => {}),
      tally: new Tally(new Meters(CONNECTION_BOUNDS)),
      running: new RunningHandlers(),
      deferred: new Set(),
      roomsOf: () => new Set<string>(),
      release: () => new Set<string>(),
      resync: () => {},
      report: (error) => expect.fail(String(error)),
    },
    'id',
    {
      ws: new ForeignWebSocket(ws),
      socket,
      remoteAddress: undefined,
      path: undefined,
      windowBits: 15,
      keepsContext: true,
      gate: undefined,
      server,
    },
    {},
    [],
  )
  await session.open()
  return { session, client, delivery }
}

describe('Session', () => {
  describe('#bytesRead', () => {
    it('changes while a client that sends nothing reads what waits for it', async () => {
      const { session, client } = await openSession()
      client.pause()
      for (let i = 0; i < 20; i++) session.sender.send(Buffer.alloc(MIB), undefined)
      for (let i = 0; i < 20; i++) await turn()
      const before = session.bytesRead
      for (let i = 0; i < 20; i++) await turn()
      expect(session.bytesRead).toBe(before)
      const seen = new Set<number>()
      let taken = 0
      client.on('data', ({ length }) => {
        taken += length
      })
      client.resume()
      await eventually(
        'everything to be read',
        () => {
          if (session.bufferedBytes > 0) seen.add(session.bytesRead)
          return taken >= 20 * MIB
        },
        () => ({ taken, waiting: session.bufferedBytes }),
      )
      expect(seen.size).toBeGreaterThan(2)
    })
  })

  describe('#closed', () => {
    it('leaves its shared window, also when messages are queued afterwards', async () => {
      const { session, delivery } = await openSession({ enableCompression: { window: 'shared' } })
      const { windows } = delivery
      if (windows === undefined) throw new Error('the hub has no windows')
      const deliver = () => {
        const message = new OutgoingMessage('a message of a feed', session.options.enableCompression)
        windows.begin(message, 4)
        return session.deliver(message, undefined)
      }
      expect(deliver()).toBe(true)
      expect(windows.bytes).toBeGreaterThan(0)
      expect(deliver()).toBe(true)
      session.closed(1000, '')
      expect(windows.bytes).toBe(0)
      expect(deliver()).toBe(false)
      expect(windows.bytes).toBe(0)
    })
  })
})
