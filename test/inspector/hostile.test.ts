import { channel } from 'node:diagnostics_channel'
import { connect } from 'node:net'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { Hub, type HubDiagnostics } from 'wshub'
import { NodeReport } from '../../adapters/inspector/node-report.ts'
import { OptionErrors } from '../../adapters/inspector/option-errors.ts'
import { Bus } from '../support/bus.ts'
import { FAST } from '../support/cluster.ts'
import { eventually, handshake, RawClient, recordWarnings, turn } from '../support/hub-server.ts'
import { everything, HOSTILE, inspected, Page, view } from './inspected.ts'

const CHANNELS: readonly (keyof HubDiagnostics)[] = [
  'wshub:delivery',
  'wshub:message',
  'wshub:send',
  'wshub:close',
  'wshub:upgrade:refused',
]
const listenedTo = () => CHANNELS.filter((name) => channel(name).hasSubscribers)

/** An authorize that settles when the test says so. */
function slow() {
  const calls: (() => void)[] = []
  const authorize = () => new Promise<boolean>((resolve) => calls.push(() => resolve(true)))
  return { calls, authorize }
}

describe('an inspector whose authorize takes long', () => {
  it('leaves an upgrade that was given up, and one whose client has disconnected', async () => {
    const warnings = recordWarnings()
    const { calls, authorize } = slow()
    const { hub, port } = await inspected({ authorize }, new Hub({ limits: { upgradeTimeoutMs: 50 } }))
    const client = new RawClient(port)
    client.socket.write(handshake([], 'GET /hub HTTP/1.1'))
    await client.hungUp()
    expect(client.response).toContain('HTTP/1.1 408')
    const gone = connect(port, '127.0.0.1')
    gone.write(handshake([], 'GET /hub HTTP/1.1'))
    await eventually(
      'authorize',
      () => calls.length === 2,
      () => calls.length,
    )
    gone.destroy()
    for (const settle of calls) settle()
    for (let n = 0; n < 10; n++) await turn()
    expect([hub.size, warnings.all]).toEqual([0, []])
  })

  it('leaves a page whose client has disconnected', async () => {
    const warnings = recordWarnings()
    const { calls, authorize } = slow()
    const { port } = await inspected({ authorize })
    const gone = connect(port, '127.0.0.1')
    gone.write('GET /hub HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await eventually(
      'authorize',
      () => calls.length === 1,
      () => calls.length,
    )
    gone.destroy()
    for (const settle of calls) settle()
    for (let n = 0; n < 10; n++) await turn()
    expect(warnings.all).toEqual([])
  })
})

describe('the WebSocket of a page', () => {
  it('takes whatever it is sent', async () => {
    const { hub, port } = await inspected(everything)
    const page = await Page.open(port)
    const deep = '['.repeat(20_000)
    const texts = ['', '{', 'null', '1', '[]', '{"type":"__proto__"}', '{"__proto__":{"type":"view"}}', deep]
    for (const text of texts) page.client.socket.send(text)
    page.client.socket.send(Buffer.alloc(1_000, 0xff))
    const wrong = [null, 1, [], {}, 'x', '__proto__', Number.MAX_SAFE_INTEGER, -1, 1.5]
    for (const value of wrong) {
      page.send({ type: 'view', token: value, query: value, follow: value })
      const query = {
        search: value,
        roomOrder: value,
        roomPage: value,
        clientOrder: value,
        clientPage: value,
      }
      page.view(query, { kind: value, target: value })
      page.send({ type: 'send', target: value, text: value })
      page.send({ type: 'disconnect', target: value })
      page.send({ type: value, target: 'x' })
    }
    page.view({ search: '((((a+)+)+$\\' }, { kind: 'room', target: '__proto__' })
    page.send({ type: 'send', target: '', text: 'the last' })
    await page.told('room')
    await page.shows('a snapshot', ({ token, followed }) => token === 't' && !followed.isHere)
    expect(hub.size).toBe(1)
  })

  it('is closed with 1009 for 10 MB, also where the hub admits them', async () => {
    const text = JSON.stringify({ type: 'view', token: 'x'.repeat(10_000_000) })
    for (const options of [{}, { maxMessageSize: 16_777_216 }]) {
      const { port } = await inspected(view, new Hub({ ...options, onError: () => {} }))
      const page = await Page.open(port)
      page.client.socket.send(text)
      expect(await page.client.closed()).toMatch(/^1009/)
    }
  })

  it('gets one snapshot a second, however often it asks', async () => {
    const { port } = await inspected(view)
    const page = await Page.open(port)
    await page.shows('the first')
    for (let n = 0; n < 1_000; n++) page.view({ search: `${n}` })
    page.send({ type: 'send', target: 'x', text: 'x' })
    await page.told('You may not send')
    expect(page.client.received.all.length).toBeLessThan(100)
  })
})

