import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { WebSocketServer } from 'ws'
import { Frame, Hub, type HubOptions, Opcode } from 'wshub'
import { eventually, handshake, inTime, Journal, serve } from '../support/hub-server.ts'

const closeTimeoutMs = 80

/** A hub and its address. */
interface House {
  readonly hub: Hub
  readonly port: number
  /** The names of the callbacks that ran. */
  readonly log: Journal<string>
}

async function accepting(options: HubOptions): Promise<House> {
  const { hub, port, log } = await serve(options)
  return { hub, port, log }
}

const compressing = (options: HubOptions) => accepting({ ...options, enableCompression: true })

/** A hub that registers the WebSockets of a server of `ws`, whose own close timeout is 30 s. */
async function registering(options: HubOptions): Promise<House> {
  const hub = new Hub(options)
  const log = new Journal<string>()
  const wss = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  wss.on('connection', (socket) => {
    hub.register(socket, {
      onOpen: () => log.push('open'),
      onError: () => log.push('error'),
      onClose: () => log.push('close'),
    })
  })
  onTestFinished(async () => {
    await hub.close({ timeoutMs: 50 })
    wss.close()
  })
  if (wss.address() === null) await inTime('the server to listen', once(wss, 'listening'), () => log.all)
  const { port } = wss.address() as AddressInfo // the server listens on TCP
  return { hub, port, log }
}

/** A client that never closes its side of the TCP connection by itself. */
async function stubborn({ port, log }: House): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  socket.on('error', () => {}) // a reset is an end as well
  onTestFinished(() => {
    socket.destroy()
  })
  socket.write(handshake(['Sec-WebSocket-Extensions: permessage-deflate']))
  await inTime('the 101', once(socket, 'data'), () => log.all)
  await log.first('onOpen', (entry) => entry === 'open')
  return socket
}

const closeFrame = new Frame({ opcode: Opcode.close, masked: true, payload: Buffer.from([3, 232]) }).encode()
const brokenFrame = Buffer.from([0xf1, 0x80, 0, 0, 0, 0]) // reserved bits

const ends: { what: string; end: (socket: Socket, house: House) => Promise<void> | void }[] = [
  { what: 'a client that began to close', end: (socket) => void socket.write(closeFrame) },
  { what: 'a client that broke the protocol', end: (socket) => void socket.write(brokenFrame) },
  {
    what: 'a client that does not answer a close frame',
    end: (_socket, { hub }) => void hub.disconnect(() => true),
  },
  {
    what: 'a client that ended its side, and reads nothing',
    async end(socket, { hub }) {
      socket.pause()
      const block = randomBytes(1_000_000) // which compression does not shrink
      for (let i = 0; i < 20; i++) hub.broadcast(block)
      await eventually(
        'a backlog',
        () => hub.stats().bufferedBytes > 0,
        () => hub.stats(),
      )
      socket.end()
    },
  },
]

describe.each([
  { how: 'accepted', open: accepting },
  { how: 'accepted with compression', open: compressing },
  { how: 'registered', open: registering },
])('closeTimeoutMs of a connection that was $how', ({ open }) => {
  describe.each([{ pingIntervalMs: 0 }, { pingIntervalMs: 3_600_000 }])('with %o', ({ pingIntervalMs }) => {
    it.each(ends)('ends a connection after $what', async ({ end }) => {
      const house = await open({ closeTimeoutMs, pingIntervalMs, maxBufferedBytes: 100_000_000 })
      const socket = await stubborn(house)
      await end(socket, house)
      await house.log.first('onClose', (entry) => entry.startsWith('close'))
      expect(house.hub.size).toBe(0)
    })
  })
})

