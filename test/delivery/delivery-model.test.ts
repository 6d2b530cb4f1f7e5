import { createServer } from 'node:http'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  type Connection,
  type DropCount,
  type DropReason,
  Frame,
  Hub,
  Opcode,
  type SlowConsumerPolicy,
} from 'wshub'
import { COMPRESSION_DEFAULTS } from '../../src/delivery/delivery-options.ts'
import { OutgoingMessage } from '../../src/delivery/outgoing-message.ts'
import { eventually, handshake, turn } from '../support/hub-server.ts'
import { bytesOf, CONNECTIONS, connection, HubModel, MAX_BUFFERED_BYTES, Pipe } from './hub-model.ts'

const WRITE_DELAY_MS = 5
const COMPRESSION = { ...COMPRESSION_DEFAULTS, thresholdBytes: 64 }
const ROOMS = ['tea', 'rum']
const GOODBYE = new Frame({ opcode: Opcode.close, payload: Buffer.from([0x03, 0xe8]), masked: true }).encode()
const room = fc.constantFrom(...ROOMS)
const message = {
  size: fc.oneof({ weight: 100, arbitrary: fc.nat(200) }, { weight: 1, arbitrary: fc.constant(70_000) }),
  isBinary: fc.boolean(),
  key: fc.constantFrom(undefined, undefined, 'a', 'b', 'c'),
  volatile: fc.constantFrom(false, false, false, true),
  urgent: fc.constantFrom(false, false, false, true),
}
const call = fc.oneof(
  { weight: 6, arbitrary: fc.record({ call: fc.constant('join' as const), connection, room }) },
  { weight: 2, arbitrary: fc.record({ call: fc.constant('leave' as const), connection, room }) },
  {
    weight: 20,
    arbitrary: fc.record({
      call: fc.constant('broadcast' as const),
      rooms: fc.constantFrom(undefined, undefined, ['tea'], ['rum'], ['rum', 'tea'], 'tea'),
      except: fc.option(connection, { nil: undefined }),
      ...message,
    }),
  },
  { weight: 24, arbitrary: fc.record({ call: fc.constant('send' as const), connection, ...message }) },
  { weight: 8, arbitrary: fc.record({ call: fc.constant('ping' as const), connection, size: fc.nat(125) }) },
  { weight: 10, arbitrary: fc.record({ call: fc.constant('stall' as const), connection }) },
  { weight: 6, arbitrary: fc.record({ call: fc.constant('step' as const), connection }) },
  { weight: 2, arbitrary: fc.record({ call: fc.constant('resume' as const), connection }) },
  { weight: 18, arbitrary: fc.record({ call: fc.constant('turn' as const) }) },
  { weight: 6, arbitrary: fc.record({ call: fc.constant('wait' as const) }) },
  { weight: 1, arbitrary: fc.record({ call: fc.constant('close' as const), connection }) },
  { weight: 1, arbitrary: fc.record({ call: fc.constant('goodbye' as const), connection }) },
  { weight: 1, arbitrary: fc.record({ call: fc.constant('reset' as const), connection }) },
)
type Call = typeof call extends fc.Arbitrary<infer Value> ? Value : never

/** Waits for everything that happens before the event loop continues. */
function tick(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve))
}

function at<T>(all: readonly T[], place: number): T {
  const one = all[place]
  if (one === undefined) throw new Error(`there is no ${place}`)
  return one
}

