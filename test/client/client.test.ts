import { runInNewContext } from 'node:vm'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { WebSocket } from 'ws'
import type { SocketData } from 'wshub/client'
import { Journal, serve, thrownBy } from '../support/hub-server.ts'
import { Cable } from '../support/servers.ts'
import { SilentServer } from '../support/silent-server.ts'
import { connectRecorded, times } from './support.ts'

describe('send', () => {
  it('keeps messages until the connection is open, in order, and copies bytes', async () => {
    const { url, log: server } = await serve()
    const { socket } = connectRecorded(url)
    const bytes = Uint8Array.of(1, 2, 3, 4)
    const messages: SocketData[] = [
      'ä',
      bytes.subarray(1, 3),
      bytes.buffer,
      new DataView(bytes.buffer, 3),
      new Blob(['b']),
    ]
    for (const data of messages) socket.send(data)
    expect(socket.bufferedAmount).toBe(2 + 2 + 4 + 1 + 1)
    bytes.fill(0)
    await server.first('the last', (entry) => entry === 'message 0x62')
    expect(server.all).toEqual([
      'open',
      'message ä',
      'message 0x0203',
      'message 0x01020304',
      'message 0x04',
      'message 0x62',
    ])
  })

  it('throws when no more messages may wait, and what waits arrives', async () => {
    const { url, log: server } = await serve()
    const { socket } = connectRecorded(url, { maxQueuedMessages: 2 })
    socket.send('1')
    socket.send('2')
    const thrown = thrownBy(() => socket.send('3'))
    expect(thrown).toBeInstanceOf(DOMException)
    expect(thrown).toMatchObject({ name: 'InvalidStateError' })
    await server.first('the second', (entry) => entry === 'message 2')
    socket.send('4')
    await server.first('the fourth', (entry) => entry === 'message 4')
    expect(server.all).toEqual(['open', 'message 1', 'message 2', 'message 4'])
  })

  it('throws when more bytes would wait than may', async () => {
    const { url } = await serve()
    const { socket } = connectRecorded(url, { maxQueuedBytes: 4 })
    socket.send('ää')
    expect(thrownBy(() => socket.send('x'))).toMatchObject({ name: 'InvalidStateError' })
    expect(socket.bufferedAmount).toBe(4)
  })

  it('throws while there is no connection with maxQueuedMessages 0', async () => {
    const app = await serve()
    const { socket, log } = connectRecorded(app.url, { maxQueuedMessages: 0 })
    expect(thrownBy(() => socket.send('x'))).toMatchObject({ name: 'InvalidStateError' })
    await times(log, 'open', 1)
    socket.send('now')
    await app.log.first('the message', (entry) => entry === 'message now')
  })

  it('refuses what is no message, before, in and after a connection', async () => {
    const { url, log: server } = await serve()
    const { socket, log } = connectRecorded(url)
    const send = (data: unknown) => socket.send(data as string) // as JavaScript calls it
    const wrong = [undefined, null, 5, 5n, true, {}, { size: 1 }, [1], new Map(), Symbol('s'), () => {}]
    const refusals = () => wrong.map((data) => String(thrownBy(() => send(data))))
    const each = wrong.map(
      () => 'TypeError: a message is a string, bytes or a Blob; serialize objects yourself',
    )
    expect(refusals()).toEqual(each)
    socket.send('waits')
    expect(socket.bufferedAmount).toBe(5)
    await times(log, 'open', 1)
    expect(refusals()).toEqual(each)
    socket.send('marker')
    await server.first('the marker', (entry) => entry === 'message marker')
    expect(server.all).toEqual(['open', 'message waits', 'message marker'])
    socket.close()
    expect(refusals()).toEqual(each)
  })

  it('takes the bytes of another realm, as a test environment passes them', async () => {
    const { url, log: server } = await serve()
    const { socket } = connectRecorded(url)
    const buffer: ArrayBuffer = runInNewContext('Uint8Array.of(1, 2).buffer')
    socket.send(buffer)
    socket.send(runInNewContext('Uint8Array.of(3)'))
    expect(socket.bufferedAmount).toBe(3)
    new Uint8Array(buffer).fill(0)
    await server.first('the last', (entry) => entry === 'message 0x03')
    expect(server.all).toEqual(['open', 'message 0x0102', 'message 0x03'])
  })

  it('does not lose messages to a connection that the hub has begun to close', async () => {
    const app = await serve()
    const { socket, log } = connectRecorded(app.url)
    await times(log, 'open', 1)
    app.connections[0]?.close(1012)
    await log.until('the closing handshake', () => socket.readyState !== 1)
    socket.send('waits')
    await app.log.first('the message', (entry) => entry === 'message waits')
    expect(app.connections).toHaveLength(2)
  })
})

