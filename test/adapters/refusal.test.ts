import { afterEach, describe, expect, it } from 'vitest'
import type { HubOptions } from 'wshub'
import { type Answer, destroyClients, inTime, RawClient, type RequestInit, request } from '../support/raw.ts'
import { type App, closeApps, echoRoute, frameworks } from './frameworks.ts'

afterEach(async () => {
  destroyClients()
  await closeApps()
})

interface Case extends RequestInit {
  readonly what: string
  readonly status: number
  readonly code: string
  readonly answer?: Readonly<Record<string, string>>
  readonly hub?: HubOptions
}

const cases: readonly Case[] = [
  {
    what: 'a POST',
    method: 'POST',
    status: 405,
    code: 'WSHUB_ERR_METHOD',
    answer: { allow: 'GET' },
  },
  {
    what: 'a missing key',
    headers: { 'Sec-WebSocket-Key': undefined },
    status: 400,
    code: 'WSHUB_ERR_BAD_HANDSHAKE',
  },
  {
    what: 'a key of 15 bytes',
    headers: { 'Sec-WebSocket-Key': Buffer.alloc(15).toString('base64') },
    status: 400,
    code: 'WSHUB_ERR_BAD_HANDSHAKE',
  },
  {
    what: 'a key that is not base64',
    headers: { 'Sec-WebSocket-Key': '!!!!!!!!!!!!!!!!!!!!!!==' },
    status: 400,
    code: 'WSHUB_ERR_BAD_HANDSHAKE',
  },
  {
    what: 'two keys',
    headers: { 'Sec-WebSocket-Key': ['dGhlIHNhbXBsZSBub25jZQ==', 'dGhlIHNhbXBsZSBub25jZQ=='] },
    status: 400,
    code: 'WSHUB_ERR_BAD_HANDSHAKE',
  },
  ...['8', '0', '14', '13, 8', 'thirteen', undefined].map((version) => ({
    what: `version ${version}`,
    headers: { 'Sec-WebSocket-Version': version },
    status: 426,
    code: 'WSHUB_ERR_VERSION',
    answer: { 'sec-websocket-version': '13' },
  })),
  ...['chat,', ',', 'chat, chat', 'a b', '"chat"', 'chat;q=1'].map((protocols) => ({
    what: `Sec-WebSocket-Protocol: ${protocols}`,
    headers: { 'Sec-WebSocket-Protocol': protocols },
    status: 400,
    code: 'WSHUB_ERR_BAD_HANDSHAKE',
  })),
  ...['permessage-deflate;', ';', 'permessage-deflate; server_max_window_bits=', 'a b'].map((extensions) => ({
    what: `Sec-WebSocket-Extensions: ${extensions}`,
    headers: { 'Sec-WebSocket-Extensions': extensions },
    hub: { enableCompression: true },
    status: 400,
    code: 'WSHUB_ERR_BAD_HANDSHAKE',
  })),
  {
    what: 'a host that is not allowed',
    hub: { allowedHosts: ['localhost'] },
    headers: { Host: '127.0.0.1' },
    status: 403,
    code: 'WSHUB_ERR_HOST',
  },
  ...[
    'https://evil.example',
    'ftp://localhost',
    'chrome-extension://localhost',
    'null',
    'http://localhost.evil.example',
    'http://localhost:81',
    '',
  ].map((origin) => ({
    what: `the origin ${JSON.stringify(origin)}`,
    headers: { Origin: origin },
    status: 403,
    code: 'WSHUB_ERR_ORIGIN',
  })),
]