async function setUp(slowConsumer: SlowConsumerPolicy, writeDelayMs: number) {
  const hub = new Hub({
    slowConsumer,
    writeDelayMs,
    maxBufferedBytes: MAX_BUFFERED_BYTES,
    enableCompression: COMPRESSION,
    pingIntervalMs: 0,
    onError: () => {},
  })
  const connections: Connection[] = []
  const reports = CONNECTIONS.map(() => new Map<DropReason, DropCount>())
  const server = createServer((req) => {
    const place = Number(req.url?.slice(1))
    void hub.upgrade(req, {
      onOpen: (opened) => {
        connections[place] = opened
      },
      onDrop: (_connection, { reason, messages, bytes }) => {
        const told = reports[place]?.get(reason) ?? { messages: 0, bytes: 0 }
        reports[place]?.set(reason, { messages: told.messages + messages, bytes: told.bytes + bytes })
      },
    })
  })
  hub.attach(server)
  const pipes = CONNECTIONS.map((place) => {
    const pipe = new Pipe()
    server.emit('connection', pipe)
    const offer = place === 0 ? ['Sec-WebSocket-Extensions: permessage-deflate'] : []
    pipe.push(handshake(offer, `GET /${place} HTTP/1.1`))
    return pipe
  })
  await eventually(
    'all to be open',
    () => hub.size === CONNECTIONS.length,
    () => hub.size,
  )
  for (let i = 0; i < 2; i++) await turn() // until they are read from
  for (const pipe of pipes) pipe.wire = []
  return { hub, connections, pipes, reports }
}

