import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type HubDiagnostics, memoryHistory } from 'wshub'
import { Bus } from '../support/bus.ts'
import { acquainted, enter, join } from '../support/cluster.ts'
import { handshake, Journal, RawClient, serve, turn } from '../support/hub-server.ts'

type Name = keyof HubDiagnostics
type Told = { [Each in Name]: { name: Each; message: HubDiagnostics[Each] } }[Name]

const NAMES: readonly Name[] = [
  'wshub:upgrade:began',
  'wshub:upgrade:accepted',
  'wshub:upgrade:refused',
  'wshub:open',
  'wshub:message',
  'wshub:delivery',
  'wshub:send',
  'wshub:drop',
  'wshub:close',
  'wshub:error',
  'wshub:gap',
  'wshub:cluster:state',
  'wshub:hub:closed',
]

/** A broadcast of the text `news`, besides its hub, recipients and bytes. */
const NEWS = {
  id: undefined,
  rooms: undefined,
  exceptIds: [],
  exceptRooms: [],
  type: 'text',
  payload: Buffer.from('news'),
}

/** Subscribes to all channels until the test is over. */
function hear(): Journal<Told> {
  const told = new Journal<Told>()
  for (const name of NAMES) {
    const listener = (message: unknown) => told.push({ name, message } as Told) // as the channel is documented
    subscribe(name, listener)
    onTestFinished(() => {
      unsubscribe(name, listener)
    })
  }
  return told
}

describe('The channels of diagnostics', () => {
  it('report upgrades, openings, messages, deliveries and closes, each before its callback', async () => {
    const order: string[] = []
    const told = hear()
    const { hub, connect, connections, causes, log } = await serve(
      {},
      {
        onOpen: () => order.push(`onOpen after ${told.all.length}`),
        onMessage: () => order.push(`onMessage after ${told.all.length}`),
        onClose: () => order.push(`onClose after ${told.all.length}`),
      },
    )
    const { client } = await connect()
    client.socket.send('hé')
    await log.first('the message', (entry) => entry === 'message hé')
    hub.broadcast('news')
    await client.received.first('the news', (data) => data === 'news')
    client.socket.close(4000, 'bye')
    await log.first('the end', (entry) => entry.startsWith('close'))
    const [connection] = connections
    expect(told.all).toEqual([
      {
        name: 'wshub:upgrade:began',
        message: { hub, request: expect.objectContaining({ url: '/' }) },
      },
      {
        name: 'wshub:upgrade:accepted',
        message: { hub, connection, request: expect.objectContaining({ url: '/' }) },
      },
      { name: 'wshub:open', message: { connection } },
      { name: 'wshub:message', message: { connection, message: { type: 'text', data: 'hé' }, bytes: 3 } },
      { name: 'wshub:delivery', message: { hub, recipients: 1, bytes: 6, ...NEWS } },
      { name: 'wshub:close', message: { connection, code: 4000, reason: 'bye', cause: causes[0] } },
    ])
    expect(order).toEqual(['onOpen after 3', 'onMessage after 4', 'onClose after 6'])
  })

  it('report what was sent to whom', async () => {
    const { hub, connect } = await serve({
      history: { store: memoryHistory(), rooms: (room) => (room === 'kept' ? {} : undefined) },
    })
    const { client, connection } = await connect()
    hub.joinRoom(connection, ['red', 'kept'])
    const told = hear()
    const { id } = connection
    hub.broadcastToRoom(['red', 'blue'], 'news', { except: 'nobody.1', exceptRooms: 'none' })
    await hub.publish('kept', 'news', { except: 'nobody.2' })
    hub.sendTo(id, Buffer.from('news'))
    connection.sendText('alone')
    await client.upTo('alone')
    expect(told.all.map(({ message }) => message)).toMatchObject([
      { hub, ...NEWS, rooms: ['red', 'blue'], exceptIds: ['nobody.1'], exceptRooms: ['none'] },
      { hub, type: 'text', rooms: ['kept'], exceptIds: ['nobody.2'] },
      { hub, ...NEWS, id, type: 'binary' },
      { connection, data: 'alone' },
    ])
  })

  it('report refusals, by a route and by the limits', async () => {
    const told = hear()
    const { hub, port } = await serve({ limits: { upgradeTimeoutMs: 1 } })
    new RawClient(port).socket.write(handshake(['Origin: https://evil.example']))
    const { message } = await told.first('the refusal', ({ name }) => name === 'wshub:upgrade:refused')
    expect(message).toMatchObject({ hub, error: { code: 'WSHUB_ERR_ORIGIN', status: 403 } })
    expect(message).toHaveProperty('request.headers.origin', 'https://evil.example')
  })

  it('report drops and errors', async () => {
    const told = hear()
    const { hub, connectRaw, connections } = await serve({
      slowConsumer: 'dropNewest',
      maxBufferedBytes: 100_000,
    })
    const { client, connection } = await connectRaw()
    client.socket.pause()
    for (let sent = 0; connection.sendBinary(Buffer.alloc(60_000)); sent++) {
      expect(sent).toBeLessThan(5_000)
      await turn()
    }
    const drop = await told.first('the drop', ({ name }) => name === 'wshub:drop')
    expect(drop.message).toEqual({
      connection,
      dropped: { reason: 'dropNewest', messages: 1, bytes: 60_004 },
    })
    client.socket.write(Buffer.from([0x83, 0x80, 0, 0, 0, 0])) // a reserved opcode
    client.socket.resume()
    const error = await told.first('the error', ({ name }) => name === 'wshub:error')
    expect(error.message).toEqual({
      hub,
      connection: connections[0],
      error: expect.objectContaining({ code: 'WSHUB_ERR_PROTOCOL' }),
    })
  })

  it('report the state of a cluster, gaps, and errors without a connection', async () => {
    const bus = new Bus()
    const a = await join(bus)
    const told = hear()
    const b = await join(bus)
    await acquainted([a, b])
    await enter(b, 'tea')
    a.hub.broadcastToRoom('tea', '1')
    b.backplane.drop = (_channel, bytes) => bytes.subarray(-4).toString() === 'lost'
    for (const text of ['lost', '2']) a.hub.broadcastToRoom('tea', text)
    await b.client.upTo('2')
    bus.stop()
    await b.hub.close()
    const of = (name: Name) =>
      told.all.filter((entry) => entry.name === name).map(({ message }) => message as { hub?: unknown })
    expect(of('wshub:gap')).toEqual([
      { hub: b.hub, gap: { node: a.hub.cluster.node, scope: 'room', room: 'tea', count: 1 } },
    ])
    expect(of('wshub:cluster:state').filter(({ hub }) => hub === b.hub)).toEqual(
      ['connected', 'reconnecting', 'closed'].map((state) => ({ hub: b.hub, state })),
    )
    expect(of('wshub:error').filter(({ hub }) => hub === b.hub)).toEqual([
      {
        hub: b.hub,
        connection: undefined,
        error: expect.objectContaining({ code: 'WSHUB_ERR_BACKPLANE' }),
      },
    ])
  })

  it('cost nothing without subscribers', () => {
    for (const name of NAMES) {
      expect(channel(name).hasSubscribers).toBe(false)
    }
  })
})
