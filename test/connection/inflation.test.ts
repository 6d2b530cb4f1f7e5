import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { constants, deflateRawSync } from 'node:zlib'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type WebSocket, WebSocketServer } from 'ws'
import { Frame, Hub, Opcode } from 'wshub'
import { eventually, Journal, RawClient, serve, turn } from '../support/hub-server.ts'

const OFFER = 'Sec-WebSocket-Extensions: permessage-deflate'

/** The most that may wait: one message, and the read of 64 KiB that ends it. */
const MOST_WAITING_BYTES = 3 * 65_536

function deflated(data: string | Buffer): Buffer {
  return deflateRawSync(data, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)
}

/** A compressed message as a client sends it. */
function compressed(data: string | Buffer, init: { fin?: boolean; opcode?: number } = {}): Buffer {
  const opcode = init.opcode === undefined ? Opcode.binary : Opcode.text
  return new Frame({
    opcode,
    rsv1: true,
    masked: true,
    payload: deflated(data),
    fin: init.fin ?? true,
  }).encode()
}

const text = (data: string) => compressed(data, { opcode: Opcode.text })
const plain = (data: string) =>
  new Frame({ opcode: Opcode.text, masked: true, payload: Buffer.from(data) }).encode()
const goodbye = new Frame({
  opcode: Opcode.close,
  masked: true,
  payload: Buffer.from([0x03, 0xe8]),
}).encode()

/** One packet of 65 kB that is 50 MB when it is inflated. */
const bomb = () => {
  const frame = compressed(Buffer.alloc(65_536))
  return Buffer.concat(Array<Buffer>(Math.floor(65_000 / frame.length)).fill(frame))
}

/**
 * Resolves when nothing more is inflated: the number stays the same while another client is served for some
 * turns.
 */
async function settled(figure: () => number, serveAnother: () => Promise<unknown>): Promise<void> {
  for (let before = -1; before !== figure(); ) {
    before = figure()
    for (let i = 0; i < 10; i++) await serveAnother()
  }
}