describe('close', () => {
  it('ends a socket that waits for its next attempt', async () => {
    const app = await serve()
    const { socket, log, closes } = connectRecorded(app.url, { minDelayMs: 60_000, maxDelayMs: 60_000 })
    await times(log, 'open', 1)
    app.connections[0]?.close(1011)
    await times(log, 'close 1011', 1)
    socket.send('discarded')
    socket.close()
    socket.close()
    expect([socket.readyState, socket.bufferedAmount]).toEqual([2, 0])
    await times(log, 'close 1006', 1)
    expect(socket.readyState).toBe(3)
    expect(closes.map(({ retryInMs }) => retryInMs)).toEqual([60_000, undefined])
  })

  it('ends a socket in its first attempt', async () => {
    const silent = await SilentServer.start()
    const { socket, log } = connectRecorded(`ws://127.0.0.1:${silent.port}`)
    socket.close()
    expect(socket.readyState).toBe(2)
    await times(log, 'close 1006', 1)
    expect([socket.readyState, log.all]).toEqual([3, ['error', 'close 1006']])
    await silent.isLeft()
  })

  it.each(['open', 'error', 'close'] as const)('may be called by a listener of %s', async (type) => {
    const app = await serve({ maxConnections: 1 })
    if (type === 'error') await app.connect()
    const { socket, log } = connectRecorded(app.url)
    if (type !== 'close') socket.send('never') // what waits is not sent after close
    socket.addEventListener(type, () => socket.close())
    if (type === 'close') {
      await times(log, 'open', 1)
      app.connections[0]?.terminate()
    }
    await log.until('the end', () => socket.readyState === 3)
    await log.until('its event', (all) => all.at(-1)?.startsWith('close') === true)
    const marker = type === 'error' ? undefined : await app.connect()
    marker?.client.socket.send('marker')
    if (marker !== undefined) await app.log.first('the marker', (entry) => entry === 'message marker')
    expect(app.log.all).not.toContain('message never')
  })

  it.each([0, 999, 1001, 1005, 2999, 5000, Number.NaN])(
    'refuses the code %d, connected or not',
    async (code) => {
      const { url } = await serve()
      const { socket, log } = connectRecorded(url)
      for (const expected of [0, 1]) {
        expect(socket.readyState).toBe(expected)
        expect(thrownBy(() => socket.close(code))).toMatchObject({ name: 'InvalidAccessError' })
        if (expected === 0) await times(log, 'open', 1)
      }
    },
  )

  it('refuses a reason of more than 123 bytes, before, in and between connections', async () => {
    const app = await serve()
    const { socket, log } = connectRecorded(app.url, { minDelayMs: 60_000, maxDelayMs: 60_000 })
    const refusal = () => thrownBy(() => socket.close(3000, 'é'.repeat(62)))
    expect(refusal()).toMatchObject({ name: 'SyntaxError' })
    await times(log, 'open', 1)
    expect(refusal()).toMatchObject({ name: 'SyntaxError' })
    expect(socket.readyState).toBe(1)
    app.connections[0]?.close(1011)
    await times(log, 'close 1011', 1)
    expect(refusal()).toMatchObject({ name: 'SyntaxError' })
    expect(socket.readyState).toBe(0)
    socket.close(3000, `${'é'.repeat(61)}e`)
    expect(socket.readyState).toBe(2)
  })

  it('leaves no timer and no listener, so that a process ends by itself', async () => {
    const { url } = await serve()
    const { socket, log } = connectRecorded(url, { heartbeatTimeoutMs: 60_000 })
    await times(log, 'open', 1)
    const before = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    socket.close()
    await log.first('the end', (entry) => entry.startsWith('close'))
    expect(process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length).toBeLessThan(before)
  })
})

