import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { createServer, type RequestListener } from 'node:http'
import { createRequire } from 'node:module'
import express from 'express'
import fastify from 'fastify'
import Koa from 'koa'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Hub } from 'wshub'
import { hubPlugin } from 'wshub/fastify'
import { type InspectorAction, type InspectorOptions, inspector } from 'wshub/inspector'
import { portOf } from '../adapters/frameworks.ts'
import { Bus } from '../support/bus.ts'
import { FAST } from '../support/cluster.ts'
import { Client, handshake, listen, RawClient, stop } from '../support/hub-server.ts'

const express4 = createRequire(import.meta.url)('express4') as typeof express // without types of its own
const HOSTILE = '</script><img src=x onerror=alert(1)>'

async function served(hub: Hub, listener: RequestListener): Promise<number> {
  const server = createServer(listener)
  hub.attach(server)
  await listen(server)
  onTestFinished(async () => {
    await hub.close({ timeoutMs: 50 })
    await stop(server)
  })
  return portOf(server)
}

/** A server of `node:http` with an inspector at `/hub`, and clients everywhere else. */
async function inspected(options: InspectorOptions, hub = new Hub()): Promise<{ hub: Hub; port: number }> {
  const route = inspector(hub, options)
  const port = await served(hub, (req, res) => {
    if (req.url === '/hub') void route(req, res)
    else void hub.upgrade(req, {})
  })
  return { hub, port }
}

async function page(port: number, search = ''): Promise<Client> {
  const client = await Client.open(`ws://127.0.0.1:${port}/hub`, { origin: `http://127.0.0.1:${port}` })
  client.socket.send(JSON.stringify({ type: 'view', token: 't', search }))
  return client
}

async function snapshot(client: Client, has: (json: string) => boolean) {
  return JSON.parse(
    await client.received.first('a snapshot', (json) => json.includes('"nodes"') && has(json)),
  )
}

const view = { authorize: () => true }

const mounts: readonly (readonly [string, (hub: Hub, options: InspectorOptions) => Promise<number>])[] = [
  ['node:http', async (hub, options) => (await inspected(options, hub)).port],
  ['Express 5', (hub, options) => served(hub, express().get('/hub', inspector(hub, options)))],
  ['Express 4', (hub, options) => served(hub, express4().get('/hub', inspector(hub, options)))],
  ['Koa', (hub, options) => served(hub, new Koa().use(inspector(hub, options)).callback())],
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
    const { token, nodes } = await snapshot(await page(port), () => true)
    expect([token, nodes.length, nodes[0].clients[0].isInspector]).toEqual(['t', 1, true])
  })
})

describe('an inspector', () => {
  it('allows only its one script and style, and no inline handlers', async () => {
    const { port } = await inspected(view)
    const answer = await fetch(`http://127.0.0.1:${port}/hub`)
    const policy = answer.headers.get('content-security-policy')
    expect(policy).toMatch(
      /^default-src 'none'; script-src 'sha256-[^ ]+'; style-src 'sha256-[^ ]+'; connect-src 'self'/,
    )
    expect(await answer.text()).not.toMatch(/ on\w+=|innerHTML|insertAdjacentHTML/)
  })

  it('refuses the WebSocket of a page of another origin that the hub admits', async () => {
    const { port } = await inspected(view, new Hub({ allowedOrigins: ['*'] }))
    const client = new RawClient(port)
    client.socket.write(handshake(['Origin: https://evil.example'], 'GET /hub HTTP/1.1'))
    await client.hungUp()
    expect(client.response).toContain('HTTP/1.1 403')
  })

  it('refuses a page more than the limit', async () => {
    const { port } = await inspected(view)
    for (let n = 0; n < 8; n++) await page(port)
    const client = new RawClient(port)
    client.socket.write(handshake([], 'GET /hub HTTP/1.1'))
    await client.hungUp()
    expect(client.response).toContain('HTTP/1.1 503')
  })

  it('permits no action with true alone', async () => {
    const { hub, port } = await inspected(view)
    const victim = await Client.open(`ws://127.0.0.1:${port}/`)
    const operator = await page(port)
    const [connection] = hub.connections()
    operator.socket.send(JSON.stringify({ type: 'disconnect', target: connection?.id }))
    await operator.received.first('an answer', (json) => json.includes('not permitted'))
    hub.broadcast('still here')
    expect(await victim.upTo('still here')).toEqual([])
  })

  it('sends to a room and disconnects as permitted, and reports both', async () => {
    const actions: unknown[] = []
    const listener = (message: unknown) => {
      const { action, target } = message as InspectorAction
      actions.push([action, target])
    }
    subscribe('wshub:inspector:action', listener)
    onTestFinished(() => void unsubscribe('wshub:inspector:action', listener))
    const { hub, port } = await inspected({ authorize: () => ({ view: true, send: true, disconnect: true }) })
    const client = await Client.open(`ws://127.0.0.1:${port}/`)
    const [connection] = hub.connections()
    if (connection === undefined) throw new Error('no connection')
    hub.joinRoom(connection, HOSTILE)
    const operator = await page(port)
    operator.socket.send(JSON.stringify({ type: 'send', target: HOSTILE, text: 'hello' }))
    await client.upTo('hello')
    operator.socket.send(JSON.stringify({ type: 'disconnect', target: connection.id }))
    expect(await client.closed()).toBe('1000 closed by an operator')
    expect(actions).toEqual([
      ['send', HOSTILE],
      ['disconnect', connection.id],
    ])
    const { nodes } = await snapshot(operator, (json) => json.includes('normal by application'))
    expect(nodes[0].ends).toHaveLength(1)
  })

  it('shows the nodes of a cluster, and finds rooms by a search', async () => {
    const bus = new Bus()
    const make = () => new Hub({ backplane: bus.backplane(), cluster: FAST })
    const one = await inspected(view, make())
    const two = await inspected({ ...view, metadata: () => ({ name: HOSTILE }) }, make())
    await Promise.all([one.hub.cluster.ready(), two.hub.cluster.ready()])
    await Client.open(`ws://127.0.0.1:${two.port}/`)
    for (const connection of two.hub.connections()) two.hub.joinRoom(connection, ['red', 'blue'])
    const operator = await page(one.port, 'red')
    const { nodes } = await snapshot(
      operator,
      (json) => json.includes(two.hub.cluster.node) && json.includes('red'),
    )
    const far = nodes.find(({ node }: { node: string }) => node === two.hub.cluster.node)
    expect(far.rooms).toEqual([{ room: 'red', size: 1 }])
    expect(far.clients).toMatchObject([
      { rooms: ['red', 'blue'], metadata: JSON.stringify({ name: HOSTILE }) },
    ])
  })
})
