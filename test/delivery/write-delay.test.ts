import { Writable } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type Connection, type Hub, MemoryBackplane, MemoryBus, memoryHistory, type SendOptions } from 'wshub'
import { Delivery } from '../../src/delivery/delivery.ts'
import { Outbox } from '../../src/delivery/outbox.ts'
import { encodeMessage } from '../../src/protocol/message-frame.ts'
import { eventually, serve, turn } from '../support/hub-server.ts'

const DELAY_MS = 5

/** From now on the time of the frames that wait passes only when the test says so. */
function stopTimers(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => void vi.useRealTimers())
}

function setUp(writeDelayMs = DELAY_MS) {
  stopTimers()
  const delivery = new Delivery({
    maxBufferedBytes: 1_000_000,
    maxTotalBufferedBytes: 10_000_000,
    slowConsumer: 'close',
    writeDelayMs,
    enableCompression: false,
  })
  onTestFinished(() => delivery.stop())
  const open = () => {
    const writes: Buffer[] = []
    const socket = new Writable({
      highWaterMark: 1_000_000,
      write(chunk, _encoding, done) {
        writes.push(chunk)
        done()
      },
    })
    const owner = { writable: true, overflow: () => {}, reportDrops: () => {}, resync: () => {} }
    const outbox = new Outbox(socket, delivery, owner)
    const send = (text: string, options?: SendOptions) => outbox.send(Buffer.from(text), options)
    return { outbox, owner, send, writes, texts: () => writes.map(String) }
  }
  const pass = async (ms: number) => {
    vi.advanceTimersByTime(ms)
    await turn()
  }
  return { delivery, open, pass }
}

/** Resolves when so many writes have been made to each. */
function written(all: readonly { readonly writes: readonly Buffer[] }[], count: number): Promise<void> {
  const counts = () => all.map(({ writes }) => writes.length)
  return eventually(`${count} writes each`, () => counts().every((made) => made >= count), counts)
}

