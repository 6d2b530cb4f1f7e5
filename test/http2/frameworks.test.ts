import { once } from 'node:events'
import { createServer } from 'node:http2'
import fastify from 'fastify'
import Koa from 'koa'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import { hubPlugin } from 'wshub/fastify'
import { wsHub } from 'wshub/koa'
import { echo, portOf } from '../adapters/frameworks.ts'
import { destroySessions, Http2Client } from '../support/http2-client.ts'

afterEach(destroySessions)

async function startFastify(): Promise<number> {
  const app = fastify({ http2: true })
  await app.register(hubPlugin)
  app.all('/ws', (_request, reply) => reply.upgradeWebSocket(echo))
  await app.listen({ port: 0, host: '127.0.0.1' })
  onTestFinished(async () => {
    destroySessions()
    await app.close()
  })
  return portOf(app.server)
}

async function startKoa(): Promise<number> {
  const app = new Koa()
  app.silent = true
  const hub = wsHub()
  app.use(hub)
  app.use((ctx) => {
    if (ctx.path === '/ws') ctx.upgradeWebSocket(echo)
  })
  const server = createServer(app.callback())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    destroySessions()
    await hub.hub.close({ timeoutMs: 50 })
    server.close()
  })
  return portOf(server)
}

describe.each([
  ['Fastify', startFastify],
  ['Koa', startKoa],
])('%s over HTTP/2', (_name, start) => {
  it('answers ordinary requests to a WebSocket route, without headers that HTTP/2 forbids', async () => {
    const client = await Http2Client.connect({ port: await start() })
    const refused = await client.get('/ws').refused()
    expect(refused.status).toBe(426)
    expect(refused.headers.upgrade).toBeUndefined()
    expect((await client.get('/ws', { ':method': 'POST' }).refused()).status).not.toBe(200)
    await (await client.open()).echoes()
  })
})
