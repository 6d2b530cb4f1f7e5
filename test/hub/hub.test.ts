import { hasSubscribers } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { type Connection, Hub, type HubErrorCode } from 'wshub'
import { Client, eventually, inTime, Journal, serve, turn } from '../support/hub-server.ts'

const hubError = (code: HubErrorCode) => expect.objectContaining({ name: 'HubError', code })

async function three() {
  const served = await serve()
  const a = await served.connect()
  const b = await served.connect()
  const c = await served.connect()
  served.hub.joinRoom(a.connection, ['tea', 'rum'])
  served.hub.joinRoom(b.connection, 'tea')
  served.hub.joinRoom(c.connection, 'rum')
  const heard = async () => {
    served.hub.broadcast('end')
    return Promise.all([a, b, c].map(({ client }) => client.upTo('end')))
  }
  return { ...served, a, b, c, heard }
}

async function elsewhere() {
  const wss = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  const sockets = new Journal<WebSocket>()
  wss.on('connection', (socket) => sockets.push(socket))
  await inTime('the server to listen', once(wss, 'listening'), () => wss.address())
  onTestFinished(() => {
    for (const client of wss.clients) client.terminate()
    wss.close()
  })
  const { port } = wss.address() as AddressInfo // the server listens on TCP
  return { url: `ws://127.0.0.1:${port}`, sockets, wss }
}