describe('what clients and the application choose', () => {
  it('hides no other client: metadata that throws, is a promise, is a circle, or has 64 kB', async () => {
    const circle: { itself?: object } = {}
    circle.itself = circle
    const values: (() => unknown)[] = [
      () => {
        throw new Error(HOSTILE)
      },
      async () => {
        throw new Error(HOSTILE)
      },
      async () => ({ name: 'late' }),
      () => circle,
      () => 1n,
      () => ({ large: 'm'.repeat(65_536) }),
      () => undefined,
      () => ({
        toJSON() {
          throw null
        },
      }),
      () => ({
        inner: {
          async toJSON() {
            throw new Error(HOSTILE)
          },
        },
      }),
    ]
    const ids: string[] = []
    const errors: Error[] = []
    const { hub, port, client } = await inspected(
      { ...view, metadata: ({ id }) => values[ids.indexOf(id)]?.() },
      new Hub({ onError: (error) => errors.push(error) }),
    )
    for (const _ of values) await client()
    ids.push(...hub.connections().map(({ id }) => id))
    const page = await Page.open(port)
    const { clients } = await page.shows('all clients')
    const failed = '(the option metadata has failed)'
    // Not that of the page, which may be the first one when its messages wait.
    const shownRows = clients.rows.filter(({ id }) => ids.includes(id))
    expect(shownRows.map(({ metadata }) => metadata)).toEqual([
      failed,
      failed,
      failed,
      failed,
      failed,
      `{"large":"${'m'.repeat(190)}`,
      '',
      failed,
      failed,
    ])
    expect(errors.map(({ message }) => message)).toEqual([HOSTILE]) // one of all
    const shown = await page.shows('the error', (each) => each.errors.length > 0)
    expect(shown.errors).toMatchObject([{ text: HOSTILE }])
    page.view({ search: 'mmm' })
    await page.shows('the one', ({ clients }) => clients.matching === 1)
  })

  it('does not end the process: metadata with several promises that reject, wherever they are', async () => {
    const reject = (text: string) => Promise.reject(new Error(text))
    const pair = () => ({ user: reject('user'), plan: reject('plan') })
    const revoked = Proxy.revocable({}, {})
    revoked.revoke()
    const values: readonly (() => unknown)[] = [
      pair,
      () => [1, reject('one'), [reject('two')]],
      () => ({ large: 10n, ...pair() }),
      () => ({ ...pair(), large: 10n }),
      () => new Map([['both', pair()]]),
      () => new Map([[pair(), 1]]),
      () => ({ inner: new Set([reject('one'), reject('two')]) }),
      () => ({ proxy: revoked.proxy, ...pair() }),
      () => ({ toJSON: () => pair(), before: 1 }),
      () => {
        const circle: { itself?: object } = {}
        circle.itself = circle
        return { circle, list: [pair()] }
      },
      () => {
        let deep: object = pair()
        for (let n = 0; n < 900; n++) deep = { deep, n: n === 450 ? 1n : n }
        return deep
      },
      () =>
        Object.fromEntries([
          ['then', 'a text'],
          ['user', 'bob'],
        ]),
    ]
    const unhandled: unknown[] = []
    const listener = (reason: unknown) => unhandled.push(reason)
    process.on('unhandledRejection', listener)
    onTestFinished(() => void process.off('unhandledRejection', listener))
    const ids: string[] = []
    const { hub, port, client } = await inspected(
      { ...view, metadata: ({ id }) => values[ids.indexOf(id)]?.() },
      new Hub({ onError: () => {} }),
    )
    for (const _ of values) await client()
    ids.push(...hub.connections().map(({ id }) => id))
    const page = await Page.open(port)
    const { clients } = await page.shows('all clients')
    for (let n = 0; n < 10; n++) await turn()
    const failed = '(the option metadata has failed)'
    const shownRows = clients.rows.filter(({ id }) => ids.includes(id)) // not that of the page
    expect(shownRows.map(({ metadata }) => metadata)).toEqual([
      ...[failed, failed, failed, failed, '{}', '{}', '{"inner":{}}', failed, failed, failed, failed],
      '{"then":"a text","user":"bob"}',
    ])
    expect(unhandled).toEqual([])
  })

  it('fits into a message between nodes: thousands of rooms with names of 1,024 bytes', async () => {
    const bus = new Bus()
    const errors: Error[] = []
    const make = () =>
      new Hub({ backplane: bus.backplane(), cluster: FAST, onError: (error) => errors.push(error) })
    const one = await inspected(view, make())
    const other = await inspected(view, make())
    await Promise.all([one.hub.cluster.ready(), other.hub.cluster.ready()])
    for (let n = 0; n < 2; n++) await other.client()
    const name = (n: number) => `${n}`.padStart(4, '0') + '\u202e'.repeat(340)
    for (const connection of other.hub.connections()) {
      other.hub.joinRoom(
        connection,
        Array.from({ length: 1_000 }, (_, n) => name(n)),
      )
    }
    const pages = []
    for (let n = 0; n < 8; n++) pages.push(await Page.open(one.port))
    for (const [n, page] of pages.entries()) page.view({ roomPage: 12 + n, clientPage: n })
    for (const page of pages) {
      const both = await page.shows(
        'both nodes',
        ({ nodes, rooms }) => nodes.length === 2 && rooms.pages === 20,
      )
      expect(both.without).toEqual([])
    }
    expect(errors).toEqual([])
  })

  it('shows the other nodes when one answers nonsense, or has no inspector', async () => {
    const bus = new Bus()
    const make = () => new Hub({ backplane: bus.backplane(), cluster: FAST, onError: () => {} })
    const one = await inspected(view, make())
    const others = ['{', '{}', '{"row":{"node":"x"},"replies":{}}'].map((answer) => {
      const hub = make()
      hub.cluster.handle('wshub:inspector:1', () => answer)
      return hub
    })
    others.push(make())
    try {
      await Promise.all([one.hub, ...others].map((hub) => hub.cluster.ready()))
      const page = await Page.open(one.port)
      const { nodes, without } = await page.shows('all', ({ without }) => without.length === others.length)
      expect(nodes.map(({ node }) => node)).toEqual([one.hub.cluster.node])
      expect([...without].sort()).toEqual(others.map(({ cluster }) => cluster.node).sort())
    } finally {
      await Promise.all(others.map((hub) => hub.close()))
    }
  })
})