async function run(
  slowConsumer: SlowConsumerPolicy,
  writeDelayMs: number,
  calls: readonly Call[],
): Promise<void> {
  const { hub, connections, pipes, reports } = await setUp(slowConsumer, writeDelayMs)
  const model = new HubModel(slowConsumer, writeDelayMs > 0)
  let count = 0

  const payload = ({ size, isBinary }: { size: number; isBinary: boolean }) => {
    const text = `${count++} `.padEnd(size, '.')
    return isBinary ? Buffer.from(text) : text
  }
  const frameFor = (place: number, data: string | Buffer) => {
    if (place === 0) return new OutgoingMessage(data, COMPRESSION).frame(15)
    return (typeof data === 'string' ? Frame.text(data) : Frame.binary(data)).encode()
  }
  const members = (rooms: string | readonly string[] | undefined) =>
    CONNECTIONS.filter((place) => {
      const { rooms: joined } = at(model.connections, place)
      return rooms === undefined || [rooms].flat().some((name) => joined.has(name))
    })

  const perform = async (step: Call): Promise<[did: unknown, should: unknown]> => {
    if (step.call === 'turn') {
      await turn()
      model.endTurn()
      return [undefined, undefined]
    }
    if (step.call === 'wait') {
      vi.advanceTimersByTime(writeDelayMs)
      model.delayPassed()
      return [undefined, undefined]
    }
    if (step.call === 'broadcast') {
      const { rooms, except, key, volatile, urgent } = step
      const data = payload(step)
      const options = { key, volatile, urgent }
      const exceptId = except === undefined ? 'nobody.0' : at(connections, except).id
      const did =
        rooms === undefined
          ? except === undefined
            ? hub.broadcast(data, options)
            : hub.broadcastExcept(data, exceptId, options)
          : except === undefined
            ? hub.broadcastToRoom(rooms, data, options)
            : hub.broadcastToRoomExcept(rooms, data, exceptId, options)
      const accepted = members(rooms)
        .filter((place) => place !== except)
        .map((place) => at(model.connections, place).send(frameFor(place, data), options))
      return [did, accepted.filter(Boolean).length]
    }
    const one = at(connections, step.connection)
    const pipe = at(pipes, step.connection)
    const expected = at(model.connections, step.connection)
    switch (step.call) {
      case 'join':
        if (expected.isOpen) expected.rooms.add(step.room)
        return [hub.joinRoom(one, step.room), expected.isOpen]
      case 'leave':
        return [hub.leaveRoom(one, step.room), expected.rooms.delete(step.room)]
      case 'send': {
        const data = payload(step)
        const options = { key: step.key, volatile: step.volatile, urgent: step.urgent }
        const did = typeof data === 'string' ? one.sendText(data, options) : one.sendBinary(data, options)
        return [did, expected.send(frameFor(step.connection, data), options)]
      }
      case 'ping': {
        const bytes = Buffer.alloc(step.size, 'P')
        return [one.sendPing(bytes), expected.ping(Frame.ping(bytes).encode())]
      }
      case 'close':
        return [one.close(4000), expected.close()]
      case 'stall':
        pipe.isStalled = true
        expected.isStalled = true
        return [undefined, undefined]
      case 'step':
        pipe.step()
        expected.step()
        return [undefined, undefined]
      case 'resume':
        pipe.open()
        expected.resume()
        return [undefined, undefined]
      case 'goodbye':
        pipe.push(Buffer.from(GOODBYE)) // which is unmasked in its place
        expected.goodbye()
        return [undefined, undefined]
      case 'reset':
        pipe.destroy()
        expected.reset()
        await turn()
        model.endTurn()
        return [undefined, undefined]
    }
  }

  const check = (isTurnOver: boolean) => {
    for (const [place, expected] of model.connections.entries()) {
      // Compared by hand, because `expect` would take most of the time of this test.
      const pipe = at(pipes, place)
      if (pipe.wire.length > 0 || expected.wire.length > 0) {
        const wire = Buffer.concat(pipe.wire)
        const expectedWire = Buffer.concat(expected.wire.map(({ bytes }) => bytes))
        if (!wire.equals(expectedWire)) expect({ place, wire }).toEqual({ place, wire: expectedWire })
        expected.received += bytesOf(expected.wire.filter(({ isMessage }) => isMessage))
        pipe.wire = []
        expected.wire = []
      }
      const buffered = expected.isGone ? 0 : at(connections, place).bufferedBytes
      const expectedBuffered = bytesOf(expected.waiting)
      if (buffered !== expectedBuffered) {
        expect({ place, buffered }).toEqual({ place, buffered: expectedBuffered })
      }
      if (isTurnOver && at(reports, place).size + expected.drops.size > 0) {
        expect({ place, drops: at(reports, place) }).toEqual({ place, drops: expected.drops })
      }
    }
  }

  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }) // the connections are open
  for (const step of calls) {
    const [did, should] = await perform(step)
    if (did !== should) expect({ step, did }).toEqual({ step, did: should })
    for (let i = 0; i < 4; i++) await tick()
    check(step.call === 'turn' || step.call === 'reset')
  }

  vi.advanceTimersByTime(writeDelayMs)
  model.delayPassed()
  vi.useRealTimers()
  // In the end every client reads, and every byte that was offered was received, dropped or lost with its
  // socket.
  await turn()
  model.endTurn()
  for (const [place, expected] of model.connections.entries()) {
    at(pipes, place).open()
    expected.resume()
  }
  for (let i = 0; i < 3; i++) await turn()
  check(true)
  for (const [place, expected] of model.connections.entries()) {
    if (!expected.hasSaidGoodbye) continue
    at(pipes, place).destroy()
    expected.reset()
  }
  await turn()
  check(true)
  const total = (counts: Iterable<DropCount>) => {
    const sum = { messages: 0, bytes: 0 }
    for (const { messages, bytes } of counts) {
      sum.messages += messages
      sum.bytes += bytes
    }
    return sum
  }
  for (const [place, expected] of model.connections.entries()) {
    expect(at(connections, place).dropped).toEqual(total(at(reports, place).values()))
    expect(expected.received + total(expected.drops.values()).bytes + expected.lost).toBe(expected.offered)
  }
  for (const [reason, dropped] of Object.entries(hub.dropped)) {
    const told = reports.flatMap((report) => [...report].filter(([key]) => key === reason))
    expect({ reason, dropped }).toEqual({ reason, dropped: total(told.map(([, counted]) => counted)) })
  }
  for (const pipe of pipes) pipe.destroy()
  await hub.close()
}

describe('a hub', () => {
  const policies = ['close', 'dropNewest', 'dropOldest', 'conflate'] as const
  it.each([0, WRITE_DELAY_MS].flatMap((delay) => policies.map((policy) => [policy, delay] as const)))(
    'sends and drops the same as a simple model for any sequence of calls, with %s and a writeDelayMs of %i',
    async (policy, writeDelayMs) => {
      onTestFinished(() => void vi.useRealTimers())
      await fc.assert(
        fc.asyncProperty(fc.array(call, { maxLength: 120, size: 'max' }), (calls) =>
          run(policy, writeDelayMs, calls),
        ),
        { numRuns: writeDelayMs === 0 ? 120 : 80 },
      )
    },
  )
})