const accepted: readonly (RequestInit & { what: string; hub?: HubOptions })[] = [
  { what: 'Connection: keep-alive , UPGRADE', headers: { Connection: 'keep-alive , UPGRADE' } },
  { what: 'Connection: Upgrade,keep-alive', headers: { Connection: 'Upgrade,keep-alive' } },
  { what: 'Upgrade: WebSocket', headers: { Upgrade: 'WebSocket' } },
  { what: 'Upgrade: foo, websocket', headers: { Upgrade: 'foo, websocket' } },
  { what: 'Upgrade:   websocket   ', headers: { Upgrade: '  websocket  ' } },
  { what: 'two Upgrade headers', headers: { Upgrade: ['h2c', 'websocket'] } },
  { what: 'headers in upper case', headers: { UPGRADE: 'WEBSOCKET', Upgrade: undefined } },
  { what: 'the page’s own origin', headers: { Origin: 'http://localhost' } },
  {
    what: 'the page’s own origin with its port',
    headers: { Host: 'LocalHost:80', Origin: 'http://localhost' },
  },
  {
    what: 'a listed origin',
    headers: { Origin: 'https://a.example.com' },
    hub: { allowedOrigins: ['https://*.example.com'] },
  },
  { what: 'any origin when all may come', headers: { Origin: 'null' }, hub: { allowedOrigins: ['*'] } },
  { what: 'extensions it does not know', headers: { 'Sec-WebSocket-Extensions': 'x-foo; a=1, x-bar' } },
]

const connectionOptions = (answer: Answer) =>
  (answer.header('connection') ?? '').toLowerCase().split(/\s*,\s*/)

