import { createServer } from 'node:http'
import { Duplex } from 'node:stream'
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

// A hub with connections in memory and a model of it receive the same calls, and must agree about the result
// of each call, each byte that reaches a client, each byte that waits, and each message that is dropped, with
// its reason.

const MAX_BUFFERED_BYTES = 400
const HIGH_WATER_BYTES = 100
const WRITE_DELAY_MS = 5
/** A batch of this size is written before the turn ends. */
const CHUNK_BYTES = 65_536
const MAX_CONTROL_BYTES = 65_536
const COMPRESSION = { ...COMPRESSION_DEFAULTS, thresholdBytes: 64 }
const ROOMS = ['tea', 'rum']
const GOODBYE = new Frame({ opcode: Opcode.close, payload: Buffer.from([0x03, 0xe8]), masked: true }).encode()
/** Only the first client has negotiated compression. */
const CONNECTIONS = [0, 1, 2, 3]

/** The server's end of a connection; the test decides whether the client reads. */
class Pipe extends Duplex {
  /** Bytes that the client has received and the test has not checked yet. */
  wire: Buffer[] = []
  isStalled = false
  #held: (() => void) | undefined

  constructor() {
    super({ writableHighWaterMark: HIGH_WATER_BYTES })
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    const take = () => {
      this.wire.push(chunk)
      done()
    }
    if (this.isStalled) this.#held = take
    else take()
  }

  // Like a socket: `ws` writes a close frame in two parts.
  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), '', done)
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#held = undefined
    done(error)
  }

  /** The client reads the pending write. Later writes form the next one. */
  step(): void {
    const held = this.#held
    this.#held = undefined
    held?.()
  }

  /** The client reads again. */
  open(): void {
    this.isStalled = false
    this.step()
  }
}

interface MessageOptions {
  readonly key?: string | undefined
  readonly volatile: boolean
  readonly urgent: boolean
}

/** A frame that was accepted. */
interface Item {
  readonly bytes: Buffer
  readonly isMessage: boolean
  readonly key: string | undefined
  /** Frames of one turn stay together. */
  part?: number
}

const bytesOf = (items: readonly Item[]) => items.reduce((sum, { bytes }) => sum + bytes.length, 0)

/** The model of a connection. */
class ConnectionModel {
  readonly rooms = new Set<string>()
  isOpen = true
  isStalled = false
  isGone = false
  hasSaidGoodbye = false
  /**
   * Bytes of messages that were offered, that were received, and that were lost in the socket when the client
   * disconnected.
   */
  offered = 0
  received = 0
  lost = 0
  /** The frames of this turn, and those that wait for it. */
  batch: Item[] = []
  due: 'later' | 'now' | undefined
  /** Frames that wait for a congested socket; `undefined` while it is not congested. */
  backlog: Item[] | undefined
  /** The writes that the socket has not completed. */
  socket: Item[][] = []
  /** Bytes that the client has received and the test has not checked yet. */
  wire: Item[] = []
  readonly drops = new Map<DropReason, DropCount>()
  readonly #hub: HubModel
  #congestedIn = 0
  #parts = 0
  /** The fewest bytes that waited at a call after the turn that congested the socket. */
  #least = Number.POSITIVE_INFINITY
  #isEnding = false
  #hasClosed = false

  constructor(hub: HubModel) {
    this.#hub = hub
  }

  get waiting(): Item[] {
    return [...this.socket.flat(), ...(this.backlog ?? []), ...this.batch]
  }

