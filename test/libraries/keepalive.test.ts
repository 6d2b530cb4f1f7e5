import { buildSchema } from 'graphql'
import { GRAPHQL_TRANSPORT_WS_PROTOCOL } from 'graphql-ws'
import { useServer } from 'graphql-ws/use/ws'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type ClientOptions, WebSocketServer } from 'ws'
import { asWebSocket } from 'wshub'
import { Journal, serve } from '../support/hub-server.ts'

const PING_MS = 12_000

/** A client of a library that pings and waits as long for a pong; and the pongs that the library has seen. */
async function pinged(options: ClientOptions = {}) {
  const pongs = new Journal<string>()
  const wss = new WebSocketServer({ noServer: true })
  useServer({ schema: buildSchema('type Query { a: Int }') }, wss, PING_MS)
  const server = await serve(
    { protocols: [GRAPHQL_TRANSPORT_WS_PROTOCOL] },
    {
      onOpen(connection) {
        const ws = asWebSocket(connection)
        ws.on('pong', (payload) => pongs.push(String(payload)))
        wss.emit('connection', ws, {})
      },
    },
  )
  const { client, connection } = await server.connect(options, [GRAPHQL_TRANSPORT_WS_PROTOCOL])
  client.socket.send('{"type":"connection_init"}') // it ends a connection that is not initialised in time
  await client.received.first('the acknowledgement', (message) => message.includes('connection_ack'))
  return { ...server, client, connection, pongs }
}

describe('A library that pings beside the hub', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
  })

  afterEach(() => {
    vi.useRealTimers()
  })

  it('sees every pong, and leaves the connection open', async () => {
    const { client, connection, pongs } = await pinged()
    for (const round of [1, 2, 3]) {
      connection.sendPing(`hub ${round}`)
      vi.advanceTimersByTime(PING_MS)
      await pongs.until('the pongs of a round', ({ length }) => length === 2 * round)
    }
    expect(pongs.all).toEqual(['hub 1', '', 'hub 2', '', 'hub 3', ''])
    client.socket.send('{"type":"ping"}')
    await client.received.first('the answer', (message) => message === '{"type":"pong"}')
  })

  it('ends a client that does not answer', async () => {
    const { log, causes } = await pinged({ autoPong: false })
    vi.advanceTimersByTime(2 * PING_MS)
    await log.first('onClose', (line) => line.startsWith('close'))
    expect(causes).toMatchObject([{ by: 'application', reason: 'terminated', code: 1006 }])
  })
})