describe.each(frameworks)('Refusal by $name', ({ start }) => {
  /**
   * Each answer is tested twice: rendered by the framework, and by an error handler of the application that
   * receives the code.
   */
  async function refuse({ what, status, code, answer = {}, hub = {}, ...init }: Case): Promise<void> {
    const plain = await start({ hub, routes: { '/ws': echoRoute } })
    const rendered = await RawClient.refused(plain, '/ws', init)
    expect(rendered.status, what).toBe(status)
    expect(connectionOptions(rendered)).toContain('close')
    for (const [name, value] of Object.entries(answer)) expect(rendered.header(name)).toBe(value)
    expect(rendered.body).not.toBe('')
    expect(plain.hub.size).toBe(0)

    const custom = await start({
      hub,
      routes: { '/ws': echoRoute },
      onError: (error, exchange) => exchange.send(418, String((error as { code?: unknown }).code)),
    })
    const own = await RawClient.refused(custom, '/ws', init)
    expect([own.status, own.body]).toEqual([418, code])
    expect(connectionOptions(own)).toContain('close')
    await (await RawClient.open(custom)).echoes()
  }

  it.each(cases)('answers $status to $what', refuse)

  it('answers 400 to a handshake with a body, which is not a frame', async () => {
    const app = await start({ routes: { '/ws': echoRoute } })
    const answer = await RawClient.refused(app, '/ws', { headers: { 'Content-Length': '5' }, body: 'hello' })
    expect(answer.status).toBe(400)
    await (await RawClient.open(app)).echoes()
  })

  it('answers a POST with a body, for which some frameworks wait before the route', async () => {
    const app = await start({ routes: { '/ws': echoRoute } })
    const answer = await RawClient.refused(app, '/ws', {
      method: 'POST',
      headers: { 'Content-Length': '5', 'Content-Type': 'text/plain' },
      body: 'hello',
    })
    expect([400, 405]).toContain(answer.status)
    expect(connectionOptions(answer)).toContain('close')
    await (await RawClient.open(app)).echoes()
  })

  it('answers 426 with Upgrade: websocket to a plain GET', async () => {
    const app = await start({ routes: { '/ws': echoRoute } })
    const client = await RawClient.connect(app)
    client.write(request('/ws'))
    const answer = await client.lastAnswer()
    expect(answer.status).toBe(426)
    expect(answer.header('upgrade')).toBe('websocket')
    expect(connectionOptions(answer)).toEqual(expect.arrayContaining(['close', 'upgrade']))
  })

  it.each([
    { Connection: 'keep-alive' },
    { Upgrade: undefined },
    { Upgrade: 'websockets' },
    { Upgrade: 'x-websocket' },
  ])('answers 426 to incomplete upgrade headers: %j', async (headers) => {
    const app = await start({ routes: { '/ws': echoRoute } })
    expect((await RawClient.refused(app, '/ws', { headers })).status).toBe(426)
  })

  it.each(accepted)('is not the answer to $what', async ({ hub = {}, ...init }) => {
    const app = await start({ hub, routes: { '/ws': echoRoute } })
    await (await RawClient.open(app, '/ws', init)).echoes()
  })

  it('answers 503 with Retry-After when the hub is full, and 101 when there is room again', async () => {
    const app = await start({ hub: { maxConnections: 1 }, routes: { '/ws': echoRoute } })
    const first = await RawClient.open(app)
    const answer = await RawClient.refused(app)
    expect(answer.status).toBe(503)
    expect(answer.header('retry-after')).toMatch(/^\d+$/)
    expect(connectionOptions(answer)).toContain('close')
    await first.echoes()
    first.close()
    await first.ended()
    await RawClient.open(app)
  })

  it('answers 503 with Retry-After when the hub is closed', async () => {
    const app = await start({ routes: { '/ws': echoRoute } })
    await RawClient.open(app)
    await inTime('the hub to close', app.hub.close({ timeoutMs: 20 }))
    const answer = await RawClient.refused(app)
    expect(answer.status).toBe(503)
    expect(answer.header('retry-after')).toMatch(/^\d+$/)
    expect(connectionOptions(answer)).toContain('close')
  })

  it('answers 503 to an upgrade that was pending when the hub began to close', async () => {
    let app: App | undefined
    app = await start({
      routes: { '/ws': echoRoute },
      before: () => {
        void app?.hub.close()
        return false
      },
    })
    expect((await RawClient.refused(app)).status).toBe(503)
  })

  it('answers 403 to a page that was served without TLS if the client uses TLS', async () => {
    const app = await start({ routes: { '/ws': echoRoute }, server: 'https' })
    await (await RawClient.open(app, '/ws', { headers: { Origin: 'https://localhost' } })).echoes()
    for (const origin of ['http://localhost', 'http://localhost:443', 'ftp://localhost']) {
      expect((await RawClient.refused(app, '/ws', { headers: { Origin: origin } })).status).toBe(403)
    }
  })

  it('answers 403 to a page whose domain name was pointed at this server, with allowedHosts', async () => {
    const rebound = { headers: { Host: 'evil.example', Origin: 'http://evil.example' } }
    const open = await start({ routes: { '/ws': echoRoute } })
    await RawClient.open(open, '/ws', rebound)
    const app = await start({ hub: { allowedHosts: ['localhost'] }, routes: { '/ws': echoRoute } })
    expect((await RawClient.refused(app, '/ws', rebound)).status).toBe(403)
    expect((await RawClient.refused(app, '/ws', { headers: { Host: 'evil.example' } })).status).toBe(403)
    await RawClient.open(app, '/ws', { headers: { Host: 'localhost:8080', Origin: 'http://localhost:8080' } })
  })

  it('answers 404 for a path without a route', async () => {
    const app = await start({ routes: { '/ws': echoRoute } })
    const answer = await RawClient.refused(app, '/elsewhere')
    expect(answer.status).toBe(404)
    expect(connectionOptions(answer)).toContain('close')
  })

  it.each([
    { kind: 'sync', wait: () => {} },
    { kind: 'async', wait: () => new Promise((resolve) => setImmediate(resolve)) },
  ])('is up to a middleware or hook before the route, $kind', async ({ wait }) => {
    const app = await start({
      routes: { '/ws': echoRoute },
      before: async (exchange) => {
        await wait()
        if (exchange.req.headers.authorization !== undefined) return false
        exchange.setHeader('WWW-Authenticate', 'Basic')
        exchange.send(401, 'who are you?')
        return true
      },
    })
    const answer = await RawClient.refused(app)
    expect([answer.status, answer.header('www-authenticate')]).toEqual([401, 'Basic'])
    expect(answer.body).toContain('who are you?')
    expect(connectionOptions(answer)).toContain('close')
    await (await RawClient.open(app, '/ws', { headers: { Authorization: 'Basic eDp5' } })).echoes()
  })

  it('is sent completely, however long', async () => {
    const body = 'no '.repeat(500_000)
    const app = await start({ routes: { '/ws': (exchange) => exchange.send(403, body) } })
    const answer = await RawClient.refused(app)
    expect(answer.body.length).toBeGreaterThanOrEqual(body.length)
  })

  it('reaches a client that has sent frames already', async () => {
    const app = await start({ hub: { maxConnections: 1 }, routes: { '/ws': echoRoute } })
    await RawClient.open(app)
    const client = await RawClient.ask(app)
    await client.write(Buffer.alloc(200_000))
    expect((await client.lastAnswer()).status).toBe(503)
  })
})