describe('Hub', () => {
  describe('#broadcast', () => {
    it('reaches everyone and counts them', async () => {
      const { hub, heard } = await three()
      expect(hub.broadcast('x')).toBe(3)
      expect(hub.broadcast(new Uint8Array([1]).buffer)).toBe(3)
      expect(await heard()).toEqual([
        ['x', '0x01'],
        ['x', '0x01'],
        ['x', '0x01'],
      ])
    })

    it.each([{}, [], 1, null, undefined])('refuses %o, also in an empty room', (data) => {
      const hub = new Hub()
      expect(() => hub.broadcast(data as never)).toThrow(hubError('WSHUB_ERR_INVALID_PAYLOAD'))
      expect(() => hub.broadcastToRoom('none', data as never)).toThrow(hubError('WSHUB_ERR_INVALID_PAYLOAD'))
    })
  })

  describe('#broadcastExcept', () => {
    it('skips the excluded connection', async () => {
      const { hub, a, heard } = await three()
      expect(hub.broadcastExcept('x', a.connection.id)).toBe(2)
      expect(hub.broadcastExcept('y', 'nobody.0')).toBe(3)
      expect(await heard()).toEqual([['y'], ['x', 'y'], ['x', 'y']])
    })
  })

  describe('#broadcastToRoom', () => {
    it('reaches the members of the room', async () => {
      const { hub, heard } = await three()
      expect(hub.broadcastToRoom('tea', 'x')).toBe(2)
      expect(hub.broadcastToRoom('none', 'y')).toBe(0)
      expect(await heard()).toEqual([['x'], ['x'], []])
    })

    it('reaches the union of several rooms, each member once', async () => {
      const { hub, heard } = await three()
      expect(hub.broadcastToRoom(['tea', 'rum', 'tea'], 'x')).toBe(3)
      expect(hub.broadcastToRoom([], 'y')).toBe(0)
      expect(await heard()).toEqual([['x'], ['x'], ['x']])
    })
  })

  describe('#broadcastToRoomExcept', () => {
    it('skips the excluded connection', async () => {
      const { hub, a, heard } = await three()
      expect(hub.broadcastToRoomExcept('tea', 'x', a.connection.id)).toBe(1)
      expect(hub.broadcastToRoomExcept(['tea', 'rum'], 'y', a.connection.id)).toBe(2)
      expect(await heard()).toEqual([[], ['x', 'y'], ['y']])
    })
  })

  describe('rooms', () => {
    it('are joined, left, counted and listed', async () => {
      const { hub, a, b, c } = await three()
      expect(hub.rooms().sort()).toEqual(['rum', 'tea'])
      expect(hub.roomSize('tea')).toBe(2)
      expect(hub.roomSize(['tea', 'rum'])).toBe(3)
      expect(hub.members(['tea', 'rum'])).toEqual([a.connection, b.connection, c.connection])
      expect(hub.leaveRoom(a.connection, ['tea', 'none'])).toBe(true)
      expect(hub.leaveRoom(a.connection, 'tea')).toBe(false)
      expect([...a.connection.rooms]).toEqual(['rum'])
      expect(hub.getConnection(b.connection.id)).toBe(b.connection)
      expect(hub.connections()).toHaveLength(hub.size)
    })

    it.each(['', 1, null, [''], ['tea', 7], {}])('refuse the name %o', async (room) => {
      const { hub, connect } = await serve()
      const { connection } = await connect()
      for (const call of [
        () => hub.joinRoom(connection, room as never),
        () => hub.leaveRoom(connection, room as never),
        () => hub.roomSize(room as never),
        () => hub.members(room as never),
        () => hub.broadcastToRoom(room as never, 'x'),
        () => hub.broadcastToRoomExcept(room as never, 'x', 'y'),
      ]) {
        expect(call).toThrow(hubError('WSHUB_ERR_INVALID_ROOM'))
      }
      expect(hub.rooms()).toEqual([])
    })

    it('refuse a connection of another hub', async () => {
      const { connect } = await serve()
      const { connection } = await connect()
      const other = new Hub()
      expect(() => other.joinRoom(connection, 'tea')).toThrow(hubError('WSHUB_ERR_FOREIGN_CONNECTION'))
      expect(() => other.leaveRoom(connection, 'tea')).toThrow(hubError('WSHUB_ERR_FOREIGN_CONNECTION'))
    })
  })

  describe('#close', () => {
    it('closes all with 1001 after everything sent to them, and leaves nothing', async () => {
      const before = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
      const { hub, server, connect, log } = await serve()
      const detach = hub.attach()
      expect(hasSubscribers('net.server.socket')).toBe(true)
      const { client } = await connect()
      hub.broadcast('last')
      const closing = hub.close()
      expect(hub.state).toBe('closing')
      expect(hub.close({ code: 4000 })).toBe(closing)
      expect(await client.closed()).toBe('1001')
      expect(client.received.all).toEqual(['last'])
      expect(await closing).toEqual({ closed: 1, terminated: 0 })
      expect(log.all.at(-1)).toBe('close 1001')
      expect({ state: hub.state, size: hub.size }).toEqual({ state: 'closed', size: 0 })
      expect(server.listenerCount('upgrade')).toBe(0)
      expect(hasSubscribers('net.server.socket')).toBe(false)
      detach()
      await eventually(
        'the timers to be gone',
        () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length <= before + 1,
        () => process.getActiveResourcesInfo(),
      )
    })

    it('terminates connections that do not answer after timeoutMs', async () => {
      const { hub, connectRaw, log } = await serve()
      const { client } = await connectRaw()
      expect(await hub.close({ code: 1012, reason: 'update', timeoutMs: 40 })).toEqual({
        closed: 0,
        terminated: 1,
      })
      expect(await client.closeFrame()).toEqual({ code: 1012, reason: 'update' })
      await client.hungUp()
      await log.first('onClose', (entry) => entry === 'close 1012 update')
    })

    it('waits for an async onClose', async () => {
      const order = new Journal<string>()
      let finish = () => {}
      const pending = new Promise<void>((resolve) => {
        finish = resolve
      })
      const { hub, connect } = await serve(
        {},
        {
          async onClose() {
            order.push('begun')
            await pending
            order.push('done')
          },
        },
      )
      await connect()
      const closing = hub.close().then(() => order.push('closed'))
      await order.first('onClose', (entry) => entry === 'begun')
      finish()
      await closing
      expect(order.all).toEqual(['begun', 'done', 'closed'])
    })

    it('does not wait for an onOpen that timed out', async () => {
      const { hub, connect, log } = await serve(
        { openTimeoutMs: 40 },
        { onOpen: () => new Promise(() => {}) },
      )
      const { client } = await connect()
      expect(await client.closed()).toBe('1011')
      await log.first('onClose', (entry) => entry.startsWith('close'))
      await inTime('the hub to close', hub.close({ timeoutMs: 60_000 }), () => log.all)
    })

    it('refuses new upgrades', async () => {
      const { hub, url, refusals } = await serve()
      await hub.close()
      expect(() => hub.register({} as never, {})).toThrow(hubError('WSHUB_ERR_HUB_CLOSED'))
      await expect(Client.open(url)).rejects.toThrow()
      expect(refusals.all).toEqual([hubError('WSHUB_ERR_HUB_CLOSED')])
    })

    it.each([{ code: 1006 }, { reason: 'x'.repeat(124) }])('refuses %o and stays open', (options) => {
      const hub = new Hub()
      expect(() => hub.close(options)).toThrow(hubError('WSHUB_ERR_INVALID_CLOSE'))
      expect(hub.state).toBe('open')
    })
  })

  describe('#register', () => {
    it('takes a socket that was opened elsewhere', async () => {
      const { url, sockets } = await elsewhere()
      const client = await Client.open(url)
      const hub = new Hub()
      const log = new Journal<string>()
      const connection = hub.register(await sockets.first('a socket', () => true), {
        onOpen: () => log.push('open'),
        onMessage: (_connection, { type, data }) => log.push(`${type} ${data}`),
        onClose: (_connection, code) => log.push(`close ${code}`),
      })
      connection.sendText('1')
      connection.sendBinary(Buffer.from([2]))
      hub.broadcast('x'.repeat(70_000))
      hub.broadcast('end')
      expect(await client.upTo('end')).toEqual(['1', '0x02', 'x'.repeat(70_000)])
      client.socket.send('hi')
      await log.first('the message', (entry) => entry === 'text hi')
      await hub.close()
      expect(await client.closed()).toBe('1001')
      expect(log.all).toEqual(['open', 'text hi', 'close 1001'])
    })

    it('closes a client that sends more than maxMessageSize with 1009', async () => {
      const { url, sockets } = await elsewhere()
      const client = await Client.open(url)
      const hub = new Hub({ maxMessageSize: 100 })
      const log = new Journal<string>()
      hub.register(await sockets.first('a socket', () => true), {
        onMessage: (connection, { data }) => void connection.sendText(`${data.length}`),
        onError: (_connection, { message }) => log.push(message),
        onClose: (_connection, code, _reason, { by, reason }) => log.push(`close ${code} ${by} ${reason}`),
      })
      client.socket.send('x'.repeat(100))
      client.socket.send(Buffer.alloc(101))
      client.socket.send('behind')
      expect(await client.closed()).toBe('1009')
      expect(client.received.all).toEqual(['100'])
      await log.first('the end', (entry) => entry === 'close 1009 hub tooBig')
      expect(log.all).toEqual(['the client sent a message over maxMessageSize', 'close 1009 hub tooBig'])
      expect(hub.stats()).toMatchObject({ receivedMessages: 1, closeReasons: { tooBig: 1 } })
      await hub.close()
    })

    it('holds messages for a client that stops reading, and sends all in order when it reads again', async () => {
      const { url, sockets } = await elsewhere()
      const client = await Client.open(url)
      const hub = new Hub({ maxBufferedBytes: 64 * 1_048_576 })
      const connection = hub.register(await sockets.first('a socket', () => true), {})
      client.socket.pause()
      const sent = Array.from({ length: 160 }, (_, i) => String(i).padEnd(100_000, '.'))
      for (const text of sent) expect(connection.sendText(text)).toBe(true)
      expect(connection.bufferedBytes).toBeGreaterThan(1_048_576)
      connection.sendText('end')
      client.socket.resume()
      expect(await client.upTo('end')).toEqual(sent)
      await hub.close()
    })

    it.each([
      { what: 'a ping', send: (connection: Connection) => connection.sendPing() },
      { what: 'a message', send: (connection: Connection) => connection.sendText('mine') },
    ])('continues after $what that other senders on the socket delay', async ({ send }) => {
      const { url, sockets } = await elsewhere()
      const client = await Client.open(url)
      const hub = new Hub()
      const socket = await sockets.first('a socket', () => true)
      const connection = hub.register(socket, {})
      client.socket.pause()
      const foreign = 'x'.repeat(100_000)
      for (let i = 0; i < 100; i++) socket.send(foreign)
      send(connection)
      await turn() // when it is written
      for (let i = 0; i < 100; i++) socket.send(foreign)
      expect(connection.bufferedBytes).toBeGreaterThan(1_048_576)
      client.socket.resume()
      await client.received.until(
        'what the others sent',
        (all) => all.filter((data) => data === foreign).length === 200,
      )
      expect(connection.sendText('end')).toBe(true)
      const received = await client.upTo('end')
      expect(received.filter((data) => data === foreign)).toHaveLength(200)
      await hub.close()
    })

    it('takes a client that is still connecting', async () => {
      const { url, sockets } = await elsewhere()
      const hub = new Hub()
      const log = new Journal<string>()
      const connection = hub.register(new WebSocket(url), {
        onOpen: (opened) => log.push(`open ${opened.sendText('first')}`),
        onMessage: (_connection, { data }) => log.push(`message ${data}`),
        onClose: (_connection, code) => log.push(`close ${code}`),
      })
      expect(connection.state).toBe('connecting')
      expect(connection.sendText('too early')).toBe(false)
      expect(hub.broadcast('too early')).toBe(0)
      const peer = await sockets.first('the connection', () => true)
      const heard = once(peer, 'message')
      await log.first('onOpen', (entry) => entry === 'open true')
      expect(String((await inTime('the text', heard, () => log.all))[0])).toBe('first')
      peer.send('hi')
      await log.first('the message', (entry) => entry === 'message hi')
      peer.close(4000)
      await log.first('onClose', (entry) => entry === 'close 4000')
      await hub.close()
    })

    it('runs onClose for a client that never connects', async () => {
      const { url, wss } = await elsewhere()
      await new Promise<void>((resolve) => wss.close(() => resolve()))
      const hub = new Hub()
      const log = new Journal<string>()
      hub.register(new WebSocket(url), {
        onError: () => log.push('error'),
        onClose: (_connection, code) => log.push(`close ${code}`),
      })
      await log.first('onClose', (entry) => entry === 'close 1006')
      expect(log.all).toEqual(['error', 'close 1006'])
      expect(hub.size).toBe(0)
      await hub.close()
    })

    it('refuses a WebSocket of ws 7, and does not change it', async () => {
      const { url } = await elsewhere()
      // express-ws still depends on it. It is typed as the current version, as for a user without types.
      const Ws7 = createRequire(import.meta.url)('ws7') as typeof WebSocket
      const socket = new Ws7(url)
      await inTime('the client to open', once(socket, 'open'), () => socket.readyState)
      const hub = new Hub()
      const before = [socket.eventNames(), socket.binaryType]
      expect(() => hub.register(socket, {})).toThrow(hubError('WSHUB_ERR_INVALID_SOCKET'))
      expect(() => hub.register(socket, {})).toThrow(/ws 8\.3 or later: its isPaused is undefined/)
      expect([socket.eventNames(), socket.binaryType]).toEqual(before)
      expect(hub.size).toBe(0)
      socket.terminate()
    })

    it.each([[undefined], [null], ['ws://localhost'], [{}], [new Proxy({}, {})]])('refuses %s', (socket) => {
      const hub = new Hub()
      expect(() => hub.register(socket as never, {})).toThrow(hubError('WSHUB_ERR_INVALID_SOCKET'))
      expect(hub.size).toBe(0)
    })

    it('refuses a WebSocket that is closing or closed, which would never leave the hub', async () => {
      const { url } = await elsewhere()
      const hub = new Hub()
      const client = await Client.open(url)
      const before = client.socket.eventNames()
      client.socket.close()
      expect(() => hub.register(client.socket, {})).toThrow(hubError('WSHUB_ERR_SOCKET_CLOSED'))
      await client.closed()
      expect(() => hub.register(client.socket, {})).toThrow(hubError('WSHUB_ERR_SOCKET_CLOSED'))
      expect(client.socket.eventNames()).toEqual(before)
      expect(hub.size).toBe(0)
    })
  })
})