describe('errors of options', () => {
  it('are reported once a minute for each place, with the number that was left out', () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const told: string[] = []
    const errors = new OptionErrors(new Hub({ onError: ({ message }) => told.push(message) }))
    for (const text of ['first', 'second', 'third']) errors.report(new Error(text), 'the option metadata')
    errors.report(new Error('of another place'), 'the route')
    vi.advanceTimersByTime(60_000)
    errors.report(new Error('fourth'), 'the option metadata')
    errors.report(new Error('again'), 'the route')
    expect(told).toEqual([
      'first',
      'of another place',
      'the option metadata has failed 2 more times since the last report',
      'fourth',
      'again',
    ])
  })
})

describe('an inspector that nobody looks at', () => {
  afterEach(() => void vi.useRealTimers())

  it('listens to nothing', async () => {
    const { port, client } = await inspected(everything)
    await client()
    expect((await fetch(`http://127.0.0.1:${port}/hub`)).status).toBe(200)
    expect(listenedTo()).toEqual([])
  })

  it('stops listening 10 s after the last question, and forgets', async () => {
    vi.useFakeTimers()
    const hub = new Hub()
    const report = new NodeReport(hub, undefined, new OptionErrors(hub))
    const follow = { kind: 'room', target: 'x', key: 'k', payloads: true }
    report.answer(JSON.stringify([{ follow }]))
    expect(listenedTo()).toEqual(CHANNELS)
    vi.advanceTimersByTime(9_999)
    expect(listenedTo()).toEqual(CHANNELS)
    vi.advanceTimersByTime(1)
    expect(listenedTo()).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
    report.answer('[]')
    expect(listenedTo()).not.toEqual([])
    await hub.close()
    expect(listenedTo()).toEqual([])
  })
})
