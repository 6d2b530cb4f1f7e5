// Type-checked against the installed package, as an ES module and, renamed, as a CommonJS one. Never run.
import express from 'express'
import fastify from 'fastify'
import { H3 } from 'h3'
import { Hono } from 'hono'
import Koa from 'koa'
import { CloseCode, type Connection, type EventHandler, Hub } from 'wshub'
import expressHub, { wsHub as namedExpressHub, type WsHubMiddleware } from 'wshub/express'
import hubPlugin, { type HubPluginOptions, hubPlugin as namedHubPlugin } from 'wshub/fastify'
import h3Hub from 'wshub/h3'
import honoHub from 'wshub/hono'
import koaHub, { wsHub as namedKoaHub } from 'wshub/koa'
import { connect, type TestClient, UpgradeRefusedError } from 'wshub/testing'

interface Meta {
  name: string
}

const handler: EventHandler = {
  onMessage(connection, message) {
    if (message.type === 'text') connection.hub.broadcastToRoom('all', message.data)
    else connection.close(CloseCode.unsupported)
  },
}
const typed: EventHandler<Meta> = {
  onOpen: (connection) => connection.getMetadata('name')?.toUpperCase(),
}
const shared = new Hub<Meta>({ pingIntervalMs: 0 })

export async function withFastify(): Promise<Hub> {
  const app = fastify()
  const options: HubPluginOptions = { maxConnections: 10 }
  await app.register(hubPlugin, options)
  await app.register(namedHubPlugin, { hub: shared })
  // @ts-expect-error no option of a hub
  await app.register(namedHubPlugin, { maxConnection: 10 })
  app.get('/', (_request, reply) => reply.upgradeWebSocket(handler))
  app.get('/typed', (_request, reply): Promise<Connection<Meta>> => {
    return reply.upgradeWebSocket(typed, { metadata: { name: 'Ada' } })
  })
  // @ts-expect-error metadata of another type
  app.get('/wrong', (_request, reply) => reply.upgradeWebSocket(typed, { metadata: { name: 1 } }))
  return app.hub
}

export function withExpress(): WsHubMiddleware {
  const app = express()
  const mount = expressHub({ allowedOrigins: ['https://app.example.com'] })
  app.use(mount)
  app.use('/below', namedExpressHub({ hub: shared }))
  app.get('/', (_req, res) => {
    void res.upgradeWebSocket(handler)
  })
  app.get('/typed', async (req, res) => {
    const connection: Connection<Meta> = await res.upgradeWebSocket(typed, { metadata: { name: 'Ada' } })
    connection.sendText(String(req.hub.size))
  })
  // @ts-expect-error metadata of another type
  app.get('/wrong', (_req, res) => void res.upgradeWebSocket(typed, { metadata: { name: 1 } }))
  return mount
}

export function withKoa(): Hub {
  const app = new Koa()
  const mount = koaHub({ slowConsumer: 'dropOldest' })
  app.use(mount)
  app.use(namedKoaHub({ hub: shared }))
  app.use((ctx) => ctx.upgradeWebSocket(handler))
  app.use(async (ctx) => {
    const connection: Connection<Meta> = await ctx.upgradeWebSocket(typed, { metadata: { name: 'Ada' } })
    connection.sendText(String(ctx.hub.size))
  })
  // @ts-expect-error metadata of another type
  app.use((ctx) => ctx.upgradeWebSocket(typed, { metadata: { name: 1 } }))
  return mount.hub
}

export function withHono(): Hub {
  const mount = honoHub({ maxConnections: 10 })
  const app = new Hono()
  app.use(mount)
  app.use('/below', honoHub({ hub: shared }))
  app.get('/', async (c) => {
    const connection: Connection<Meta> = await c.var.upgradeWebSocket(typed, { metadata: { name: 'Ada' } })
    connection.sendText(String(c.var.hub.size))
  })
  // @ts-expect-error metadata of another type
  app.get('/wrong', async (c) => void c.var.upgradeWebSocket(typed, { metadata: { name: 1 } }))
  return mount.hub
}

export function withH3(): Hub {
  const mount = h3Hub({ maxConnections: 10 })
  const app = new H3()
  app.use(mount)
  app.use('/below', h3Hub({ hub: shared }))
  app.get('/', async ({ context }) => {
    const connection: Connection<Meta> = await context.upgradeWebSocket(typed, { metadata: { name: 'Ada' } })
    connection.sendText(String(context.hub.size))
  })
  // @ts-expect-error metadata of another type
  app.get('/wrong', ({ context }) => context.upgradeWebSocket(typed, { metadata: { name: 1 } }))
  return mount.hub
}

export async function tested(): Promise<TestClient> {
  const client = await connect(fastify(), '/', { headers: { cookie: 'sid=1' } })
  await connect(fastify({ https: {} }), '/')
  await connect(express(), '/', { protocols: ['chat'] })
  await connect(new Koa(), '/')
  // @ts-expect-error no application
  await connect({}, '/')
  try {
    await connect(express(), '/private')
  } catch (error) {
    if (error instanceof UpgradeRefusedError) client.send(error.body)
  }
  return client
}
