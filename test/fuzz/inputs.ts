/** Inputs for a server: handshakes and frames, correct, malformed, mutated and random. */
import { constants, deflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import { Opcode } from 'wshub'
import { type Body, encodeEnvelope } from '../../src/cluster/wire/envelope.ts'
import { close, wire } from '../conformance/wire.ts'
import { handshake, request } from '../support/raw.ts'

/**
 * How a client ends: with FIN, with RST, with RST once it has received something, or with FIN after a while.
 */
export const Ending = { fin: 'fin', reset: 'reset', answered: 'answered', late: 'late' } as const

export type Ending = (typeof Ending)[keyof typeof Ending]

/** The bytes for one TCP connection. */
export interface Input {
  /**
   * A handshake that succeeds, and whose 101 is waited for unless `eager`; empty if the handshake itself is
   * the attack.
   */
  opening: string
  eager: boolean
  bytes: Uint8Array
  /** Where `bytes` are cut into packets, as fractions of their length. */
  cuts: readonly number[]
  ending: Ending
}

/** A fraction, whole or in between. */
const fraction = fc.nat(1_000).map((n) => n / 1_000)

/** A value that is usual most of the time. */
function mostly<T>(weight: number, usual: fc.Arbitrary<T>, odd: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ weight, arbitrary: usual }, { weight: 1, arbitrary: odd })
}

type Mutation = (bytes: Buffer) => Buffer

const at = (bytes: Buffer, where: number) => Math.min(bytes.length, Math.floor(where * bytes.length))

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(fraction, fc.nat(7)).map(([where, bit]) => (bytes: Buffer) => {
    const copy = Buffer.from(bytes)
    const i = at(bytes, where)
    if (i < copy.length) copy[i] = (copy[i] ?? 0) ^ (1 << bit)
    return copy
  }),
  fc
    .tuple(fraction, fc.constantFrom(0, 9, 10, 13, 32, 44, 58, 59, 0x7f, 0x80, 0xff))
    .map(([where, byte]) => (bytes: Buffer) => {
      const copy = Buffer.from(bytes)
      if (at(bytes, where) < copy.length) copy[at(bytes, where)] = byte
      return copy
    }),
  fc
    .tuple(fraction, fc.uint8Array({ minLength: 1, maxLength: 16 }))
    .map(([where, more]) => (bytes: Buffer) => {
      const i = at(bytes, where)
      return Buffer.concat([bytes.subarray(0, i), more, bytes.subarray(i)])
    }),
  fc.tuple(fraction, fraction).map(([one, other]) => (bytes: Buffer) => {
    const [start, end] = [at(bytes, Math.min(one, other)), at(bytes, Math.max(one, other))]
    return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)])
  }),
  fc.tuple(fraction, fraction).map(([one, other]) => (bytes: Buffer) => {
    const [start, end] = [at(bytes, Math.min(one, other)), at(bytes, Math.max(one, other))]
    return Buffer.concat([bytes.subarray(0, end), bytes.subarray(start)])
  }),
  fraction.map((where) => (bytes: Buffer) => bytes.subarray(0, at(bytes, where))),
)

function mutated(original: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  return fc
    .tuple(original, fc.array(mutation, { minLength: 1, maxLength: 3 }))
    .map(([bytes, mutations]) => mutations.reduce((result, mutate) => mutate(result), bytes))
}

function deflated(payload: string): Buffer {
  return deflateRawSync(Buffer.from(payload), { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)
}

const payload: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 3, arbitrary: fc.uint8Array({ maxLength: 130 }) },
  { weight: 3, arbitrary: fc.string({ unit: 'grapheme', maxLength: 40 }).map((text) => Buffer.from(text)) },
  { weight: 3, arbitrary: fc.string({ maxLength: 200 }).map(deflated) },
  { weight: 2, arbitrary: mutated(fc.string({ maxLength: 200 }).map(deflated)) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(
        fc.oneof(fc.constantFrom(999, 1000, 1004, 1006, 1011, 1016, 3000, 5000), fc.nat(0xffff)),
        fc.string({ unit: 'binary', maxLength: 30 }),
      )
      .map(([code, reason]) => Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)])),
  },
  { weight: 1, arbitrary: fc.constantFrom('join', 'join fuzz').map((text) => Buffer.from(text)) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom(125, 126, 127, 4_096, 65_535, 65_536, 65_537)
      .map((length) => Buffer.alloc(length, 'x')),
  },
  { weight: 1, arbitrary: fc.constantFrom(65_536, 65_537, 4_000_000).map((n) => deflated('x'.repeat(n))) },
)

