import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import {
  asWebSocket,
  type Connection,
  Frame,
  HubError,
  type HubOptions,
  Opcode,
  type WebSocketView,
} from 'wshub'
import { deferred } from '../../src/base/deferred.ts'
import { Journal, serve, thrownBy } from '../support/hub-server.ts'

/** A hub whose connections are seen as WebSockets from `onOpen` on, and one client. */
async function view(options: HubOptions = {}) {
  const server = await serve(options, { onOpen: (connection) => void asWebSocket(connection) })
  const { client, connection } = await server.connect()
  return { ...server, client, connection, ws: asWebSocket(connection) }
}

/** The messages of a view in words. */
function messagesOf(ws: WebSocketView): Journal<string> {
  const messages = new Journal<string>()
  ws.on('message', (data: Buffer, isBinary: boolean) => {
    messages.push(`${isBinary ? 'binary' : 'text'} ${data}`)
  })
  return messages
}

async function closeOf(ws: WebSocketView): Promise<[number, string]> {
  const closes = new Journal<[number, Buffer]>() // `once` of node:events would reject with an error before
  ws.once('close', (code, reason) => closes.push([code, reason]))
  const [code, reason] = await closes.first('close', () => true)
  expect(reason).toBeInstanceOf(Buffer)
  return [code, String(reason)]
}

describe('asWebSocket', () => {
  it('has every public member of a WebSocket of ws', async () => {
    const { ws } = await view()
    // Called by ws itself, and documented nowhere.
    const own = ['constructor', 'setSocket', 'emitClose']
    const members = Object.getOwnPropertyNames(WebSocket.prototype).filter((name) => !own.includes(name))
    expect(members.length).toBeGreaterThan(20)
    expect(members.filter((name) => !(name in ws))).toEqual([])
  })

  it('returns the same object each time, also after the end', async () => {
    const { connection, client, ws, log } = await view()
    expect(asWebSocket(connection)).toBe(ws)
    await client.close()
    await log.first('onClose', (line) => line.startsWith('close'))
    expect(asWebSocket(connection)).toBe(ws)
  })

  it('refuses anything but a connection of the hub', () => {
    const connection = { id: '1', sendText: () => true } as unknown as Connection
    expect(thrownBy(() => asWebSocket(connection))).toMatchObject({ code: 'WSHUB_ERR_FOREIGN_CONNECTION' })
  })

  it('shows a connection that is closed already', async () => {
    const { connect, log } = await serve()
    const { client, connection } = await connect()
    await client.close()
    await log.first('onClose', (line) => line.startsWith('close'))
    expect(asWebSocket(connection).readyState).toBe(WebSocket.CLOSED)
  })

  it('shows a WebSocket that was registered, and says when it opens', async () => {
    const { hub, url } = await serve(
      {},
      { onMessage: (connection, { data }) => void connection.sendText(`${data}`) },
    )
    const ws = asWebSocket(hub.register(new WebSocket(url), {}))
    const messages = messagesOf(ws)
    expect(ws.readyState).toBe(ws.CONNECTING)
    expect(thrownBy(() => ws.send('early'))).toMatchObject({ code: 'WSHUB_ERR_NOT_SENT' })
    ws.onopen = ({ type }) => ws.send(type)
    await messages.first('the echo', (line) => line === 'text open')
    ws.terminate()
  })
})