describe('heartbeatTimeoutMs', () => {
  it('swallows the heartbeats of the hub, which keep the connection', async () => {
    // The time of both sides goes on only when the heartbeat before has arrived.
    vi.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'],
    })
    onTestFinished(() => void vi.useRealTimers())
    const app = await serve({ heartbeat: { everyMs: 40 } })
    const heartbeats = new Journal<string>()
    class Counting extends WebSocket {
      constructor(url: string | URL, protocols: string[]) {
        super(url, protocols)
        this.on('message', (data) => heartbeats.push(String(data)))
      }
    }
    const { socket, log } = connectRecorded(app.url, { heartbeatTimeoutMs: 200, WebSocket: Counting })
    await times(log, 'open', 1)
    for (let count = 1; count <= 10; count++) {
      vi.advanceTimersByTime(60)
      await heartbeats.until(`${count} heartbeats`, ({ length }) => length >= count)
    }
    app.hub.broadcast('marker')
    await times(log, 'message marker', 1)
    expect(log.all).toEqual(['open', 'message marker'])
    expect(socket.readyState).toBe(1)
  })

  it('gives a connection up on which nothing comes, and connects again', async () => {
    const app = await serve()
    const { log, closes } = connectRecorded(app.url, { heartbeatTimeoutMs: 30 })
    await times(log, 'open', 3)
    expect(log.all.slice(0, 4)).toEqual(['open', 'error', 'close 1006', 'open'])
    expect(closes[0]).toMatchObject({ code: 1006, wasClean: false })
  })

  it('ends a connection of ws that is given up at once, so that it keeps no process alive', async () => {
    const app = await serve()
    const cable = await Cable.to(Number(new URL(app.url).port))
    onTestFinished(() => cable.close())
    const made: WebSocket[] = []
    class Kept extends WebSocket {
      constructor(url: string | URL, protocols: string[]) {
        super(url, protocols)
        made.push(this)
      }
    }
    const { socket, log } = connectRecorded(`ws://127.0.0.1:${cable.port}`, {
      WebSocket: Kept,
      heartbeatTimeoutMs: 200,
    })
    await times(log, 'open', 1)
    cable.stall()
    await times(log, 'close 1006', 1)
    socket.close()
    const marker = connectRecorded(app.url)
    await times(marker.log, 'open', 1)
    expect(made[0]?.readyState).toBe(WebSocket.CLOSED)
  })
})

describe('onReconnect', () => {
  it('gets the latest position of each room, before what waited is sent', async () => {
    const app = await serve()
    const resumed: unknown[] = []
    const { socket, log } = connectRecorded(app.url, {
      positionOf: (data) => {
        const { room, at } = JSON.parse(String(data))
        return at === undefined ? undefined : { room, position: at }
      },
      onReconnect(returned, positions) {
        resumed.push([returned === socket, Object.fromEntries(positions)])
        returned.send(`since ${positions.get('tea')}`)
      },
    })
    socket.addEventListener('open', () => socket.send('opened'))
    await times(log, 'open', 1)
    for (const message of [
      { room: 'tea', at: 'e.1' },
      { room: 'ale', at: 'e.7' },
      { room: 'tea', at: 'e.2' },
      { room: 'tea' },
    ]) {
      app.hub.broadcast(JSON.stringify(message))
    }
    await times(log, 'message {"room":"tea"}', 1)
    await app.log.first('the first message', (entry) => entry === 'message opened')
    app.connections[0]?.terminate()
    await times(log, 'close 1006', 1)
    socket.send('waited')
    await times(log, 'open', 2)
    await app.log.first('the message', (entry) => entry === 'message waited')
    expect(resumed).toEqual([[true, { tea: 'e.2', ale: 'e.7' }]])
    expect(app.log.all.filter((entry) => entry.startsWith('message'))).toEqual([
      'message opened',
      'message since e.2',
      'message opened',
      'message waited',
    ])
  })

  it('gets the positions of at most 1 000 rooms, those with the newest messages', async () => {
    const app = await serve()
    const sizes: number[] = []
    const kept: boolean[] = []
    const { log } = connectRecorded(app.url, {
      positionOf: (data) => ({ room: String(data), position: '1' }),
      onReconnect(_socket, positions) {
        sizes.push(positions.size)
        kept.push(positions.has('0'), positions.has('1'), positions.has('1000'))
      },
    })
    await times(log, 'open', 1)
    for (let room = 0; room < 1_000; room++) app.hub.broadcast(String(room))
    app.hub.broadcast('0')
    app.hub.broadcast('1000')
    await times(log, 'message 1000', 1)
    app.connections[0]?.terminate()
    await times(log, 'open', 2)
    expect([sizes, kept]).toEqual([[1_000], [true, false, true]])
  })
})
