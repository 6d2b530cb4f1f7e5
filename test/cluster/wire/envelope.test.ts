import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HubError } from 'wshub'
import {
  type Body,
  barrierCapacity,
  encodeEnvelope,
  isCounted,
  openEnvelope,
  readBody,
  type Stamp,
} from '../../../src/cluster/wire/envelope.ts'
import type { NodeRequest, Selection } from '../../../src/cluster/wire/request.ts'
import type { NodeResponse } from '../../../src/cluster/wire/response.ts'
import { thrownBy } from '../../support/hub-server.ts'

const stamp: Stamp = { node: 'node-1_A', epoch: 3, sequence: 4_000 }
const sent = {
  kind: 'message',
  rooms: undefined,
  union: 0,
  exceptIds: [],
  exceptRooms: [],
  options: undefined,
} as const

function decode(bytes: Buffer): { stamp: Stamp; body: Body } {
  const envelope = openEnvelope(bytes)
  return { stamp: envelope.stamp, body: readBody(envelope) }
}

/** Any string of UTF-16 code units, including lone surrogates. */
const text = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
)
const name = text.filter((value) => value !== '')
const names = fc.array(name)
const natural = fc.maxSafeNat()
/** Text without lone surrogates, which neither UTF-8 nor a WebSocket carries. */
const payload = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.uint8Array().map((bytes) => Buffer.from(bytes)),
)
const options = fc.oneof(
  fc.constant(undefined),
  fc.constant({ volatile: true }),
  fc.record({ key: name, volatile: fc.boolean() }),
  fc.record({ volatile: fc.boolean(), urgent: fc.constant(true) }),
  fc.record({ key: name, volatile: fc.boolean(), urgent: fc.constant(true) }),
)
const selection: fc.Arbitrary<Selection> = fc.record({
  by: fc.constantFrom('all', 'room', 'id'),
  names: fc.array(text),
})
const request: fc.Arbitrary<NodeRequest> = fc.oneof(
  fc.record({ op: fc.constantFrom('size', 'members'), rooms: names }),
  fc.record({ op: fc.constantFrom('connections', 'node') }),
  fc.record({ op: fc.constantFrom('join', 'leave'), selection, rooms: names }),
  fc.record({ op: fc.constant('disconnect'), selection, code: fc.nat(), reason: text }),
  fc.record({ op: fc.constant('call'), name: text, timeoutMs: fc.nat(), payload }),
)
const response: fc.Arbitrary<NodeResponse> = fc.oneof(
  fc.record({ type: fc.constant('count'), count: natural }),
  fc.record({ type: fc.constant('members'), members: fc.array(fc.record({ id: text, metadata: text })) }),
  fc.record({ type: fc.constant('node'), connections: natural, rooms: natural, uptimeMs: natural }),
  fc.record({ type: fc.constant('text'), value: fc.string({ unit: 'binary' }) }),
  fc.record({ type: fc.constant('binary'), value: fc.uint8Array().map((bytes) => Buffer.from(bytes)) }),
  fc.record({ type: fc.constant('nothing') }),
  fc.record({ type: fc.constant('failed'), reason: text }),
)
const body: fc.Arbitrary<Body> = fc.oneof(
  fc.record({
    kind: fc.constant('message'),
    data: payload,
    rooms: fc.constant(undefined),
    union: fc.constant(0),
    exceptIds: names,
    exceptRooms: names,
    options,
  }),
  fc.record({
    kind: fc.constant('message'),
    data: payload,
    rooms: names,
    union: natural,
    exceptIds: names,
    exceptRooms: names,
    options,
  }),
  fc.record({ kind: fc.constant('direct'), connectionId: text, data: payload, options }),
  fc.record({ kind: fc.constant('heartbeat'), isHello: fc.boolean(), awayMs: natural }),
  fc.record({ kind: fc.constant('leave') }),
  fc.record({ kind: fc.constant('checkpoint'), nonce: natural }),
  fc.record({ kind: fc.constant('request'), id: natural, request }),
  fc.record({
    kind: fc.constant('barriers'),
    barriers: fc.array(fc.record({ channel: text, epoch: natural, sequence: natural, ageMs: natural })),
  }),
  fc.record({ kind: fc.constant('response'), id: natural, part: natural, isLast: fc.boolean(), response }),
)
const node = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/)

/** Returns the error of decoding these bytes; `undefined` when they are an envelope. */
function fault(bytes: Buffer): unknown {
  try {
    decode(bytes)
    return undefined
  } catch (error) {
    return error
  }
}