describe('The messages of a view', () => {
  it('come as Buffers, text and bytes, after the callbacks of the handler', async () => {
    const order: string[] = []
    const { connect } = await serve(
      {},
      {
        onOpen(connection) {
          asWebSocket(connection).on('message', (data, isBinary) => order.push(`view ${data} ${isBinary}`))
        },
        onMessage: (_connection, { data }) => void order.push(`handler ${data}`),
      },
    )
    const { client, connection } = await connect()
    const messages = messagesOf(asWebSocket(connection))
    client.socket.send('héllo')
    client.socket.send(Buffer.from('bytes'))
    await messages.first('the bytes', (line) => line === 'binary bytes')
    expect(order).toEqual(['handler héllo', 'view héllo false', 'handler bytes', 'view bytes true'])
  })

  it('wait for the listeners that an async onOpen attaches', async () => {
    const { promise: isReady, resolve: attach } = deferred<void>()
    const messages = new Journal<string>()
    const { connectRaw } = await serve(
      {},
      {
        async onOpen(connection) {
          const ws = asWebSocket(connection)
          await isReady
          ws.on('message', (data) => messages.push(String(data)))
        },
      },
    )
    await connectRaw(
      [],
      new Frame({ masked: true, opcode: Opcode.text, payload: Buffer.from('early') }).encode(),
    )
    attach()
    await messages.first('the early message', (line) => line === 'early')
  })

  it('have the type of binaryType, unless they are text', async () => {
    const { client, ws } = await view()
    const seen = new Journal<unknown>()
    ws.on('message', (data) => {
      seen.push(data)
      ws.binaryType = seen.all.length === 2 ? 'fragments' : 'arraybuffer'
    })
    ws.binaryType = 'arraybuffer'
    client.socket.send('text')
    client.socket.send(Buffer.from('buffer'))
    client.socket.send(Buffer.from('pieces'))
    const all = await seen.until('three messages', ({ length }) => length === 3)
    expect(all).toEqual([
      Buffer.from('text'),
      Uint8Array.from(Buffer.from('buffer')).buffer,
      [Buffer.from('pieces')],
    ])
    expect(all[1]).toBeInstanceOf(ArrayBuffer)
    const blob = 'blob' as 'nodebuffer' // a type of ws that a view does not have
    expect(thrownBy(() => Object.assign(ws, { binaryType: blob }))).toMatchObject({
      code: 'WSHUB_ERR_INVALID_OPTION',
    })
  })

  it('wait while it is paused', async () => {
    const { client, ws, connect } = await view()
    const messages = messagesOf(ws)
    ws.pause()
    expect(ws.isPaused).toBe(true)
    client.socket.send('first')
    client.socket.send('second')
    const other = await connect()
    const markers = messagesOf(asWebSocket(other.connection))
    other.client.socket.send('marker') // sent later, and read
    await markers.first('the marker', () => true)
    expect(messages.all).toEqual([])
    ws.resume()
    expect(ws.isPaused).toBe(false)
    await messages.first('the second', (line) => line === 'text second')
    expect(messages.all).toEqual(['text first', 'text second'])
  })

  it('are not emitted once the handler has closed the connection', async () => {
    const seen: string[] = []
    const { connect } = await serve(
      {},
      {
        onOpen: (connection) => void asWebSocket(connection).on('message', (data) => seen.push(String(data))),
        onMessage: (connection) => void connection.close(4000),
      },
    )
    const { client } = await connect()
    client.socket.send('last')
    expect(await client.closed()).toBe('4000')
    expect(seen).toEqual([])
  })

  it('are emitted in the context of the callbacks', async () => {
    const storage = new AsyncLocalStorage<string>()
    const stores = new Journal<string | undefined>()
    const { connect } = await serve(
      { callbackContext: true },
      {
        onOpen: (connection) =>
          void asWebSocket(connection).on('message', () => stores.push(storage.getStore())),
      },
      { before: () => storage.enterWith('the route') },
    )
    const { client } = await connect()
    client.socket.send('hello')
    await stores.until('a message', ({ length }) => length === 1)
    expect(stores.all).toEqual(['the route'])
  })
})

describe('The end of a view', () => {
  it('is emitted with the code and the reason of the client', async () => {
    const { client, ws } = await view()
    const closed = closeOf(ws)
    client.socket.close(4001, 'bye')
    expect(await closed).toEqual([4001, 'bye'])
    expect(ws.readyState).toBe(ws.CLOSED)
  })

  it('begins with close, after what was sent before', async () => {
    const { client, ws } = await view()
    const closed = closeOf(ws)
    expect([ws.CONNECTING, ws.OPEN, ws.CLOSING, ws.CLOSED]).toEqual([0, 1, 2, 3])
    expect(ws.readyState).toBe(ws.OPEN)
    ws.send('last')
    ws.close(4002, Buffer.from('enough'))
    expect(ws.readyState).toBe(ws.CLOSING)
    expect(await client.closed()).toBe('4002 enough')
    expect(client.received.all).toEqual(['last'])
    expect(await closed).toEqual([4002, 'enough'])
  })

  it('has code 1000 unless close is given another, and refuses those that may not be sent', async () => {
    const { client, ws } = await view()
    expect(thrownBy(() => ws.close(1006))).toMatchObject({ code: 'WSHUB_ERR_INVALID_CLOSE' })
    ws.close()
    expect(await client.closed()).toBe('1000')
  })

  it('is emitted also when onClose of the handler throws', async () => {
    const { connect, errors } = await serve(
      {},
      {
        onClose() {
          throw new Error('in onClose')
        },
      },
    )
    const { client, connection } = await connect()
    const closed = closeOf(asWebSocket(connection))
    client.socket.close(1000)
    expect(await closed).toEqual([1000, ''])
    expect(errors.map(({ message }) => message)).toEqual(['in onClose'])
  })

  it('emits an error when the client violates the protocol, and reports it as always', async () => {
    const { connectRaw, errors } = await serve()
    const { client, connection } = await connectRaw()
    const ws = asWebSocket(connection)
    const emitted = new Journal<unknown>()
    ws.on('error', (error) => emitted.push(error))
    const closed = closeOf(ws)
    client.send({ opcode: Opcode.text, rsv2: true, payload: Buffer.from('x') })
    expect((await closed)[0]).toBe(1002)
    expect(errors).toMatchObject([{ code: 'WSHUB_ERR_PROTOCOL' }])
    expect(emitted.all).toEqual(errors)
  })

  it('needs no listener for errors', async () => {
    const { connectRaw, errors } = await serve({ maxMessageSize: 10 })
    const { client, connection } = await connectRaw()
    const closed = closeOf(asWebSocket(connection))
    client.send({ opcode: Opcode.text, payload: Buffer.from('more than ten bytes') })
    expect((await closed)[0]).toBe(1009)
    expect(errors).toMatchObject([{ code: 'WSHUB_ERR_MESSAGE_TOO_BIG' }])
  })
})

