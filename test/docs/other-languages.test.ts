import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import type { Backplane, Gap, HubOptions } from 'wshub'
import { jetstreamHistory, natsBackplane } from 'wshub/nats'
import { redisBackplane, redisHistory } from 'wshub/redis'
import { ChannelNames } from '../../src/cluster/wire/channel-names.ts'
import { encodeEnvelope, openEnvelope, readBody } from '../../src/cluster/wire/envelope.ts'
import { Journal, serve } from '../support/hub-server.ts'
import { inTime } from '../support/in-time.ts'
import { type Engine, redis, startJetStream, startRedis } from '../support/servers.ts'
import { toolPath } from '../support/tools.ts'

const page = readFileSync(new URL('../../docs/other-languages.md', import.meta.url), 'utf8')
const [, script = ''] = /^```python\n(# publish\.py\n.*?)^```$/ms.exec(page) ?? []

/** Runs lines of Python below the script of the page; returns what they print. */
async function python(...lines: readonly string[]): Promise<string> {
  const program = `${script}\n${lines.join('\n')}\n`
  const run = promisify(execFile)(toolPath('python'), ['-c', program], { env: { PYTHONUTF8: '1' } })
  return (await inTime('the script', run)).stdout
}

/** The script without an engine: its socket leads nowhere, and every reply is the right one. */
const OFFLINE = [
  'class Silent:',
  '    def sendall(self, sent): pass',
  '    def makefile(self, mode): return self',
  "    def readline(self): return b':0'",
  'socket.create_connection = lambda address: Silent()',
  "p = Publisher('redis', 0)",
  "p.node = 'n'",
]

/** A node with two clients in a room. */
async function node(backplane: Backplane, room: string, options: HubOptions = {}) {
  const gaps = new Journal<Gap>()
  const faults = new Journal<Error>()
  const served = await serve({
    backplane,
    cluster: { onGap: (gap) => gaps.push(gap) },
    onError: (error) => faults.push(error),
    ...options,
  })
  await served.hub.cluster.ready()
  const ada = await served.connect()
  const bob = await served.connect()
  await served.hub.cluster.join({ id: [ada.connection.id, bob.connection.id] }, room)
  return { ...served, ada, bob, gaps, faults }
}

describe('the script of docs/other-languages.md', () => {
  it('has at most 40 lines, without the empty ones', () => {
    const lines = script.split('\n').filter((line) => line.trim() !== '')
    expect(lines.length).toBeGreaterThan(20)
    expect(lines.length).toBeLessThanOrEqual(40)
  })

  // None of these bytes may ever change: programs that are not of this package write them.
  const plain = { rooms: undefined, union: 0, exceptIds: [], exceptRooms: [], options: undefined }
  it.each([
    ["'hi'", '01 00 02 6e 01 01 01 68 69', { data: 'hi' }],
    [String.raw`b'\x00\xff'`, '01 00 02 6e 01 01 00 00 ff', { data: Buffer.from([0, 255]) }],
    ["'é😀'", '01 00 02 6e 01 01 01 c3 a9 f0 9f 98 80', { data: 'é😀' }],
    ["''", '01 00 02 6e 01 01 01', { data: '' }],
    ["'hi', except_id='a.1'", '01 00 02 6e 01 01 03 06 61 2e 31 68 69', { data: 'hi', exceptIds: ['a.1'] }],
    [
      "'hi', key='é', volatile=True",
      '01 00 02 6e 01 01 0d 02 e9 68 69',
      { data: 'hi', options: { key: 'é', volatile: true } },
    ],
    [
      "'hi', key='Ж', except_id='a.1'",
      '01 00 02 6e 01 01 07 06 61 2e 31 03 16 04 68 69',
      { data: 'hi', exceptIds: ['a.1'], options: { key: 'Ж', volatile: false } },
    ],
  ])('writes %s as %s, like a hub', async (args, hex, body) => {
    const written = await python(...OFFLINE, `print(p.publish('tea', ${args}).hex(' '))`)
    expect(written.trim()).toBe(hex)
    const message = { kind: 'message', ...plain, ...body } as const
    expect(encodeEnvelope({ node: 'n', epoch: 1, sequence: 1 }, message).toString('hex')).toBe(
      hex.replaceAll(' ', ''),
    )
  })

  it('counts for each channel, and with numbers of any size', async () => {
    const written = await python(
      ...OFFLINE,
      "p.sequences = {'wshub.r.tea': 2**31 + 298}",
      "print(p.publish('tea', '').hex(), p.publish('tea', '').hex(), p.publish('', '').hex(), sep='\\n')",
    )
    const stamps = written
      .trim()
      .split('\n')
      .map((hex) => openEnvelope(Buffer.from(hex, 'hex')).stamp)
    expect(stamps.map(({ sequence }) => sequence)).toEqual([2 ** 31 + 299, 2 ** 31 + 300, 1])
  })

  it('writes the channels of any names, and any keys', async () => {
    const names = fc.sample(
      fc.oneof(
        fc.string(),
        fc.string({ unit: 'binary' }),
        fc.array(fc.nat(0xffff)).map((units) => String.fromCharCode(...units)), // with lone surrogates
        fc.string({ minLength: 100, maxLength: 400, unit: fc.constantFrom('a', 'é', '_', '.', '²', 'Ж') }),
      ),
      100,
    )
    const printed = await python(
      'import json',
      ...OFFLINE,
      `for name in json.loads(r'''${JSON.stringify(names).replaceAll("'", '\\u0027')}'''):`,
      "    print(json.dumps([p.channel(name), p.publish('tea', '', key=name or 'k').hex()]))",
    )
    const channels = new ChannelNames('wshub')
    const lines = printed
      .trim()
      .split('\n')
      .map((line): [string, string] => JSON.parse(line))
    expect(lines.map(([channel]) => channel)).toEqual(names.map((name) => channels.room(name)))
    const keys = lines.map(([, hex]) => {
      const body = readBody(openEnvelope(Buffer.from(hex, 'hex')))
      return body.kind === 'message' ? body.options?.key : undefined
    })
    expect(keys).toEqual(names.map((name) => name || 'k'))
  })
})