  send(bytes: Buffer, { key, volatile, urgent }: MessageOptions): boolean {
    if (!this.isOpen) return false
    const { policy } = this.#hub
    const item: Item = { bytes, isMessage: true, key }
    this.offered += bytes.length
    if (this.backlog === undefined) return this.#append(item, !urgent && this.#hub.isDelayed)
    this.due = 'now'
    if (volatile) return this.#drop('volatile', item)
    if (policy === 'conflate' && key !== undefined) {
      const former = this.backlog.find((other) => other.key === key)
      if (former !== undefined) this.#takeOut('conflate', former)
    }
    if (!this.#isBurst) this.#least = Math.min(this.#least, bytesOf(this.waiting))
    if (policy === 'dropOldest') {
      const fixed = [...this.socket.flat(), ...this.backlog.filter(({ isMessage }) => !isMessage)]
      if (bytesOf(fixed) + bytes.length > MAX_BUFFERED_BYTES) return this.#drop('dropOldest', item)
      while (bytesOf(this.waiting) + bytes.length > MAX_BUFFERED_BYTES) {
        const oldest = this.backlog.find(({ isMessage }) => isMessage)
        if (oldest === undefined) throw new Error('the model is wrong')
        this.#takeOut('dropOldest', oldest)
      }
    } else if (policy === 'dropNewest') {
      if (bytesOf(this.waiting) + bytes.length > MAX_BUFFERED_BYTES) return this.#drop('dropNewest', item)
    } else if (!this.#isWithinLimit(bytes.length)) {
      this.#drop('overflow', item)
      this.#giveUp()
      return false
    }
    if (policy === 'close' || policy === 'dropNewest') return this.#append(item, false)
    this.#hold([item])
    return true
  }

  ping(bytes: Buffer): boolean {
    if (!this.isOpen) return false
    const item: Item = { bytes, isMessage: false, key: undefined }
    if (this.backlog === undefined) return this.#append(item, false)
    if (bytesOf(this.backlog.filter(({ isMessage }) => !isMessage)) + bytes.length > MAX_CONTROL_BYTES) {
      this.#giveUp()
    } else {
      this.flush()
      this.#hold([item])
    }
    return true
  }

  close(): boolean {
    if (!this.isOpen) return false
    this.isOpen = false
    this.flush()
    this.#isEnding = true
    this.#endIfPossible(Frame.close(4000))
    return true
  }

  /** The client closes: the answer follows everything that was accepted. */
  goodbye(): void {
    if (this.hasSaidGoodbye || this.isGone) return
    this.flush()
    if (this.backlog !== undefined && this.backlog.length > 0) {
      this.socket.push(this.backlog)
      this.backlog = []
    }
    this.hasSaidGoodbye = true
    this.isOpen = false
    this.#isEnding = false
    if (!this.#hasClosed) this.#writeClose(Frame.close(1000))
  }

  /** The client disconnects. */
  reset(): void {
    if (this.isGone) return
    this.isGone = true
    this.isOpen = false
    this.#dropAll('closed')
    this.lost = bytesOf(this.socket.flat().filter(({ isMessage }) => isMessage))
    this.socket = []
    this.rooms.clear()
  }

  /** The client reads one write. */
  step(): void {
    const [first = [], ...others] = this.socket
    this.wire.push(...first)
    this.socket = others.length === 0 ? [] : [others.flat()]
    if (this.socket.length > 0 || this.backlog === undefined) return
    const { backlog } = this
    if (this.hasSaidGoodbye) this.#dropAll('closed')
    this.backlog = undefined
    if (!this.hasSaidGoodbye) this.#drain(backlog)
    this.#endIfPossible(Frame.close(4000))
  }

  resume(): void {
    this.isStalled = false
    while (this.socket.length > 0) this.step()
  }

  /** Writes the frames of the turn. */
  flush(): void {
    const { batch } = this
    this.batch = []
    if (batch.length === 0) return
    if (this.hasSaidGoodbye) for (const item of batch) this.#dropMessage('closed', item)
    else if (this.backlog === undefined) this.#write(batch)
    else this.#hold(batch)
  }

  get #isBurst(): boolean {
    return this.backlog !== undefined && this.#congestedIn === this.#hub.turn
  }

  /**
   * With the policies that close, messages of the turn that congested the socket are exempt from the limit,
   * while they do not grow.
   */
  #isWithinLimit(bytes: number): boolean {
    const wanted = bytesOf(this.waiting) + bytes
    return wanted <= MAX_BUFFERED_BYTES || this.#isBurst || wanted <= MAX_BUFFERED_BYTES + this.#least
  }