const LENGTHS = [
  0n,
  1n,
  125n,
  126n,
  65_535n,
  65_536n,
  2n ** 32n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
]

const frame: fc.Arbitrary<Buffer> = fc
  .record({
    opcode: mostly<number>(12, fc.constantFrom(...Object.values(Opcode)), fc.nat(15)),
    fin: mostly(4, fc.constant(true), fc.constant(false)),
    rsv: mostly(9, fc.constantFrom(0, 0, 4), fc.nat(7)),
    mask: mostly<readonly number[] | null>(
      20,
      fc.array(fc.nat(255), { minLength: 4, maxLength: 4 }),
      fc.constantFrom(null, [0, 0, 0, 0]),
    ),
    payload,
    longer: mostly<16 | 64 | undefined>(8, fc.constant(undefined), fc.constantFrom(16, 64)),
    length: mostly<bigint | undefined>(12, fc.constant(undefined), fc.constantFrom(...LENGTHS)),
  })
  .map(({ longer, length, ...init }) => {
    const announced = length ?? BigInt(init.payload.length)
    const form = longer === 16 && announced > 65_535n ? 64 : longer
    return wire({ ...init, length: announced, ...(form === undefined ? {} : { form }) })
  })

const frames = fc
  .tuple(fc.array(frame, { minLength: 1, maxLength: 8 }), fc.constantFrom(undefined, undefined, close(1000)))
  .map(([all, last]) => Buffer.concat(last === undefined ? all : [...all, last]))

const PATHS = [
  '/',
  '/',
  '/',
  '/async',
  '/late',
  '/refuse',
  '/http',
  '/large',
  '/events',
  '/broken',
  '/nowhere',
]
const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='