describe('Outbox with a writeDelayMs', () => {
  it('writes the messages of several turns at once, when the first of them has waited so long', async () => {
    const { open, pass } = setUp()
    const { send, texts } = open()
    for (const text of ['a', 'b', 'c', 'd']) {
      send(text)
      await pass(1)
    }
    expect(texts()).toEqual([])
    await pass(1)
    expect(texts()).toEqual(['abcd'])
    send('e')
    await pass(4)
    expect(texts()).toEqual(['abcd'])
    await pass(1)
    expect(texts()).toEqual(['abcd', 'e'])
  })

  it('writes at the end of the turn in which the time is over, with what else is sent in it', async () => {
    const { open } = setUp()
    const { send, texts } = open()
    send('a')
    vi.advanceTimersByTime(DELAY_MS)
    send('b')
    expect(texts()).toEqual([])
    await turn()
    expect(texts()).toEqual(['ab'])
  })

  it('writes an urgent message at the end of its turn, after those that wait on its connection', async () => {
    const { open, pass } = setUp()
    const [one, other] = [open(), open()]
    one.send('a')
    other.send('x')
    await turn()
    one.send('b', { urgent: true })
    one.send('c')
    expect(one.texts()).toEqual([])
    await turn()
    expect(one.texts()).toEqual(['abc'])
    one.send('d', { urgent: false })
    await turn()
    expect([one.texts(), other.texts()]).toEqual([['abc'], []])
    await pass(DELAY_MS)
    expect([one.texts(), other.texts()]).toEqual([['abc', 'd'], ['x']])
  })

  it('writes pings and pongs at the end of their turn, after those that wait', async () => {
    const { open, pass } = setUp()
    const { outbox, send, texts } = open()
    send('a')
    await turn()
    outbox.sendControl(Buffer.from('P'))
    await turn()
    expect(texts()).toEqual(['aP'])
    await pass(DELAY_MS)
    expect(texts()).toEqual(['aP'])
  })

  it('writes what waits before the end of the connection', () => {
    const { open } = setUp()
    const [one, other] = [open(), open()]
    for (const { send } of [one, other]) send('a')
    let isEnded = false
    one.outbox.end(() => {
      isEnded = one.texts().length === 1
    })
    other.outbox.flushAll()
    expect([isEnded, other.texts()]).toEqual([true, ['a']])
  })

  it('writes 64 KiB before the time is over', async () => {
    const { open } = setUp()
    const { outbox, send, writes } = open()
    send('x'.repeat(65_535))
    await turn()
    expect([writes.length, outbox.bufferedBytes]).toEqual([0, 65_535])
    send('y')
    expect(writes.map(({ length }) => length)).toEqual([65_536])
  })

  it('writes 1,000 messages at the end of their turn, however short they are', async () => {
    const { open } = setUp()
    const { send, writes } = open()
    for (let n = 0; n < 999; n++) send('x')
    await turn()
    expect(writes).toHaveLength(0)
    send('y')
    await turn()
    expect(writes.map(({ length }) => length)).toEqual([1_000])
  })

  it('concatenates the messages of several turns once for all connections that have the same', async () => {
    const { open, pass } = setUp()
    const all = [open(), open(), open()]
    for (const text of ['a', 'b']) {
      const frame = encodeMessage(text)
      for (const { outbox } of all) outbox.send(frame)
      await turn()
    }
    await pass(DELAY_MS)
    const [first, ...others] = all.map(({ writes }) => writes[0])
    expect(first).toEqual(Buffer.concat([encodeMessage('a'), encodeMessage('b')]))
    for (const other of others) expect(other).toBe(first)
  })

  it('needs one timer for all connections, and none while nothing waits', async () => {
    const { delivery, open, pass } = setUp()
    const all = Array.from({ length: 20 }, open)
    expect(vi.getTimerCount()).toBe(0)
    for (const { send } of all) send('a')
    await turn()
    for (const { send } of all) send('b', { urgent: true })
    await written(all, 1) // a slow turn leaves the rest of a flush to the next one
    for (const { send } of all) send('c')
    expect(vi.getTimerCount()).toBe(1)
    await pass(DELAY_MS)
    expect(vi.getTimerCount()).toBe(0)
    await written(all, 2)
    for (const { texts } of all) expect(texts()).toEqual(['ab', 'c'])
    all[0]?.send('d')
    delivery.stop()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('drops what waits for a connection that is closed, and says so', async () => {
    const { delivery, open, pass } = setUp()
    const { owner, send, texts } = open()
    send('a')
    owner.writable = false
    await pass(DELAY_MS)
    expect(texts()).toEqual([])
    expect(delivery.dropped.closed).toEqual({ messages: 1, bytes: 1 })
  })

  it('lets a replay go on at the end of the turn', async () => {
    const { open } = setUp()
    const { outbox, send, texts } = open()
    send('a')
    let isTold = false
    outbox.awaitRoom(() => {
      isTold = true
    })
    await turn()
    expect([isTold, texts()]).toEqual([true, ['a']])
  })

  const step = fc.oneof(
    fc.record({ what: fc.constant('send'), to: fc.subarray([0, 1, 2]), isUrgent: fc.boolean() }),
    fc.record({ what: fc.constant('ping'), to: fc.subarray([0, 1, 2]), isUrgent: fc.constant(true) }),
    fc.constant({ what: 'turn', to: [], isUrgent: false }),
    fc.constant({ what: 'wait', to: [], isUrgent: false }),
  )

  it('writes the same bytes in the same order as without, none later than promised', async () => {
    const run = async (
      steps: readonly (typeof step extends fc.Arbitrary<infer S> ? S : never)[],
      ms: number,
    ) => {
      const { open, pass } = setUp(ms)
      const all = [open(), open(), open()]
      const sizes = all.map(() => 0)
      for (const [index, { what, to, isUrgent }] of steps.entries()) {
        const frame = Buffer.from(`${what} ${index};`)
        if (what === 'turn') await turn()
        if (what === 'wait') await pass(DELAY_MS)
        for (const place of to) {
          sizes[place] = (sizes[place] ?? 0) + frame.length
          if (what === 'ping') all[place]?.outbox.sendControl(frame)
          else all[place]?.outbox.send(frame, { urgent: isUrgent })
        }
        if (what === 'wait') expect(all.map(({ texts }) => texts().join('').length)).toEqual(sizes)
      }
      await pass(DELAY_MS)
      vi.useRealTimers()
      return all.map(({ texts }) => texts())
    }
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const [delayed, prompt] = [await run(steps, DELAY_MS), await run(steps, 0)]
        expect(delayed.map((texts) => texts.join(''))).toEqual(prompt.map((texts) => texts.join('')))
        for (const [place, texts] of delayed.entries()) {
          expect(texts.length).toBeLessThanOrEqual(prompt[place]?.length ?? 0)
        }
      }),
      { numRuns: 200 },
    )
  })
})

type Send = (hub: Hub, to: Connection, text: string, options: SendOptions) => unknown

const SENDS: [name: string, send: Send][] = [
  ['sendText', (_hub, to, text, options) => to.sendText(text, options)],
  ['sendBinary', (_hub, to, text, options) => to.sendBinary(Buffer.from(text), options)],
  ['sendTo', (hub, to, text, options) => hub.sendTo(to, text, options)],
  ['broadcast', (hub, _to, text, options) => hub.broadcast(text, options)],
  ['broadcastExcept', (hub, _to, text, options) => hub.broadcastExcept(text, 'n.0', options)],
  ['broadcastToRoom', (hub, _to, text, options) => hub.broadcastToRoom('plain', text, options)],
  [
    'broadcastToRoomExcept',
    (hub, _to, text, options) => hub.broadcastToRoomExcept('plain', text, 'n.0', options),
  ],
  ['broadcastToRoom with a history', (hub, _to, text, options) => hub.broadcastToRoom('kept', text, options)],
  ['publish', (hub, _to, text, options) => hub.publish('kept', text, options)],
]