  #append(item: Item, mayWait: boolean): true {
    this.batch.push(item)
    const isFull = bytesOf(this.batch) >= CHUNK_BYTES
    if (!mayWait || isFull) this.due = 'now'
    this.due ??= 'later'
    if (isFull) this.flush()
    return true
  }

  #write(items: Item[], isDrain = false): void {
    if (!this.isStalled) {
      this.wire.push(...items)
      return
    }
    this.socket.push(items)
    if (bytesOf(this.socket.flat()) < HIGH_WATER_BYTES) return
    this.backlog = []
    if (isDrain) return // still the same congestion
    this.#congestedIn = this.#hub.turn
    this.#least = Number.POSITIVE_INFINITY
  }

  #hold(items: readonly Item[]): void {
    this.#parts++
    for (const item of items) item.part = this.#parts
    this.backlog?.push(...items)
  }

  /**
   * Writes waiting parts, up to 64 KiB but at least one at a time, until the socket is congested again.
   */
  #drain(items: readonly Item[]): void {
    let rest = [...items]
    while (rest.length > 0 && this.backlog === undefined) {
      let taken: Item[] = []
      do {
        const next = rest.filter(({ part }) => part === rest[0]?.part)
        if (taken.length > 0 && bytesOf(taken) + bytesOf(next) > CHUNK_BYTES) break
        taken = taken.concat(next)
        rest = rest.slice(next.length)
      } while (rest.length > 0)
      this.#write(taken, true)
    }
    if (this.backlog !== undefined) this.backlog = rest
  }

  #giveUp(): void {
    this.isOpen = false
    this.#dropAll('overflow')
    this.#isEnding = true
    this.#endIfPossible(Frame.close(1013, 'too slow'))
  }

  #endIfPossible(frame: Frame): void {
    if (!this.#isEnding || (this.backlog ?? []).length > 0) return
    this.#isEnding = false
    this.#writeClose(frame)
  }

  #writeClose(frame: Frame): void {
    this.#hasClosed = true
    const item: Item = { bytes: frame.encode(), isMessage: false, key: undefined }
    if (this.isStalled) this.socket.push([item])
    else this.wire.push(item)
  }

  #takeOut(reason: DropReason, item: Item): void {
    this.backlog = this.backlog?.filter((other) => other !== item)
    this.#drop(reason, item)
  }

  #dropAll(reason: DropReason): void {
    for (const item of [...(this.backlog ?? []), ...this.batch]) this.#dropMessage(reason, item)
    this.backlog = undefined
    this.batch = []
    this.#isEnding = false
  }

  #dropMessage(reason: DropReason, item: Item): void {
    if (item.isMessage) this.#drop(reason, item)
  }

  #drop(reason: DropReason, { bytes }: Item): false {
    const count = this.drops.get(reason) ?? { messages: 0, bytes: 0 }
    this.drops.set(reason, { messages: count.messages + 1, bytes: count.bytes + bytes.length })
    return false
  }
}

/** The model of a hub. */
class HubModel {
  readonly policy: SlowConsumerPolicy
  readonly connections: ConnectionModel[] = CONNECTIONS.map(() => new ConnectionModel(this))
  /** Whether messages wait for others. */
  readonly isDelayed: boolean
  turn = 0

  constructor(policy: SlowConsumerPolicy, isDelayed: boolean) {
    this.policy = policy
    this.isDelayed = isDelayed
  }

  /** The time is over for which messages wait. */
  delayPassed(): void {
    for (const connection of this.connections) if (connection.due === 'later') connection.due = 'now'
  }

  endTurn(): void {
    const due = this.connections.filter((connection) => connection.due === 'now')
    if (due.length === 0) return
    this.turn++
    for (const connection of due) {
      connection.due = undefined
      connection.flush()
    }
  }
}

const connection = fc.constantFrom(...CONNECTIONS)
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
