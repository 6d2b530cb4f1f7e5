import { once } from 'node:events'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { asWebSocket, HubError } from 'wshub'
import { inTime, Journal, serve, thrownBy, turn } from '../support/hub-server.ts'

/** A client, and its connection as a WebSocket. */
async function view() {
  const { connect } = await serve()
  const { client, connection } = await connect()
  return { client, ws: asWebSocket(connection) }
}

/** The outcome of each callback: `undefined`, or the code of its error. */
function outcomes() {
  const journal = new Journal<string | undefined>()
  const push = (error?: Error) => journal.push(error instanceof HubError ? error.code : error?.message)
  return { journal, push }
}

function transferred<View extends Float32Array | DataView>(view: View): View {
  structuredClone(null, { transfer: [view.buffer as ArrayBuffer] }) // it is not shared
  return view
}

describe('What a view sends', () => {
  it('is text or binary as in ws', async () => {
    const { client, ws } = await view()
    const bytes = new Uint16Array([0x4241, 0x4443])
    ws.send('text')
    ws.send(42)
    ws.send(Buffer.from('AB'))
    ws.send(bytes)
    ws.send(new DataView(bytes.buffer, 1, 2))
    ws.send(bytes.buffer)
    ws.send('AB', { binary: true })
    ws.send(Buffer.from('é'), { binary: false, compress: false })
    ws.send('', {}, () => {})
    ws.send('end', null)
    expect(await client.upTo('end')).toEqual([
      'text',
      '42',
      '0x4142',
      '0x41424344',
      '0x4243',
      '0x41424344',
      '0x4142',
      'é',
      '',
    ])
  })

  it.each([
    ['a Blob', new Blob(['x'])],
    ['an array', [1, 2]],
    ['null', null],
    ['undefined', undefined],
    ['an object', {}],
    ['an array of floats whose buffer was transferred', transferred(new Float32Array(4))],
    ['a view of data whose buffer was transferred', transferred(new DataView(new ArrayBuffer(4)))],
  ])('cannot be %s', async (_name, data) => {
    const { ws } = await view()
    expect(thrownBy(() => ws.send(data as string))).toMatchObject({ code: 'WSHUB_ERR_INVALID_PAYLOAD' })
  })

  it('cannot be a fragment', async () => {
    const { ws } = await view()
    expect(thrownBy(() => ws.send('x', { fin: false }))).toMatchObject({ code: 'WSHUB_ERR_INVALID_OPTION' })
  })

  it('calls back when it is written, in order, and not inside the call', async () => {
    const { client, ws } = await view()
    const { journal, push } = outcomes()
    ws.send('one', push)
    ws.send('two', {}, push)
    ws.ping(push)
    ws.pong('p', false, push)
    expect(journal.all).toEqual([])
    await journal.until('all callbacks', ({ length }) => length === 4)
    expect(journal.all).toEqual([undefined, undefined, undefined, undefined])
    expect(await client.upTo('two')).toEqual(['one'])
  })

  it('calls back when writeDelayMs has passed, and does not shorten it', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const { connect } = await serve({ writeDelayMs: 1_000 })
    const { client, connection } = await connect()
    const { journal, push } = outcomes()
    asWebSocket(connection).send('late', push)
    for (let i = 0; i < 5; i++) await turn()
    expect([connection.bufferedBytes > 0, journal.all]).toEqual([true, []])
    vi.advanceTimersByTime(1_000)
    await journal.until('the callback', ({ length }) => length === 1)
    await client.received.first('the message', (data) => data === 'late')
    expect(journal.all).toEqual([undefined])
  })

  it('calls back only when a client that was slow has read', async () => {
    const { connectRaw } = await serve({ maxBufferedBytes: 64 * 1_048_576, maxMessageSize: 1_048_576 })
    const { client, connection } = await connectRaw()
    const ws = asWebSocket(connection)
    client.socket.pause()
    const { journal, push } = outcomes()
    const megabyte = Buffer.alloc(1_048_576)
    for (let i = 0; i < 32; i++) ws.send(megabyte)
    ws.send('last', push)
    await turn()
    await turn()
    expect(ws.bufferedAmount).toBeGreaterThan(1_048_576)
    expect(journal.all).toEqual([])
    client.socket.resume()
    await journal.until('the callback', ({ length }) => length === 1)
    expect(journal.all).toEqual([undefined])
    expect(ws.bufferedAmount).toBeLessThan(8 * 1_048_576)
  })

  it('calls back for what was written, also to a client for which something always waits', async () => {
    const { connectRaw } = await serve({ maxBufferedBytes: 64 * 1_048_576 })
    const { client, connection } = await connectRaw()
    const ws = asWebSocket(connection)
    client.socket.pause()
    const { journal, push } = outcomes()
    const feed = () => {
      while (ws.bufferedAmount < 16 * 1_048_576) ws.send(Buffer.alloc(1_048_576), push)
    }
    feed()
    await turn()
    expect(journal.all).toEqual([])
    client.socket.on('data', feed) // before the socket drains
    client.socket.resume()
    await journal.until('the callbacks', ({ length }) => length >= 32)
    expect(journal.all.every((code) => code === undefined)).toBe(true)
    ws.terminate()
  })

  it('does not call back before the message is written because pings wait, too', async () => {
    const { connectRaw } = await serve({ maxBufferedBytes: 64 * 1_048_576 })
    const { client, connection } = await connectRaw()
    const ws = asWebSocket(connection)
    client.socket.pause()
    const waited = new Journal<number>()
    for (let later = 15; later >= 0; later--) {
      ws.send(Buffer.alloc(1_048_576), () => waited.push(ws.bufferedAmount / 1_048_576 - later))
      ws.ping(() => {})
    }
    await turn()
    client.socket.resume()
    await waited.until('the callbacks', ({ length }) => length === 16)
    expect(Math.max(...waited.all)).toBeLessThan(2) // a megabyte may be in the socket
  })

  it('calls back with an error when the connection ends first', async () => {
    const { connectRaw, log } = await serve({ maxBufferedBytes: 64 * 1_048_576 })
    const { client, connection } = await connectRaw()
    const ws = asWebSocket(connection)
    client.socket.pause()
    const { journal, push } = outcomes()
    for (let i = 0; i < 32; i++) ws.send(Buffer.alloc(1_048_576))
    ws.send('last', push)
    ws.terminate()
    ws.send('too late', push)
    ws.ping(push)
    await log.first('onClose', (line) => line.startsWith('close'))
    await journal.until('the callbacks', ({ length }) => length === 3)
    expect(journal.all).toEqual(['WSHUB_ERR_NOT_SENT', 'WSHUB_ERR_NOT_SENT', 'WSHUB_ERR_NOT_SENT'])
  })

  it('calls back with an error for messages dropped by dropOldest', async () => {
    const { connectRaw } = await serve({ slowConsumer: 'dropOldest', maxBufferedBytes: 4 * 1_048_576 })
    const { client, connection } = await connectRaw()
    const ws = asWebSocket(connection)
    client.socket.pause()
    const { journal, push } = outcomes()
    for (let i = 0; i < 40; i++) {
      ws.send(Buffer.alloc(1_048_576), push)
      await turn()
    }
    const dropped = connection.dropped.messages
    expect(dropped).toBeGreaterThan(10)
    await journal.until('errors', ({ length }) => length >= dropped)
    client.socket.resume()
    await journal.until('all callbacks', ({ length }) => length === 40)
    expect(journal.all.filter((code) => code === 'WSHUB_ERR_NOT_SENT').length).toBe(
      connection.dropped.messages,
    )
  })

  it('does nothing without a callback when the connection is closed', async () => {
    const { client, ws } = await view()
    await Promise.all([inTime('close', once(ws, 'close')), client.close()])
    ws.send('late')
    ws.ping()
    ws.close()
    ws.terminate()
    ws.pause()
    ws.resume()
    expect(ws.bufferedAmount).toBe(0)
  })

  it('may be a ping or a pong of 125 bytes', async () => {
    const { client, ws } = await view()
    const pings = new Journal<string>()
    client.socket.on('ping', (payload) => pings.push(`ping ${payload}`))
    client.socket.on('pong', (payload) => pings.push(`pong ${payload}`))
    ws.ping('a')
    ws.pong(Buffer.from('b'))
    await pings.until('both', ({ length }) => length === 2)
    expect(pings.all).toEqual(['ping a', 'pong b'])
    expect(thrownBy(() => ws.ping('x'.repeat(126)))).toMatchObject({ code: 'WSHUB_ERR_CONTROL_TOO_LONG' })
  })
})