/** A hub with a connection in a room of each kind. Messages wait for as long as the test does. */
async function serveOne(options: ConstructorParameters<typeof Hub>[0] = {}) {
  const history = { store: memoryHistory(), rooms: (room: string) => (room === 'kept' ? {} : undefined) }
  const served = await serve({ writeDelayMs: 1_000, history, ...options })
  const { client, connection } = await served.connect()
  served.hub.joinRoom(connection, ['plain', 'kept'])
  return { ...served, client, connection }
}

const settles = (connection: Connection, waits: boolean) =>
  eventually(
    waits ? 'a message to wait' : 'nothing to wait',
    () => connection.bufferedBytes > 0 === waits,
    () => connection.bufferedBytes,
  )

describe('Hub with a writeDelayMs', () => {
  it.each(SENDS)('%s lets messages wait that are not urgent', async (_name, send) => {
    const { hub, client, connection } = await serveOne()
    stopTimers()
    await send(hub, connection, 'waits', {})
    await settles(connection, true)
    for (let i = 0; i < 5; i++) await turn()
    await settles(connection, true)
    await send(hub, connection, 'urgent', { urgent: true })
    await settles(connection, false)
    const hex = (text: string) => (_name === 'sendBinary' ? `0x${Buffer.from(text).toString('hex')}` : text)
    await client.upTo(hex('urgent'))
    expect(client.received.all).toEqual([hex('waits'), hex('urgent')])
  })

  it('lets messages of other nodes wait, and not those that are urgent there', async () => {
    const bus = new MemoryBus()
    const make = () => serveOne({ backplane: new MemoryBackplane(bus), history: undefined })
    const [one, two] = [await make(), await make()]
    for (const { hub } of [one, two]) await hub.cluster.ready()
    await eventually(
      'the nodes to know each other',
      () => [one, two].every(({ hub }) => hub.cluster.stats().nodes === 2),
      () => one.hub.cluster.stats(),
    )
    await one.hub.cluster.join({ id: two.connection.id }, 'plain') // waits for the subscription
    stopTimers()
    for (const [, send] of SENDS.slice(2, 7)) {
      await send(one.hub, two.connection, 'waits', {})
      await settles(two.connection, true)
      await send(one.hub, two.connection, 'urgent', { urgent: true })
      await settles(two.connection, false)
    }
    await eventually(
      'all to arrive',
      () => two.client.received.all.length === 10,
      () => two.client.received.all,
    )
    expect(two.client.received.all).toEqual(Array(5).fill(['waits', 'urgent']).flat())
  })

  it('sends what waits before the close frame, whoever closes', async () => {
    const { hub, connect } = await serve({ writeDelayMs: 1_000 })
    const [one, two, three] = [await connect(), await connect(), await connect()]
    stopTimers()
    hub.broadcast('last')
    await turn()
    one.connection.close(4_000)
    two.client.socket.close(4_001)
    await eventually(
      'the first two to be closed',
      () => hub.size === 1,
      () => hub.size,
    )
    hub.broadcast('very last')
    vi.useRealTimers()
    await hub.close()
    for (const { client } of [one, two, three]) await client.closed()
    const received = [one, two, three].map(({ client }) => client.received.all)
    expect(received).toEqual([['last'], ['last'], ['last', 'very last']])
  })

  it('has pings answered and sent while messages wait', async () => {
    const { hub, connection, client } = await serveOne()
    const pings: string[] = []
    client.socket.on('ping', (payload: Buffer) => pings.push(`${payload} after ${client.received.all}`))
    stopTimers()
    hub.broadcast('waits')
    await settles(connection, true)
    client.socket.ping('from the client')
    await eventually(
      'a ping to arrive',
      () => {
        if (pings.length === 0) connection.sendPing('from the hub')
        return pings.length > 0
      },
      () => pings,
    )
    expect(pings[0]).toBe('from the hub after waits')
  })

  it('delivers within the time and a turn, with real timers', async () => {
    const { hub, connection, client } = await serveOne({ writeDelayMs: 1 })
    for (let i = 0; i < 20; i++) {
      hub.broadcast(`${i}`)
      await settles(connection, false)
    }
    await client.upTo('19')
    expect(client.received.all).toHaveLength(20)
  })

  it.each([['urgent', 'yes']])('refuses a message whose option %s is %o', async (key, value) => {
    const { hub } = await serve()
    const options = { [key]: value } as SendOptions // which has another type, for this test
    expect(() => hub.broadcast('x', options)).toThrow(
      expect.objectContaining({
        code: 'WSHUB_ERR_INVALID_OPTION',
        message: 'urgent is true or false, not "yes"',
      }),
    )
  })
})
