import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import express from 'express'
import fastify from 'fastify'
import helmet from 'helmet'
import Koa from 'koa'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { Hub } from 'wshub'
import { hubPlugin } from 'wshub/fastify'
import { type InspectorAction, type InspectorOptions, inspector } from 'wshub/inspector'
import { portOf } from '../adapters/frameworks.ts'
import { Bus, type BusBackplane } from '../support/bus.ts'
import { FAST } from '../support/cluster.ts'
import { Client, eventually, handshake, RawClient } from '../support/hub-server.ts'
import { everything, HOSTILE, inspected, messageOf, Page, served, view } from './inspected.ts'

const express4 = createRequire(import.meta.url)('express4') as typeof express // without types of its own

/** Koa logs what authorize throws. */
function silent(app: Koa): Koa {
  app.silent = true
  return app
}

/** Records the actions that are reported, until the test is over. */
function recordActions(): InspectorAction[] {
  const actions: InspectorAction[] = []
  const listener = (message: unknown) => actions.push(message as InspectorAction) // as the channel is documented
  subscribe('wshub:inspector:action', listener)
  onTestFinished(() => void unsubscribe('wshub:inspector:action', listener))
  return actions
}

const mounts: readonly (readonly [string, (hub: Hub, options: InspectorOptions) => Promise<number>])[] = [
  ['node:http', async (hub, options) => (await inspected(options, hub)).port],
  ['Express 5', (hub, options) => served(hub, express().get('/hub', inspector(hub, options)))],
  ['Express 4', (hub, options) => served(hub, express4().get('/hub', inspector(hub, options)))],
  ['Koa', (hub, options) => served(hub, silent(new Koa()).use(inspector(hub, options)).callback())],
  [
    'Fastify',
    async (hub, options) => {
      const app = fastify()
      await app.register(hubPlugin, { hub })
      app.get('/hub', inspector(hub, options))
      await app.listen({ port: 0, host: '127.0.0.1' })
      onTestFinished(async () => {
        await hub.close({ timeoutMs: 50 })
        await app.close()
      })
      return portOf(app.server)
    },
  ],
]

describe.each(mounts)('an inspector in %s', (_name, mount) => {
  it('answers 403 without authorize, to the page and to its WebSocket', async () => {
    const port = await mount(new Hub(), {})
    expect((await fetch(`http://127.0.0.1:${port}/hub`)).status).toBe(403)
    const client = new RawClient(port)
    client.socket.write(handshake([], 'GET /hub HTTP/1.1'))
    await client.hungUp()
    expect(client.response).toContain('HTTP/1.1 403')
  })

  it('serves the page, and snapshots over its WebSocket', async () => {
    const port = await mount(new Hub(), view)
    const answer = await fetch(`http://127.0.0.1:${port}/hub`)
    expect(answer.status).toBe(200)
    expect(await answer.text()).toContain('<h1>wshub inspector</h1>')
    const page = await Page.open(port)
    const { token, nodes, clients, may } = await page.shows('a snapshot')
    expect([token, nodes.length, clients.rows[0]?.isInspector]).toEqual(['t', 1, true])
    expect(may).toEqual({ view: true, payloads: false, send: false, disconnect: false })
  })

  it.each([
    ['throws', new Error('no database')],
    ['rejects', new Error('no database')],
    // Frameworks take these for something else than errors.
    ['rejects', undefined],
    ['rejects', null],
    ['rejects', 'route'],
  ])('answers 500 when authorize %s with %s', async (how, thrown) => {
    const authorize = (): Promise<boolean> => {
      if (how === 'throws') throw thrown
      return Promise.reject(thrown)
    }
    const hub = new Hub({ onError: () => {} })
    const port = await mount(hub, { authorize })
    expect((await fetch(`http://127.0.0.1:${port}/hub`)).status).toBe(500)
    const client = new RawClient(port)
    client.socket.write(handshake([], 'GET /hub HTTP/1.1'))
    await client.hungUp()
    expect(client.response).toContain('HTTP/1.1 500')
    expect(hub.size).toBe(0)
  })
})