describe('A listener of a view', () => {
  it.each([
    [
      'throws',
      () => {
        throw new Error('oh')
      },
    ],
    [
      'rejects',
      async () => {
        throw new Error('oh')
      },
    ],
    [
      'throws in the callback of send',
      (ws: WebSocketView) =>
        ws.send('x', () => {
          throw new Error('oh')
        }),
    ],
  ])(
    'that %s closes the connection with 1011, and does not receive its own error',
    async (_how, listener) => {
      const { client, ws, errors } = await view()
      const emitted: unknown[] = []
      ws.on('error', (error) => emitted.push(error))
      ws.on('message', () => listener(ws))
      client.socket.send('x')
      expect(await client.closed()).toBe('1011')
      expect(errors.map(({ message }) => message)).toEqual(['oh'])
      expect(emitted).toEqual([])
    },
  )

  it('receives pings and pongs', async () => {
    const { client, ws } = await view()
    const seen = new Journal<string>()
    ws.on('ping', (payload) => seen.push(`ping ${payload}`))
    ws.on('pong', (payload) => seen.push(`pong ${payload}`))
    client.socket.ping('a')
    ws.ping('b')
    await seen.until('both', ({ length }) => length === 2)
    expect(seen.all.toSorted()).toEqual(['ping a', 'pong b'])
  })

  it('receives events that a library emits itself', async () => {
    const { ws } = await view()
    const messages = messagesOf(ws)
    ws.emit('message', Buffer.from('by hand'), false)
    expect(messages.all).toEqual(['text by hand'])
  })

  it('may be one of an event target', async () => {
    const { client, ws } = await view()
    const seen = new Journal<string>()
    const listener = { handleEvent: ({ data }: { data: unknown }) => seen.push(`object ${data}`) }
    const gone = () => seen.push('gone')
    ws.addEventListener('message', listener)
    ws.addEventListener('message', listener)
    ws.addEventListener('message', ({ type, target }) => seen.push(`once ${type} ${target === ws}`), {
      once: true,
    })
    ws.addEventListener('message', gone)
    ws.removeEventListener('message', gone)
    ws.addEventListener('close', ({ code, reason, wasClean }) =>
      seen.push(`close ${code} ${reason} ${wasClean}`),
    )
    client.socket.send('a')
    client.socket.send('b')
    client.socket.close(1000, 'bye')
    await seen.first('close', (line) => line.startsWith('close'))
    expect(seen.all).toEqual(['object a', 'once message true', 'object b', 'close 1000 bye true'])
  })

  it('may be an attribute, of which there is one', async () => {
    const { client, ws } = await view()
    const seen = new Journal<unknown>()
    const first = () => seen.push('replaced')
    ws.onmessage = first
    expect(ws.onmessage).toBe(first)
    ws.onmessage = ({ data }) => seen.push(data)
    ws.onerror = () => {}
    ws.onerror = null
    expect([ws.onopen, ws.onerror, ws.onclose]).toEqual([null, null, null])
    ws.onclose = ({ code }) => seen.push(code)
    client.socket.send('text')
    client.socket.send(Buffer.from('bytes'))
    client.socket.close(4000)
    await seen.first('close', (item) => item === 4000)
    expect(seen.all).toEqual(['text', Buffer.from('bytes'), 4000])
    expect(ws.listenerCount('error')).toBe(0)
  })

  it('may be an attribute for errors', async () => {
    const { connectRaw } = await serve()
    const { client, connection } = await connectRaw()
    const seen = new Journal<string>()
    asWebSocket(connection).onerror = ({ type, message, error }) => {
      seen.push(`${type} ${message === error.message} ${error instanceof HubError && error.code}`)
    }
    client.send({ opcode: Opcode.text, payload: Buffer.from([0xff]) })
    await seen.until('the error', ({ length }) => length === 1)
    expect(seen.all).toEqual(['error true WSHUB_ERR_INVALID_DATA'])
  })
})

describe('The handshake of a view', () => {
  it('shows subprotocol and compression', async () => {
    const { connect } = await serve({ protocols: ['chat'], enableCompression: true })
    const { connection } = await connect({ perMessageDeflate: true }, ['chat'])
    const ws = asWebSocket(connection)
    expect([ws.protocol, ws.extensions, ws.url]).toEqual(['chat', 'permessage-deflate', ''])
    const { connection: plain } = await connect()
    expect([asWebSocket(plain).protocol, asWebSocket(plain).extensions]).toEqual(['', ''])
  })
})
