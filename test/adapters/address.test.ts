import express from 'express'
import Koa from 'koa'
import { afterEach, describe, expect, it } from 'vitest'
import type { Hub, HubOptions, UpgradeInit } from 'wshub'
import { wsHub as expressHub } from 'wshub/express'
import { hubPlugin } from 'wshub/fastify'
import { wsHub as koaHub } from 'wshub/koa'
import { makeServer } from '../support/http2-tunnel.ts'
import { destroyClients, RawClient, type Target } from '../support/raw.ts'
import { closeAfterTest, closeApps, echo, listen, makeFastify, portOf } from './frameworks.ts'

afterEach(async () => {
  destroyClients()
  await closeApps()
})

type Start = (trust: boolean, options?: HubOptions, init?: UpgradeInit) => Promise<Target & { hub: Hub }>

const startFastify: Start = async (trust, options = {}, init) => {
  const app = makeFastify({ trustProxy: trust })
  await app.register(hubPlugin, options)
  app.get('/ws', (_req, reply) => reply.upgradeWebSocket(echo, init))
  await app.listen({ port: 0, host: '127.0.0.1' })
  closeAfterTest(app.hub, app.server, () => app.close())
  return { hub: app.hub, port: portOf(app.server) }
}

const startExpress: Start = async (trust, options, init) => {
  const app = express().set('trust proxy', trust)
  const middleware = expressHub(options)
  app.use(middleware)
  app.get('/ws', (_req, res) => res.upgradeWebSocket(echo, init))
  const target = await listen(makeServer(app))
  closeAfterTest(middleware.hub, target.server)
  return { ...target, hub: middleware.hub }
}

const startKoa: Start = async (trust, options, init) => {
  const app = new Koa({ proxy: trust })
  const middleware = koaHub(options)
  app.use(middleware)
  app.use((ctx) => ctx.upgradeWebSocket(echo, init))
  const target = await listen(makeServer(app.callback()))
  closeAfterTest(middleware.hub, target.server)
  return { ...target, hub: middleware.hub }
}

describe.each([
  { name: 'Fastify', start: startFastify },
  { name: 'Express', start: startExpress },
  { name: 'Koa', start: startKoa },
])("The client's address for $name", ({ start }) => {
  const headers = { 'X-Forwarded-For': '1.1.1.1, 2.2.2.2', Forwarded: 'for=3.3.3.3' }
  const address = async (app: Awaited<ReturnType<Start>>) => {
    await RawClient.open(app, '/ws', { headers })
    return app.hub.connections()[0]?.remoteAddress
  }

  it("is the TCP peer's without a trusted proxy", async () => {
    expect(await address(await start(false))).toBe('127.0.0.1')
  })

  it("is the one that the framework's own setting yields", async () => {
    expect(await address(await start(true))).toBe('1.1.1.1')
  })

  it("is the one that the framework's own setting yields if the route passes undefined", async () => {
    const init = { remoteAddress: undefined, isSecure: undefined }
    expect(await address(await start(true, {}, init))).toBe('1.1.1.1')
  })

  it("is the one that the hub's trustProxy yields, which takes precedence", async () => {
    expect(await address(await start(true, { trustProxy: 1 }))).toBe('2.2.2.2')
    expect(await address(await start(false, { trustProxy: true, proxyHeader: 'forwarded' }))).toBe('3.3.3.3')
  })

  it('is the one that limits count', async () => {
    const app = await start(true, { limits: { maxConnectionsPerAddress: 1 } })
    await RawClient.open(app, '/ws', { headers })
    expect((await RawClient.refused(app, '/ws', { headers })).status).toBe(429)
    await RawClient.open(app, '/ws', { headers: { 'X-Forwarded-For': '4.4.4.4' } })
  })
})

describe.each([
  { name: 'Fastify', start: startFastify },
  { name: 'Express', start: startExpress },
  { name: 'Koa', start: startKoa },
])('The own origin of a page for $name', ({ start }) => {
  const statusOf = async (target: Target, origin: string, proto?: string) => {
    const client = await RawClient.ask(target, '/ws', {
      headers: { Origin: origin, 'X-Forwarded-Proto': proto },
    })
    return (await client.head()).status
  }

  it('is http or https without a trusted proxy, since TLS may end at a proxy that is not configured', async () => {
    const app = await start(false)
    expect(await statusOf(app, 'https://localhost')).toBe(101)
    expect(await statusOf(app, 'http://localhost')).toBe(101)
    expect(await statusOf(app, 'http://localhost', 'https')).toBe(101)
    expect(await statusOf(app, 'ftp://localhost')).toBe(403)
    expect(await statusOf(app, 'chrome-extension://localhost')).toBe(403)
  })

  it.each([
    { by: 'the framework', trust: true, options: {} },
    { by: 'the hub', trust: false, options: { trustProxy: 1 } },
  ])('is https if a proxy that $by trusts says so', async ({ trust, options }) => {
    const app = await start(trust, options)
    expect(await statusOf(app, 'https://localhost', 'https')).toBe(101)
    expect(await statusOf(app, 'http://localhost', 'https')).toBe(403)
    expect(await statusOf(app, 'http://localhost', 'http')).toBe(101)
    expect(await statusOf(app, 'http://localhost')).toBe(101)
  })
})