describe('a connection that both sides have closed', () => {
  it('does not wait for its client to end TCP', async () => {
    const house = await accepting({ closeTimeoutMs: 3_600_000 })
    const socket = await stubborn(house)
    socket.write(closeFrame.subarray(0, 3))
    socket.write(closeFrame.subarray(3))
    expect(await house.log.first('onClose', (entry) => entry.startsWith('close'))).toBe('close 1000')
    expect(house.hub.size).toBe(0)
  })

  it('does not wait either after a close frame of its own', async () => {
    const house = await accepting({ closeTimeoutMs: 3_600_000 })
    const socket = await stubborn(house)
    for (const connection of house.hub.connections()) connection.close(4000)
    await inTime('the close frame', once(socket, 'data'), () => house.log.all)
    socket.write(closeFrame)
    expect(await house.log.first('onClose', (entry) => entry.startsWith('close'))).toBe('close 1000')
  })

  it('first writes what waits for its client', async () => {
    const message = Buffer.alloc(2 ** 25)
    const house = await accepting({ closeTimeoutMs: 3_600_000, maxBufferedBytes: 2 * message.length })
    const socket = await stubborn(house)
    socket.pause()
    house.hub.broadcast(message)
    socket.write(closeFrame)
    const states = () => house.hub.connections().map(({ state }) => state)
    await eventually('the close', () => !states().includes('open'), states)
    let bytes = 0
    socket.on('data', (chunk) => {
      bytes += chunk.length
    })
    await inTime('the end of the other side', once(socket.resume(), 'end'), () => bytes)
    expect(bytes).toBe(10 + message.length + closeFrame.length - 4) // ours is not masked
  })

  it('still reads the answer to a ping: unread, it would turn the close into a reset', async () => {
    const house = await accepting({ closeTimeoutMs: 3_600_000 })
    const socket = await stubborn(house)
    for (const connection of house.hub.connections()) connection.sendPing()
    await inTime('the ping', once(socket, 'data'), () => house.log.all)
    socket.write(closeFrame)
    await inTime('the end of the other side', once(socket.resume(), 'end'), () => house.log.all)
    expect(house.hub.connections().map(({ state }) => state)).toEqual(['closing'])
    socket.end(new Frame({ opcode: Opcode.pong, masked: true }).encode())
    const [hadError] = await inTime('the end', once(socket, 'close'), () => house.log.all)
    expect(hadError).toBe(false)
    expect(await house.log.first('onClose', (entry) => entry.startsWith('close'))).toBe('close 1000')
  })
})

describe('closeTimeoutMs', () => {
  it('applies when onOpen settles while the client closes', async () => {
    let settle = (): void => {}
    const { hub, port, log } = await serve(
      { closeTimeoutMs, pingIntervalMs: 0 },
      {
        onOpen: (connection) => {
          // The socket is paused until onOpen has settled: an iteration that has begun lets the close frame
          // in.
          void connection[Symbol.asyncIterator]().next()
          return new Promise<void>((resolve) => {
            settle = resolve
          })
        },
      },
    )
    const socket = await stubborn({ hub, port, log })
    socket.write(closeFrame)
    await eventually(
      'the close frame',
      () => hub.connections().every(({ state }) => state === 'closing'),
      () => hub.connections().map(({ state }) => state),
    )
    settle()
    await log.first('onClose', (entry) => entry === 'close 1000')
    expect(hub.size).toBe(0)
  })

  it('applies to a registered socket that somebody else closes', async () => {
    const house = await registering({ closeTimeoutMs, pingIntervalMs: 0 })
    const late = new Journal<string>()
    const wss = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    onTestFinished(() => void wss.close())
    wss.on('connection', (socket) => {
      house.hub.register(socket, { onClose: () => late.push('close') })
      socket.close()
    })
    if (wss.address() === null) await inTime('the server to listen', once(wss, 'listening'), () => late.all)
    const { port } = wss.address() as AddressInfo // the server listens on TCP
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    onTestFinished(() => void socket.destroy())
    socket.resume().write(handshake())
    await late.first('onClose', () => true)
    expect(house.hub.size).toBe(0)
  })
})