/** Almost valid values, by the header they are for. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  Host: ['localhost', 'localhost:80', '', 'a b', '[::1', 'x'.repeat(300)],
  Connection: [
    'Upgrade',
    'keep-alive, Upgrade',
    'close',
    'upgrade,',
    ',,,',
    'Upgrade; x',
    'HTTP2-Settings, Upgrade',
  ],
  Upgrade: ['websocket', 'WebSocket', 'h2c', 'websocket, h2c', 'websocket/13', '', 'TLS/1.0', ',websocket'],
  'Sec-WebSocket-Version': ['13', '8', '0', '13, 8', '013', '', '-1', '13.0'],
  'Sec-WebSocket-Key': [
    KEY,
    '',
    'x',
    `${KEY}=`,
    'AAAAAAAAAAAAAAAAAAAAAA==',
    KEY.toLowerCase(),
    'ü'.repeat(12),
  ],
  'Sec-WebSocket-Protocol': ['chat', 'chat, other', ',', 'chat, chat', 'a b', '__proto__', 'x'.repeat(5_000)],
  'Sec-WebSocket-Extensions': [
    'permessage-deflate',
    'permessage-deflate; client_max_window_bits; server_max_window_bits=8',
    'permessage-deflate; server_max_window_bits=99',
    'permessage-deflate; constructor',
    'permessage-deflate;',
    '__proto__; a=1, permessage-deflate',
    'permessage-deflate; client_max_window_bits=8, permessage-deflate; client_max_window_bits="10"',
    'a; b="\\',
    'permessage-deflate, '.repeat(200),
  ],
  Origin: [
    'http://localhost',
    'null',
    'https://evil.example',
    'http://',
    'http://[',
    '\u00fc',
    'x'.repeat(3_000),
  ],
  'Content-Length': ['0', '5', '-1', 'x', '99999999999999999999', '5, 6'],
  'Transfer-Encoding': ['chunked', 'gzip, chunked', 'identity', 'x'],
  Expect: ['100-continue', 'x'],
  'HTTP2-Settings': ['AAMAAABkAARAAAAAAAIAAAAA'],
  Forwarded: [
    'for=192.0.2.1;proto=https, for="[2001:db8::1]:4711"',
    'for=";for=192.0.2.1',
    `${' '.repeat(12_000)}a`,
    'for=192.0.2.1,'.repeat(600),
    'for="\\\\',
  ],
  Cookie: ['a=1', 'x'.repeat(4_000)],
}

const header: fc.Arbitrary<readonly [string, string]> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .constantFrom(...Object.keys(VALUES))
      .chain((name) => fc.constantFrom(...(VALUES[name] ?? [])).map((value) => [name, value] as const)),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(
      fc.string({ minLength: 1, maxLength: 20 }),
      fc.string({ unit: 'binary-ascii', maxLength: 40 }),
    ),
  },
)

/** A handshake with some headers in another form, and optional further bytes. */
const oddHandshake = fc
  .record({
    path: fc.constantFrom(...PATHS),
    method: mostly(6, fc.constant('GET'), fc.constantFrom('POST', 'HEAD', 'CONNECT', 'OPTIONS', 'get', 'X')),
    headers: fc.array(header, { maxLength: 5 }),
    body: mostly(3, fc.constant(''), fc.constantFrom('hello', '5\r\nhello\r\n0\r\n\r\n', 'x'.repeat(70_000))),
    tail: mostly(2, fc.constant(Buffer.alloc(0)), frames),
  })
  .map(({ path, method, headers, body, tail }) =>
    Buffer.concat([handshake(path, { method, headers: Object.fromEntries(headers), body }), tail]),
  )

/**
 * Upgrades to other protocols, with more headers than Node keeps, or pipelined with other requests, bodies
 * included.
 */