describe('an envelope', () => {
  it('an envelope decodes to what was encoded', () => {
    fc.assert(
      fc.property(node, natural, natural, body, (from, epoch, sequence, sent) => {
        const bytes = encodeEnvelope({ node: from, epoch, sequence }, sent)
        expect(decode(bytes)).toEqual({ stamp: { node: from, epoch, sequence }, body: sent })
      }),
      { numRuns: 2_000 },
    )
  })

  // As nodes of the first version read and write it: none of these bytes may ever change.
  const wire: [string, Body][] = [
    ['00 02 6e 01 02 01 68 69', { ...sent, data: 'hi' }],
    [
      '00 02 6e 01 02 0e 02 69 02 6b ff',
      { ...sent, data: Buffer.from([255]), exceptIds: ['i'], options: { key: 'k', volatile: true } },
    ],
    [
      '00 02 6e 01 02 39 03 02 02 61 02 62 02 02 69 02 6a 01 02 72 68 69',
      {
        kind: 'message',
        data: 'hi',
        rooms: ['a', 'b'],
        union: 3,
        exceptIds: ['i', 'j'],
        exceptRooms: ['r'],
        options: { volatile: true },
      },
    ],
    [
      '01 02 6e 01 02 05 02 69 02 6b 68 69',
      { kind: 'direct', connectionId: 'i', data: 'hi', options: { key: 'k', volatile: false } },
    ],
    ['00 02 6e 01 02 03 00 68 69', { ...sent, data: 'hi', options: { volatile: false, urgent: true } }],
    [
      '00 02 6e 01 02 21 02 02 69 00 00 68 69',
      { ...sent, data: 'hi', exceptIds: ['i'], options: { volatile: false, urgent: true } },
    ],
    [
      '01 02 6e 01 02 03 02 69 68 69',
      { kind: 'direct', connectionId: 'i', data: 'hi', options: { volatile: false, urgent: true } },
    ],
    ['02 02 6e 01 02 01 07', { kind: 'heartbeat', isHello: true, awayMs: 7 }],
    ['02 02 6e 01 02 00 ac 02', { kind: 'heartbeat', isHello: false, awayMs: 300 }],
    ['03 02 6e 01 02', { kind: 'leave' }],
    ['04 02 6e 01 02 07', { kind: 'checkpoint', nonce: 7 }],
    ['05 02 6e 01 02 07 03', { kind: 'request', id: 7, request: { op: 'node' } }],
    [
      '06 02 6e 01 02 07 01 01 05',
      { kind: 'response', id: 7, part: 1, isLast: true, response: { type: 'nothing' } },
    ],
    [
      '06 02 6e 01 02 07 00 00 05',
      { kind: 'response', id: 7, part: 0, isLast: false, response: { type: 'nothing' } },
    ],
    [
      '07 02 6e 01 02 01 02 63 04 05 06',
      { kind: 'barriers', barriers: [{ channel: 'c', epoch: 4, sequence: 5, ageMs: 6 }] },
    ],
  ]
  it.each(wire)('an envelope is 01 %s on the wire', (hex, content) => {
    const bytes = Buffer.from(`01${hex.replaceAll(' ', '')}`, 'hex')
    const header = { node: 'n', epoch: 1, sequence: 2 }
    expect(encodeEnvelope(header, content).toString('hex')).toBe(bytes.toString('hex'))
    expect(decode(bytes)).toEqual({ stamp: header, body: content })
  })

  it('an envelope has room for the largest numbers and for long strings of any character', () => {
    const most = Number.MAX_SAFE_INTEGER
    const long = '\u0416'.repeat(1_000)
    const options = { key: long, volatile: true, urgent: true }
    const lists = { exceptIds: [long, long], exceptRooms: [long] }
    const barriers = Array.from({ length: 100 }, () => ({
      channel: 'c',
      epoch: most,
      sequence: most,
      ageMs: most,
    }))
    const bodies: Body[] = [
      { kind: 'message', data: long, rooms: [long, long], union: most, ...lists, options },
      { kind: 'message', data: long, rooms: undefined, union: 0, ...lists, options: undefined },
      { ...sent, data: '', exceptIds: [long], options: undefined },
      { ...sent, data: '', options },
      { kind: 'direct', connectionId: long, data: '', options: undefined },
      { kind: 'direct', connectionId: '', data: long, options },
      { kind: 'heartbeat', isHello: true, awayMs: most },
      { kind: 'checkpoint', nonce: most },
      { kind: 'request', id: most, request: { op: 'size', rooms: [long] } },
      { kind: 'response', id: most, part: most, isLast: true, response: { type: 'failed', reason: long } },
      { kind: 'response', id: most, part: most, isLast: true, response: { type: 'count', count: most } },
      { kind: 'barriers', barriers },
      { kind: 'barriers', barriers: [{ channel: long, epoch: most, sequence: most, ageMs: most }] },
    ]
    const largest = { node: 'n'.repeat(64), epoch: most, sequence: most }
    for (const content of bodies) {
      expect(decode(encodeEnvelope(largest, content))).toEqual({ stamp: largest, body: content })
    }
  })

  it('a barrier takes no more bytes than its capacity', () => {
    const most = Number.MAX_SAFE_INTEGER
    for (const channel of ['', 'c'.repeat(1_000), '\u0416'.repeat(1_000)]) {
      const barrier = { channel, epoch: most, sequence: most, ageMs: most }
      const [none, one] = [[], [barrier]].map((barriers) =>
        encodeEnvelope(stamp, { kind: 'barriers', barriers }),
      )
      const taken = (one?.length ?? 0) - (none?.length ?? 0)
      expect(taken).toBeLessThanOrEqual(barrierCapacity(barrier))
    }
  })

  it('each kind has a number of its own, but checkpoints and heartbeats', () => {
    const kinds = wire.map(([, { kind }]) => kind)
    const counted = [...new Set(kinds)].filter(isCounted)
    expect(counted).toEqual(['message', 'direct', 'leave', 'request', 'response', 'barriers'])
    expect(isCounted(undefined)).toBe(true)
  })

  it('an envelope adds fewer than 20 bytes to a payload', () => {
    const data = Buffer.from([0, 255, 128, 10])
    const bytes = encodeEnvelope({ ...stamp, node: 'AbCdEfGhIjKl' }, { ...sent, data })
    expect(bytes.subarray(-4)).toEqual(data)
    expect(bytes.length).toBeLessThan(4 + 20)
  })

  it('a single excluded id is encoded as older versions read it', () => {
    const bytes = encodeEnvelope(stamp, { ...sent, data: '', exceptIds: ['n.0'] })
    const flags = bytes.length - 'n.0'.length - 2
    expect(bytes[flags]).toBe(1 | 2) // text, and one id
    expect(bytes.subarray(-3).toString()).toBe('n.0')
  })

  it('an urgent message is encoded as older versions read it, and excludes nobody there', () => {
    const urgent = { volatile: false, urgent: true }
    const bytes = encodeEnvelope(stamp, { ...sent, data: '', options: urgent })
    expect([...bytes.subarray(-2)]).toEqual([1 | 2, 0]) // text, and one id, which is empty
    const direct = encodeEnvelope(stamp, { kind: 'direct', connectionId: 'n.0', data: '', options: urgent })
    expect(direct[direct.length - 'n.0'.length - 2]).toBe(1 | 2) // of which they ignore the second
  })

  it('an envelope with every known flag is decoded, and its lists of exclusions count', () => {
    const bytes = encodeEnvelope(stamp, {
      ...sent,
      data: '',
      rooms: ['a', 'b'],
      union: 1,
      exceptIds: ['n.0', 'n.1'],
      options: { key: 'k', volatile: true },
    })
    const flags = bytes.indexOf(1 | 4 | 8 | 16 | 32, 2)
    const all = Buffer.from(bytes)
    all[flags] = 63
    expect(decode(all)).toEqual(decode(bytes))
  })

  it('a payload is decoded without a copy', () => {
    const bytes = encodeEnvelope(stamp, { ...sent, data: Buffer.alloc(100_000, 1) })
    const { body: read } = decode(bytes)
    if (read.kind !== 'message' || typeof read.data === 'string') throw new Error('another body')
    expect(read.data.buffer).toBe(bytes.buffer)
  })

  it('invalid UTF-8 in text is replaced, since a browser would close the connection', () => {
    const bytes = encodeEnvelope(stamp, { ...sent, data: 'ab' })
    bytes[bytes.length - 1] = 0xff
    expect(decode(bytes).body).toMatchObject({ data: 'a\ufffd' })
  })

  it('bytes after a known body are ignored, since a newer version may write them', () => {
    const bytes = encodeEnvelope(stamp, { kind: 'heartbeat', isHello: true, awayMs: 7 })
    const longer = Buffer.concat([bytes, Buffer.from([1, 2, 3])])
    expect(decode(longer)).toEqual(decode(bytes))
  })
})