describe.each([
  [
    'redis',
    () => startRedis(),
    (port: number) => redisBackplane({ url: `redis://127.0.0.1:${port}` }),
    (port: number) => redisHistory({ url: `redis://127.0.0.1:${port}` }),
  ],
  [
    'nats',
    () => startJetStream(),
    (port: number) => natsBackplane({ servers: `127.0.0.1:${port}` }),
    (port: number) => jetstreamHistory({ servers: `127.0.0.1:${port}` }),
  ],
] as const)('publishing from Python over %s', (name, start, backplaneOf, storeOf) => {
  let engine: Engine

  beforeAll(async () => {
    engine = await start()
  })

  afterAll(() => engine?.stop())

  it('reaches the members of a room, in order, and without a gap', async () => {
    const room = 'tea & 茶/☕'
    const { ada, bob, gaps, faults, hub } = await node(backplaneOf(engine.port), room)
    await python(
      `p = Publisher('${name}', ${engine.port})`,
      `room = '${room}'`,
      "p.publish(room, 'text')",
      String.raw`p.publish(room, b'\x00\xff')`,
      "p.publish(room, 'é 茶 😀')",
      "p.publish('coffee', 'not for them')",
      `p.publish(room, 'only for Bob', except_id='${ada.connection.id}')`,
      "p.publish(room, '42', key='price', volatile=True)",
      "p.publish(room, 'x' * 200_000)",
      "p.publish('', 'to all')",
      "p.publish(room, 'end')",
    )
    // From channel to channel there is no order.
    const seen = async ({ client }: typeof ada) =>
      (await client.upTo('end')).filter((data) => data !== 'to all')
    const long = 'x'.repeat(200_000)
    expect(await seen(ada)).toEqual(['text', '0x00ff', 'é 茶 😀', '42', long])
    expect(await seen(bob)).toEqual(['text', '0x00ff', 'é 茶 😀', 'only for Bob', '42', long])
    await ada.client.received.first('what went to all', (data) => data === 'to all')
    expect([gaps.all, faults.all]).toEqual([[], []])
    expect(hub.cluster.stats()).toMatchObject({ received: 8, malformed: 0, unknown: 0, repeated: 0 })
  })

  it('is taken from a second process, and a skipped number is a gap', async () => {
    const { ada, gaps } = await node(backplaneOf(engine.port), 'tea')
    const publisher = `p = Publisher('${name}', ${engine.port})`
    await python(publisher, "p.publish('tea', 'first process')")
    await python(
      publisher,
      "p.publish('tea', 'second')",
      "p.sequences['wshub.r.tea'] += 2",
      "p.publish('tea', 'end')",
    )
    expect(await ada.client.upTo('end')).toEqual(['first process', 'second'])
    expect(gaps.all).toMatchObject([{ scope: 'room', room: 'tea', count: 2 }])
  })

  it('reaches a room with a history, and is not stored there', async () => {
    const history = { store: storeOf(engine.port), rooms: () => ({}) }
    const { ada, hub } = await node(backplaneOf(engine.port), 'kept', { history })
    await python(`Publisher('${name}', ${engine.port}).publish('kept', 'from outside')`)
    await ada.client.received.first('the message', (data) => data === 'from outside')
    expect((await hub.history('kept')).messages).toEqual([])
  })
})

describe('a Redis that limits what the script may do', () => {
  it('names the reason when it has a password', async () => {
    const engine = await startRedis('--requirepass', 'secret')
    onTestFinished(() => engine.stop())
    await expect(python(`Publisher('redis', ${engine.port}).publish('tea', 'hi')`)).rejects.toThrow(/NOAUTH/)
  })

  it('lets it publish to rooms alone', async () => {
    const engine = await startRedis()
    onTestFinished(() => engine.stop())
    const rule = /ACL SETUSER … (.*?)`/.exec(page)?.[1] ?? ''
    await redis(engine.port, 'ACL', 'SETUSER', 'default', ...rule.split(' '))
    const publisher = `p = Publisher('redis', ${engine.port})`
    await python(publisher, "p.publish('tea', 'hi')")
    await expect(python(publisher, "p.publish('', 'to all')")).rejects.toThrow(/NOPERM/)
  })
})