const h2c = { Connection: 'Upgrade, HTTP2-Settings', Upgrade: 'h2c', 'HTTP2-Settings': 'AAMAAABkAAQAAP__' }
const smuggled = request('/smuggled')
const cutRequest = fc
  .tuple(fc.constantFrom(900, 998, 999, 1_000, 1_001, 1_100), fc.boolean())
  .map(([count, isWebSocket]) => {
    const bytes = isWebSocket ? handshake('/') : request('/http', { method: 'POST', headers: h2c })
    const head = bytes.toString('latin1').slice(0, -2)
    return Buffer.from(
      `${head}${'a:\r\n'.repeat(count)}Content-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
    )
  })
const queuedRequest = fc
  .array(
    fc.constantFrom(
      request('/http'),
      request('/slow'),
      request('/large'),
      request('/http', { headers: h2c }),
      request('/slow', { headers: h2c }),
      request('/large', { headers: h2c }),
      request('/http', { method: 'POST', headers: { ...h2c, 'Content-Length': '5' }, body: 'hello' }),
      request('/slow', {
        method: 'POST',
        headers: { ...h2c, 'Transfer-Encoding': 'chunked' },
        body: '5\r\nhello\r\n0\r\n\r\n',
      }),
      handshake('/large'),
    ),
    { minLength: 1, maxLength: 5 },
  )
  .map((requests) => Buffer.concat(requests))

/**
 * Barriers of cluster nodes, which keep calls behind messages: they are read, counted and held before they
 * are verified.
 */
const natural = fc.oneof(fc.nat(3), fc.maxSafeNat())
const channel = fc.oneof(fc.constantFrom('wshub.c', 'wshub.a', ''), fc.string())
const body: fc.Arbitrary<Body> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('barriers'),
      barriers: fc.array(fc.record({ channel, epoch: natural, sequence: natural, ageMs: natural }), {
        maxLength: 40,
      }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('request'),
      id: natural,
      request: fc.record({ op: fc.constantFrom('connections', 'node') }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('checkpoint'), nonce: natural }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('leave') }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('heartbeat'), isHello: fc.boolean(), awayMs: natural }),
  },
)
const envelope = fc
  .record({ node: fc.constantFrom('a', 'b', 'c'), epoch: natural, sequence: natural })
  .chain((stamp) => body.map((one) => encodeEnvelope(stamp, one)))
const publishing = fc
  .array(mostly(2, envelope, mutated(envelope)), { minLength: 1, maxLength: 6 })
  .map((envelopes) =>
    Buffer.concat(
      envelopes.map((bytes) =>
        request('/envelope', {
          method: 'POST',
          headers: { 'Content-Length': String(bytes.length) },
          body: bytes.toString('latin1'),
        }),
      ),
    ),
  )

const oddRequest = fc.oneof(
  queuedRequest,
  fc.constantFrom('/', '/http', '/nowhere', '*', '//', 'http://a/b').map((path) => request(path)),
  fc
    .array(
      fc.constantFrom(
        handshake('/'),
        request('/http'),
        request('/late'),
        handshake('/late'),
        request('/broken'),
      ),
      {
        minLength: 2,
        maxLength: 4,
      },
    )
    .map((requests) => Buffer.concat(requests)),
  fc.constantFrom(
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    Buffer.from('16030100c8010000c40303', 'hex'),
    handshake('/', { headers: { Cookie: 'x'.repeat(20_000) } }),
    handshake('/', { headers: { 'X-Many': Array.from({ length: 3_000 }, () => 'x') } }),
    handshake(`/${'x'.repeat(20_000)}`),
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.from('GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'),
    Buffer.from('\r\n'.repeat(2_000)),
  ),
)

const attackOnHandshake = fc.oneof(
  { weight: 4, arbitrary: oddHandshake },
  { weight: 4, arbitrary: mutated(oddHandshake) },
  { weight: 2, arbitrary: oddRequest },
  { weight: 1, arbitrary: mutated(oddRequest) },
  { weight: 2, arbitrary: publishing },
  { weight: 1, arbitrary: cutRequest }, // never mutated: with another length the body were a request by right
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes)) },
)

function bomb(opcode: number): Buffer {
  const mask = [1, 2, 3, 4]
  return wire({ opcode, fin: true, rsv: 4, mask, payload: deflated('x'.repeat(65_536)) })
}

/** Messages of the largest allowed size, compressed to some 80 bytes each: a packet of them is 50 MB. */
const bombs = fc
  .tuple(fc.constantFrom(...[Opcode.text, Opcode.binary].map(bomb)), fc.constantFrom(10, 100, 100, 700))
  .map(([one, count]) => Buffer.concat(Array.from({ length: count }, () => one)))

const attackOnConnection = fc.oneof(
  { weight: 5, arbitrary: frames },
  { weight: 4, arbitrary: mutated(frames) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes)) },
)

const DEFLATE = { 'Sec-WebSocket-Extensions': 'permessage-deflate' }

const OPENINGS = [{}, DEFLATE].flatMap((headers) =>
  ['/', '/async', '/late', '/paused'].map((path) => handshake(path, { headers }).toString('latin1')),
)

const manner = {
  cuts: fc.oneof(fc.constant([]), fc.array(fraction, { maxLength: 4 })),
  ending: fc.constantFrom(Ending.fin, Ending.reset, Ending.answered),
}

export const input: fc.Arbitrary<Input> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      ...manner,
      opening: fc.constant(''),
      eager: fc.constant(true),
      bytes: attackOnHandshake,
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      ...manner,
      opening: fc.constantFrom(...OPENINGS),
      eager: fc.boolean(),
      bytes: attackOnConnection,
    }),
  },
  {
    weight: 1, // each is 15 MB to inflate: most of what the fuzz computes
    arbitrary: fc.record({
      ...manner,
      opening: fc.constant(handshake('/paused', { headers: DEFLATE }).toString('latin1')),
      eager: fc.constant(false),
      bytes: bombs,
      ending: fc.constant(Ending.late), // until then nothing but the pause keeps them from being inflated
    }),
  },
)