describe('bytes that are no envelope', () => {
  it('any bytes decode or throw a HubError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const error = fault(Buffer.from(bytes))
        expect(error === undefined || error instanceof HubError).toBe(true)
      }),
      { numRuns: 5_000 },
    )
  })

  it('an envelope that was changed or cut short decodes or throws a HubError', () => {
    fc.assert(
      fc.property(body, natural, fc.nat(255), fc.boolean(), (sent, place, value, isCut) => {
        const bytes = encodeEnvelope(stamp, sent)
        const at = place % bytes.length
        bytes[at] = value
        const error = fault(isCut ? bytes.subarray(0, at) : bytes)
        expect(error === undefined || error instanceof HubError).toBe(true)
      }),
      { numRuns: 5_000 },
    )
  })

  it('any bytes after a valid header decode or throw a HubError', () => {
    const start = encodeEnvelope(stamp, { kind: 'leave' })
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 9 }), fc.uint8Array({ maxLength: 60 }), (kind, tail) => {
        const bytes = Buffer.concat([start, tail])
        bytes[1] = kind
        const error = fault(bytes)
        expect(error === undefined || error instanceof HubError).toBe(true)
      }),
      { numRuns: 5_000 },
    )
  })

  const alive = encodeEnvelope(stamp, { kind: 'heartbeat', isHello: false, awayMs: 0 })
  const message = encodeEnvelope(stamp, { ...sent, data: '' })
  const flagsAt = message.length - 1
  const changed = (bytes: Buffer, at: number, value: number) => {
    const copy = Buffer.from(bytes)
    copy[at] = value
    return copy
  }
  const union = encodeEnvelope(stamp, { ...sent, data: '', rooms: ['a'], union: 1 })
  const keyed = encodeEnvelope(stamp, { ...sent, data: '', options: { key: '' } })
  const asked = encodeEnvelope(stamp, { kind: 'request', id: 1, request: { op: 'node' } })
  const selected = encodeEnvelope(stamp, {
    kind: 'request',
    id: 1,
    request: { op: 'leave', selection: { by: 'all', names: [] }, rooms: [] },
  })
  const nothing: Body = { kind: 'response', id: 1, part: 0, isLast: true, response: { type: 'nothing' } }
  const replied = encodeEnvelope(stamp, nothing)
  const varint = Buffer.from([255, 255, 255, 255, 255, 255, 255, 255, 1])

  it.each([
    ['nothing at all', Buffer.alloc(0), 'WSHUB_ERR_ENVELOPE', 'it ends too early'],
    ['another version', changed(alive, 0, 2), 'WSHUB_ERR_ENVELOPE_VERSION', 'version 2'],
    ['an unknown kind', changed(alive, 1, 200), 'WSHUB_ERR_ENVELOPE_VERSION', 'an unknown kind'],
    ['an unknown flag', changed(message, flagsAt, 64), 'WSHUB_ERR_ENVELOPE_VERSION', 'an unknown flag'],
    [
      'an unknown request',
      changed(asked, asked.length - 1, 99),
      'WSHUB_ERR_ENVELOPE_VERSION',
      'an unknown request',
    ],
    [
      'an unknown response',
      changed(replied, replied.length - 1, 99),
      'WSHUB_ERR_ENVELOPE_VERSION',
      'an unknown response',
    ],
    [
      'an unknown selection',
      changed(selected, selected.length - 3, 9),
      'WSHUB_ERR_ENVELOPE',
      'unknown selection',
    ],
    [
      'a node without an id',
      encodeEnvelope({ ...stamp, node: '' }, nothing),
      'WSHUB_ERR_ENVELOPE',
      'invalid node id',
    ],
    [
      'a node with a dot',
      encodeEnvelope({ ...stamp, node: 'a.b' }, nothing),
      'WSHUB_ERR_ENVELOPE',
      'invalid node id',
    ],
    ['a room without a name', changed(union, union.length - 2, 0), 'WSHUB_ERR_ENVELOPE', 'empty room name'],
    ['an empty key', keyed, 'WSHUB_ERR_ENVELOPE', 'empty key'],
    [
      'a string beyond its end',
      changed(alive, 2, 254),
      'WSHUB_ERR_ENVELOPE',
      'a string is longer than the rest',
    ],
    [
      'a number beyond 2^53',
      Buffer.concat([alive.subarray(0, -1), varint]),
      'WSHUB_ERR_ENVELOPE',
      'a number is too large',
    ],
  ])('an envelope with %s throws its code', (_what, bytes, code, why) => {
    expect(thrownBy(() => decode(bytes))).toMatchObject({ code, message: expect.stringContaining(why) })
  })

  it('a false count of rooms costs no more than the bytes that arrived', () => {
    const start = encodeEnvelope(stamp, { kind: 'request', id: 1, request: { op: 'size', rooms: [] } })
    const bytes = Buffer.concat([start.subarray(0, -1), Buffer.from([255, 255, 255, 255, 15])])
    expect(thrownBy(() => decode(bytes))).toMatchObject({ code: 'WSHUB_ERR_ENVELOPE' })
  })
})