describe('Compressed messages', () => {
  it('wait compressed while the connection is paused, and count with their size as they are inflated', async () => {
    const served = await serve(
      { enableCompression: true },
      { onMessage: (connection) => (isPausing ? connection.pause() : undefined) },
    )
    let isPausing = true
    const { hub } = served
    const { client, connection } = await served.connectRaw([OFFER])
    const { client: other } = await served.connect()
    const roundTrip = async () => {
      const pong = once(other.socket, 'pong')
      other.socket.ping()
      await pong
    }
    const bytes = bomb()
    client.socket.write(bytes)
    client.socket.write(bytes)
    await served.log.first('the first message', (entry) => entry.startsWith('message'))
    await settled(() => hub.stats().receivedBytes, roundTrip)
    expect(hub.stats().receivedBytes).toBeLessThanOrEqual(MOST_WAITING_BYTES)
    expect(connection.bufferedBytes).toBeGreaterThan(0)
    expect(connection.bufferedBytes).toBeLessThanOrEqual(MOST_WAITING_BYTES)
    expect(hub.stats().bufferedBytes).toBe(connection.bufferedBytes)
    isPausing = false
    connection.resume()
    const all = (2 * bytes.length * 65_536) / compressed(Buffer.alloc(65_536)).length
    await eventually(
      'all of it',
      () => hub.stats().receivedBytes === all,
      () => hub.stats(),
    )
    expect(connection.bufferedBytes).toBe(0)
  })

  it.each([
    { what: 'a slow loop', options: {} },
    { what: 'a rate', options: { limits: { maxMessagesPerSecond: 5 } } },
  ])('are inflated no faster than $what consumes them', async ({ what, options }) => {
    const served = await serve({ enableCompression: true, ...options })
    const { hub } = served
    const { client, connection } = await served.connectRaw([OFFER])
    const taken = new Journal<number>()
    let most = 0
    if (what === 'a slow loop') {
      void (async () => {
        for await (const { data } of connection) {
          taken.push(data.length)
          for (let i = 0; i < 10; i++) await turn()
        }
      })()
    }
    client.socket.write(bomb())
    await eventually(
      'five to be taken',
      () => {
        most = Math.max(most, connection.bufferedBytes)
        return what === 'a slow loop' ? taken.all.length >= 5 : served.log.all.length >= 6
      },
      () => hub.stats(),
    )
    expect(most).toBeGreaterThan(0)
    expect(most).toBeLessThanOrEqual(MOST_WAITING_BYTES)
    expect(hub.stats().bufferedBytes).toBe(connection.bufferedBytes)
    expect(hub.stats().receivedBytes).toBeLessThan(3_000_000)
  })

  it('all arrive from one packet at a slow loop, a thousand of them, fragmented and mixed with others', async () => {
    const served = await serve({ enableCompression: true })
    const { client, connection } = await served.connectRaw([OFFER])
    const seen: string[] = []
    const done = (async () => {
      for await (const { data } of connection) {
        seen.push(String(data))
        await turn()
      }
    })()
    const expected: string[] = []
    const parts: Buffer[] = []
    for (let i = 0; i < 1_000; i++) {
      const data = `message ${i} `.padEnd(i % 300, 'x')
      expected.push(data)
      if (i % 10 === 3) {
        parts.push(plain(data))
      } else if (i % 10 === 7) {
        const payload = deflated(data)
        parts.push(
          new Frame({
            opcode: Opcode.text,
            rsv1: true,
            fin: false,
            masked: true,
            payload: payload.subarray(0, 3),
          }).encode(),
        )
        parts.push(new Frame({ opcode: Opcode.ping, masked: true, payload: Buffer.from('p') }).encode())
        parts.push(
          new Frame({ opcode: Opcode.continuation, masked: true, payload: payload.subarray(3) }).encode(),
        )
      } else {
        parts.push(text(data))
      }
    }
    client.socket.write(Buffer.concat([...parts, goodbye]))
    await done
    expect(seen).toEqual(expected)
    await served.log.first('onClose', (entry) => entry === 'close 1000')
    expect(served.log.all.filter((entry) => entry === 'ping p')).toHaveLength(100)
  })

  it.each([1, 2, 5, 7, 100])('arrive whole in packets of %d bytes', async (size) => {
    const served = await serve({ enableCompression: true })
    const { client } = await served.connectRaw([OFFER], text('first'))
    client.socket.setNoDelay(true)
    const expected = ['first', ...Array.from({ length: 20 }, (_, i) => `${i}`.repeat(i * 20)), 'last']
    const bytes = Buffer.concat(expected.slice(1).map((data, i) => (i % 3 === 0 ? plain(data) : text(data))))
    for (let at = 0; at < bytes.length; at += size) {
      client.socket.write(bytes.subarray(at, at + size))
      if (at % 5 === 0) await turn()
    }
    await served.log.first('the last one', (entry) => entry === 'message last')
    const messages = served.log.all.filter((entry) => entry.startsWith('message'))
    expect(messages).toEqual(expected.map((data) => `message ${data}`))
  })

  it('are delivered before onClose when the client disconnects after them', async () => {
    const served = await serve({ enableCompression: true })
    const { client, connection } = await served.connectRaw([OFFER])
    connection.pause()
    client.socket.end(Buffer.concat([text('1'), plain('2'), text('3')]))
    await turn()
    connection.resume()
    await served.log.first('onClose', (entry) => entry.startsWith('close'))
    expect(served.log.all).toEqual(['open', 'message 1', 'message 2', 'message 3', 'close 1006'])
  })

  it('may be negotiated, and pings are still answered in whole frames on a congested socket', async () => {
    const served = await serve({
      enableCompression: { thresholdBytes: 1_000_000 },
      maxBufferedBytes: 50_000_000,
    })
    const { client, connection } = await served.connectRaw([OFFER])
    client.socket.pause()
    const sent: string[] = []
    const send = () => {
      sent.push(`${sent.length} `.padEnd(50_000, '.'))
      connection.sendText(sent.at(-1) ?? '')
    }
    while (connection.bufferedBytes < 1_000_000) {
      send()
      await turn()
    }
    for (let i = 0; i < 20; i++) {
      client.send({ opcode: Opcode.ping, payload: Buffer.from(`ping ${i}`) })
      send()
      await served.log.first('the ping', (entry) => entry === `ping ping ${i}`)
    }
    send()
    client.socket.resume()
    await client.frames.until('all', (all) => all.length === sent.length + 20)
    const of = (opcode: number) =>
      client.frames.all.filter((frame) => frame.opcode === opcode).map(({ payload }) => String(payload))
    expect(of(Opcode.text)).toEqual(sent)
    expect(of(Opcode.pong)).toEqual(Array.from({ length: 20 }, (_, i) => `ping ${i}`))
  })

  it('end the connection when they are invalid, whatever waits after them', async () => {
    const served = await serve({ enableCompression: true })
    const { client } = await served.connectRaw([OFFER])
    const broken = new Frame({
      opcode: Opcode.text,
      rsv1: true,
      masked: true,
      payload: Buffer.from([0xff, 0xff, 0xff]),
    }).encode()
    client.socket.write(Buffer.concat([text('1'), broken, bomb()]))
    expect((await client.closeFrame()).code).toBe(1007)
    client.socket.end()
    await served.log.first('onClose', (entry) => entry.startsWith('close'))
    expect(served.log.all.slice(0, 3)).toEqual(['open', 'message 1', 'error WSHUB_ERR_INVALID_DATA'])
  })

  it('do not keep a connection from being closed or terminated while they wait', async () => {
    const served = await serve({ enableCompression: true })
    for (const end of ['close', 'terminate'] as const) {
      const { client, connection } = await served.connectRaw([OFFER])
      connection.pause()
      client.socket.write(bomb())
      await turn()
      connection[end]()
      if (end === 'close') {
        expect((await client.closeFrame()).code).toBe(1000)
        client.socket.write(goodbye)
      }
      await client.hungUp()
    }
    await served.log.until(
      'both to be closed',
      (all) => all.filter((entry) => entry.startsWith('close')).length === 2,
    )
  })

  it('end a WebSocket that was opened elsewhere with 1008 when too many wait', async () => {
    const hub = new Hub()
    const server = new WebSocketServer({ port: 0, perMessageDeflate: true })
    onTestFinished(async () => {
      await hub.close({ timeoutMs: 50 })
      for (const socket of server.clients) socket.terminate()
      server.close()
    })
    await once(server, 'listening')
    const events = new Journal<string>()
    server.on('connection', (socket: WebSocket) => {
      hub.register(socket, {
        onError: (_connection, error) => events.push(String('code' in error && error.code)),
        onMessage: (paused) => paused.pause(),
        onClose: (_connection, code) => events.push(`close ${code}`),
      })
    })
    const { port } = server.address() as AddressInfo // the server listens on TCP
    const client = await RawClient.open(port, [OFFER])
    client.socket.write(bomb())
    expect((await client.closeFrame()).code).toBe(1008)
    client.socket.write(goodbye)
    await events.first('onClose', (event) => event.startsWith('close'))
    expect(events.all[0]).toBe('WSHUB_ERR_RATE_LIMIT')
    expect(hub.stats().receivedBytes).toBeLessThan(10_000_000)
  })
})