describe('an inspector', () => {
  it('allows only its one script and style, no inline handlers, and no HTML made of text', async () => {
    const { port } = await inspected(view)
    const answer = await fetch(`http://127.0.0.1:${port}/hub`)
    const policy = answer.headers.get('content-security-policy')
    expect(policy).toMatch(
      /^default-src 'none'; script-src 'sha256-[^ ]+'; style-src 'sha256-[^ ]+'; connect-src 'self'/,
    )
    expect(policy).toContain(
      "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    )
    expect(await answer.text()).not.toMatch(/ on\w+=|innerHTML|insertAdjacentHTML|eval\(/)
  })

  it('keeps its policy behind helmet', async () => {
    const hub = new Hub()
    const port = await served(hub, express().use(helmet()).get('/hub', inspector(hub, view)))
    const { headers } = await fetch(`http://127.0.0.1:${port}/hub`)
    expect(headers.get('content-security-policy')).toMatch(/^default-src 'none'; script-src 'sha256-[^ ]+';/)
  })

  it('is mounted below a path with a wildcard, and twice', async () => {
    const hub = new Hub()
    const route = inspector(hub, view)
    const port = await served(hub, express().get('/hub/*rest', route).get('/other', route))
    for (const path of ['/hub/deep/er?x=1', '/other']) {
      expect((await fetch(`http://127.0.0.1:${port}${path}`)).status).toBe(200)
      const page = await Page.open(port, path)
      await page.shows('a snapshot')
    }
  })

  it('answers a HEAD without a body, and 405 to other methods', async () => {
    const { port } = await inspected(view)
    const head = await fetch(`http://127.0.0.1:${port}/hub`, { method: 'HEAD' })
    expect([head.status, await head.text()]).toEqual([200, ''])
    const post = await fetch(`http://127.0.0.1:${port}/hub`, { method: 'POST' })
    expect([post.status, post.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
    const question = { method: 'POST', headers: { accept: 'text/plain' } }
    expect((await fetch(`http://127.0.0.1:${port}/hub`, question)).status).toBe(405)
  })

  it.each(['https://evil.example', 'null'])(
    'refuses the WebSocket of a page of the origin %s, which the hub admits',
    async (origin) => {
      const { port } = await inspected(view, new Hub({ allowedOrigins: ['*'] }))
      const client = new RawClient(port)
      client.socket.write(handshake([`Origin: ${origin}`], 'GET /hub HTTP/1.1'))
      await client.hungUp()
      expect(client.response).toContain('HTTP/1.1 403')
    },
  )

  it.each(['http', 'ftp', 'chrome-extension'])(
    'refuses over TLS the WebSocket of a page of its own host over %s',
    async (scheme) => {
      const hub = new Hub({ allowedOrigins: ['*'], trustProxy: true })
      const app = express().set('trust proxy', true).get('/hub', inspector(hub, view))
      const port = await served(hub, app)
      const open = async (origin: string, ...more: string[]) => {
        const client = new RawClient(port)
        client.socket.write(handshake([`Origin: ${origin}`, ...more], 'GET /hub HTTP/1.1'))
        await eventually(
          'an answer',
          () => client.response.includes('\r\n\r\n'),
          () => client.response,
        )
        return client.response
      }
      const tls = 'X-Forwarded-Proto: https'
      expect(await open(`${scheme}://localhost`, tls)).toContain('HTTP/1.1 403')
      expect(await open('https://localhost', tls)).toContain('HTTP/1.1 101')
      expect(await open('http://localhost')).toContain('HTTP/1.1 101')
    },
  )

  it('of node:http reports what authorize throws to the hub, and shows it, once a minute', async () => {
    const errors: Error[] = []
    let hasFailed = false
    const failure = new Error('no database')
    const authorize = () => {
      if (hasFailed) throw failure
      return true
    }
    const { port } = await inspected({ authorize }, new Hub({ onError: (error) => errors.push(error) }))
    const page = await Page.open(port)
    await page.shows('a snapshot')
    hasFailed = true
    for (let n = 0; n < 3; n++) expect((await fetch(`http://127.0.0.1:${port}/hub`)).status).toBe(500)
    const shown = await page.shows('the error', (each) => each.errors.length > 0)
    expect(shown.errors).toMatchObject([{ text: 'no database' }])
    expect(errors).toEqual([failure])
  })

  it('answers 503 when its hub is closed', async () => {
    const { hub, port } = await inspected(view)
    await hub.close()
    const { status, headers } = await fetch(`http://127.0.0.1:${port}/hub`)
    expect([status, headers.get('retry-after')]).toEqual([503, '5'])
  })

  it('says as a text why it would refuse a WebSocket', async () => {
    let answer = true
    const { port } = await inspected({ authorize: () => answer })
    const ask = async () => {
      const headers = { accept: 'text/plain' }
      const response = await fetch(`http://127.0.0.1:${port}/hub`, { headers })
      return `${response.status} ${await response.text()}`
    }
    expect(await ask()).toMatch(/^200 The page is permitted, but not its WebSocket\./)
    for (let n = 0; n < 8; n++) await Page.open(port)
    expect(await ask()).toMatch(/^503 .+ Close another one\.\n$/)
    answer = false
    expect(await ask()).toMatch(/^403 Not permitted\. Log in again/)
  })

  it('closes a WebSocket that does not say within 5 s what it shows', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const { hub, port } = await inspected(view)
    const silent = await Client.open(`ws://127.0.0.1:${port}/hub`)
    const page = await Page.open(port)
    await page.shows('a snapshot')
    silent.socket.send('{"type":"view"}')
    silent.socket.ping()
    await once(silent.socket, 'pong')
    vi.advanceTimersByTime(5_000)
    vi.useRealTimers()
    expect(await silent.closed()).toBe('1008 no page of an inspector')
    page.client.received.all.length = 0
    await page.shows('another snapshot')
    expect(hub.size).toBe(1)
  })

  it('serves eight pages, also of those that ask at once, and one more when one is closed', async () => {
    const { hub, port } = await inspected(view)
    const asking = Array.from({ length: 12 }, () => Page.open(port))
    const answers = await Promise.allSettled(asking)
    const pages = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
    expect(pages).toHaveLength(8)
    const client = new RawClient(port)
    client.socket.write(handshake([], 'GET /hub HTTP/1.1'))
    await client.hungUp()
    expect(client.response).toMatch(/^HTTP\/1\.1 503 .+\r\nretry-after: 5\r\n/)
    await pages[0]?.client.close()
    const another = await Page.open(port)
    await another.shows('a snapshot')
    expect(hub.size).toBe(8)
  })

  it.each([[true], [{ view: true }], [{ view: true, send: 1, disconnect: 'yes', payloads: {} }]])(
    'permits no action with %j',
    async (answer) => {
      const actions = recordActions()
      const authorize = () => answer as boolean // JavaScript may return anything
      const { hub, port, client } = await inspected({ authorize })
      const victim = await client()
      const [connection] = hub.connections()
      const page = await Page.open(port)
      page.send({ type: 'disconnect', target: connection?.id })
      await page.told('You may not disconnect')
      page.send({ type: 'send', target: 'room', text: 'x' })
      await page.told('You may not send')
      hub.broadcast('still here')
      expect(await victim.upTo('still here')).toEqual([])
      expect(actions).toEqual([])
    },
  )

  it.each([[false], [undefined], ['true'], [1], [[]], [{ send: true, disconnect: true, payloads: true }]])(
    'answers 403 when authorize returns %j',
    async (answer) => {
      const { port } = await inspected({ authorize: () => answer as boolean })
      expect((await fetch(`http://127.0.0.1:${port}/hub`)).status).toBe(403)
    },
  )

  it('sends to a room and disconnects as permitted, and reports both', async () => {
    const actions = recordActions()
    const { hub, port, client } = await inspected(everything)
    const victim = await client()
    const [connection] = hub.connections()
    if (connection === undefined) throw new Error('no connection')
    hub.joinRoom(connection, HOSTILE)
    const page = await Page.open(port)
    page.send({ type: 'send', target: HOSTILE, text: 'hello' })
    await victim.upTo('hello')
    page.send({ type: 'disconnect', target: connection.id })
    expect(await victim.closed()).toBe('1000 closed by an operator')
    expect(actions).toMatchObject([
      { hub, action: 'send', kind: 'room', target: HOSTILE, request: { url: '/hub' } },
      { hub, action: 'disconnect', kind: 'client', target: connection.id },
    ])
    const { ends, nodes } = await page.shows('the end', ({ ends }) => ends.length > 0)
    expect(ends).toMatchObject([
      { client: connection.id, by: 'application', reason: 'normal', code: 1000, node: hub.cluster.node },
    ])
    expect(nodes[0]?.causes).toEqual([{ by: 'application', reason: 'normal', connections: 1 }])
  })

  it('says why an action has failed, and stays open', async () => {
    const { port } = await inspected(everything)
    const page = await Page.open(port)
    page.send({ type: 'send', target: '', text: 'x' })
    await page.told('room')
    page.send({ type: 'disconnect', target: 'no such id' })
    await page.told('is not there')
    page.send({ type: 'send', target: 'room', text: 1 })
    await page.told('The message is not a text.')
    await page.shows('a snapshot')
  })

  it('says so when the node of a client does not answer, which may still disconnect it', async () => {
    const bus = new Bus()
    const [near, far] = [bus.backplane(), bus.backplane()]
    const make = (backplane: BusBackplane, callTimeoutMs: number) =>
      inspected(everything, new Hub({ backplane, cluster: { ...FAST, callTimeoutMs } }))
    const [one, other] = [await make(near, 200), await make(far, 20_000)]
    await Promise.all([one, other].map(({ hub }) => hub.cluster.ready()))
    const victim = await other.client()
    const [connection] = other.hub.connections()
    const page = await Page.open(one.port)
    await page.shows('both nodes', ({ nodes }) => nodes.length === 2)
    far.delay = () => true
    page.send({ type: 'disconnect', target: connection?.id })
    await page.told(`${connection?.id} may still be disconnected: no answer from`)
    const { missing } = messageOf(
      page.client.received.all.find((json) => messageOf(json).done !== undefined) ?? '',
    )
    expect(missing).toEqual([other.hub.cluster.node])
    far.delay = () => false
    far.release()
    expect(await victim.closed()).toBe('1000 closed by an operator')
  })

  it('reports what a page follows, once a second however often it changes', async () => {
    const actions = recordActions()
    const { hub, port } = await inspected(everything)
    const page = await Page.open(port)
    await page.shows('a snapshot')
    const start = performance.now()
    for (let n = 0; n < 1_000; n++) page.view({ search: 'last' }, { kind: 'room', target: `${n}` })
    page.view({}, { kind: 'client', target: 'the last' })
    page.send({ type: 'send', target: 'x', text: 'x' })
    await page.told('Sent to x')
    page.client.received.all.length = 0
    await page.shows('another snapshot')
    const follows = actions.filter(({ action }) => action === 'follow')
    expect(follows.at(-1)).toMatchObject({ hub, kind: 'client', target: 'the last', payloads: true })
    expect(follows.length).toBeLessThanOrEqual(1 + Math.ceil((performance.now() - start) / 1_000))
  })

  it('is refused for what is no hub, an unknown option, and a second time', () => {
    const invalid = expect.objectContaining({ code: 'WSHUB_ERR_INVALID_OPTION' })
    const hub = new Hub()
    expect(() => inspector({} as Hub)).toThrow(invalid)
    expect(() => inspector(hub, { authorise: () => true } as InspectorOptions)).toThrow(invalid)
    expect(() => inspector(hub, { authorize: true } as unknown as InspectorOptions)).toThrow(invalid)
    inspector(hub)
    const code = 'WSHUB_ERR_INVALID_HANDLER'
    const message = 'the hub has an inspector already: mount the route of that one again'
    expect(() => inspector(hub)).toThrow(expect.objectContaining({ code, message }))
  })
})
