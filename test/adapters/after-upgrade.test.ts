import { createRequire } from 'node:module'
import { Readable, Writable } from 'node:stream'
import { format } from 'node:util'
import express from 'express'
import Koa from 'koa'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Connection, EventHandler } from 'wshub'
import { wsHub as expressHub } from 'wshub/express'
import { hubPlugin } from 'wshub/fastify'
import { wsHub as koaHub } from 'wshub/koa'
import { makeServer } from '../support/http2-tunnel.ts'
import { destroyClients, Gate, RawClient, type Target, until } from '../support/raw.ts'
import {
  closeAfterTest,
  closeApps,
  type Exchange,
  echo,
  echoRoute,
  frameworks,
  listen,
  makeFastify,
  portOf,
} from './frameworks.ts'
import { failOnStrayErrors } from './stray-errors.ts'

// Express 4 is typed as Express 5, which declares the same for what is used here.
const express4 = createRequire(import.meta.url)('express4') as typeof express

failOnStrayErrors()

afterEach(async () => {
  vi.restoreAllMocks()
  destroyClients()
  await closeApps()
})

/** A handler that records how its connection ended. */
function noted(): { handler: EventHandler; errors: unknown[]; closes: number[] } {
  const errors: unknown[] = []
  const closes: number[] = []
  const handler: EventHandler = {
    ...echo,
    onError: (_conn, error) => void errors.push(error),
    onClose: (_conn, code) => void closes.push(code),
  }
  return { handler, errors, closes }
}

async function startKoa(build: (app: Koa) => void): Promise<Target> {
  const app = new Koa().on('error', () => {})
  const sockets = koaHub()
  app.use(sockets)
  build(app)
  const server = makeServer(app.callback())
  closeAfterTest(sockets.hub, server)
  return listen(server)
}

const boom = new Error('boom')
const ofResponse = { code: 'WSHUB_ERR_ALREADY_UPGRADED', message: expect.stringContaining('101') }

describe.each(frameworks)('After the upgrade in a route of $name', ({ name, start }) => {
  const throwing = (handler: EventHandler) => ({
    '/echo': echoRoute,
    '/ws': async (exchange: Exchange) => {
      await exchange.upgrade(handler)
      throw boom
    },
    '/sync': (exchange: Exchange) => {
      void exchange.upgrade(handler)
      throw boom
    },
  })

  describe.each(['/ws', '/sync'])('a throw, %s', (path) => {
    it('ends the connection if the framework handles errors', async () => {
      const { handler, errors, closes } = noted()
      vi.spyOn(console, 'error').mockImplementation(() => {})
      const app = await start({ routes: throwing(handler) })
      const client = await RawClient.open(app, path)
      if (name !== 'Express') expect(await client.closed()).toBe(1011)
      await client.ended() // Express destroys the socket of a response whose headers are sent
      await until('the close', () => closes.length > 0)
      expect(closes).toEqual([name === 'Express' ? 1006 : 1011])
      if (name === 'node:http') expect(errors).toEqual([expect.objectContaining(ofResponse)])
      else expect(errors).toEqual(name === 'Express' ? [] : [boom])
      await (await RawClient.open(app, '/echo')).echoes()
      expect(app.hub.size).toBe(1)
    })

    it('ends the connection with 1011 if an error handler of the application answers', async () => {
      const { handler, errors, closes } = noted()
      const handled: unknown[] = []
      const app = await start({
        routes: throwing(handler),
        onError: (error, exchange) => {
          handled.push(error)
          exchange.send(500, 'sorry')
        },
      })
      const client = await RawClient.open(app, path)
      expect(await client.closed()).toBe(1011)
      await client.ended()
      await until('the close', () => closes.length > 0)
      expect(closes).toEqual([1011])
      expect(handled).toEqual(name === 'Fastify' ? [] : [boom])
      const isSeen = name === 'Fastify' || name === 'Koa'
      expect(errors).toEqual([isSeen ? boom : expect.objectContaining(ofResponse)])
    })
  })

  it('an answer ends the connection with 1011, and is reported once', async () => {
    const { handler, errors, closes } = noted()
    const app = await start({
      routes: {
        '/ws': async ({ upgrade, res }) => {
          await upgrade(handler)
          res.write('a')
          res.write('b')
          res.end()
        },
      },
    })
    const client = await RawClient.open(app)
    expect(await client.closed()).toBe(1011)
    await until('the close', () => closes.length > 0)
    expect(errors).toEqual([expect.objectContaining(ofResponse)])
  })

  it.each<{ what: string; use: (exchange: Exchange) => unknown }>([
    { what: 'writeHead', use: ({ res }) => res.writeHead(500) },
    { what: 'flushHeaders', use: ({ res }) => res.flushHeaders() },
    { what: 'end', use: ({ res }) => res.end('text') },
    { what: 'a stream', use: ({ res }) => Readable.from(['a', 'b']).pipe(res) },
    { what: 'destroy', use: ({ res }) => res.destroy() },
  ])('$what of the response ends the connection with 1011', async ({ use }) => {
    const { handler, errors } = noted()
    const app = await start({
      routes: {
        '/ws': async (exchange) => {
          await exchange.upgrade(handler)
          use(exchange)
        },
      },
    })
    const client = await RawClient.open(app)
    expect(await client.closed()).toBe(1011)
    expect(errors).toEqual([expect.objectContaining(ofResponse)])
  })

  it.each<{ what: string; use: (exchange: Exchange, done: () => void) => unknown }>([
    { what: 'end without a body', use: ({ res }, done) => res.end(done) },
    {
      what: 'an empty body',
      use: ({ res }, done) => res.writeHead(200, { 'x-a': '1' }).end('', 'utf8', done),
    },
    { what: 'writeHead(204)', use: ({ res }, done) => res.writeHead(204).end(null, done) },
  ])('$what leaves the connection open: hosts end a response by themselves', async ({ use }) => {
    const { handler, errors } = noted()
    const ended = new Gate()
    const app = await start({
      routes: {
        '/ws': async (exchange) => {
          await exchange.upgrade(handler)
          use(exchange, () => ended.open())
        },
      },
    })
    const client = await RawClient.open(app)
    await ended.passed('the callback of end')
    await client.echoes()
    expect(errors).toEqual([])
  })

  it('an end without a body ends the connection with 1011 after a status from 300', async () => {
    const { handler, errors } = noted()
    const app = await start({
      routes: {
        '/ws': async ({ upgrade, res }) => {
          await upgrade(handler)
          res.statusCode = 302
          res.end()
        },
      },
    })
    expect(await (await RawClient.open(app)).closed()).toBe(1011)
    expect(errors).toEqual([expect.objectContaining(ofResponse)])
  })

  it('destroying the response with an error reports that error', async () => {
    const { handler, errors } = noted()
    const app = await start({
      routes: {
        '/ws': async ({ upgrade, res }) => {
          await upgrade(handler)
          res.destroy(boom)
        },
      },
    })
    expect(await (await RawClient.open(app)).closed()).toBe(1011)
    expect(errors).toEqual([boom])
  })

  it('the response has no effect once the connection is closed', async () => {
    const { handler, errors, closes } = noted()
    const used = new Gate()
    const app = await start({
      routes: {
        '/echo': echoRoute,
        '/ws': async ({ upgrade, res }) => {
          await upgrade(handler)
          await until('the close', () => closes.length > 0)
          res.end()
          used.open()
        },
      },
    })
    const client = await RawClient.open(app)
    client.close(1000)
    await client.ended()
    await used.passed('the use of the response')
    await (await RawClient.open(app, '/echo')).echoes()
    expect([closes, errors]).toEqual([[1000], []])
  })

  it('the response reports its headers as sent and itself as ended, from onOpen on', async () => {
    const seen: boolean[] = []
    const app = await start({
      routes: {
        '/ws': async ({ upgrade, res }) => {
          const look = () => void seen.push(res.headersSent, res.writableEnded)
          look()
          await upgrade({ ...echo, onOpen: look })
          look()
        },
      },
    })
    await (await RawClient.open(app)).echoes()
    expect(seen).toEqual([false, false, true, true, true, true])
  })
})

describe('A middleware that wraps every answer leaves the connection open', () => {
  it.each<{ what: string; wrap: (ctx: Koa.Context) => void }>([
    { what: 'body', wrap: (ctx) => Object.assign(ctx, { body: { data: ctx.body } }) },
    { what: 'body and status', wrap: (ctx) => Object.assign(ctx, { status: 200, body: { data: ctx.body } }) },
    { what: 'its own status', wrap: (ctx) => Object.assign(ctx, { status: ctx.status, body: 'done' }) },
  ])('of Koa: $what', async ({ wrap }) => {
    const { handler, errors } = noted()
    const statuses: number[] = []
    const wrapped = new Gate()
    const target = await startKoa((app) => {
      app.use(async (ctx, next) => {
        await next()
        wrap(ctx)
        statuses.push(ctx.status)
        wrapped.open()
      })
      app.use((ctx) => ctx.upgradeWebSocket(handler))
    })
    const client = await RawClient.open(target)
    await wrapped.passed('the envelope')
    await client.echoes()
    expect([statuses, errors]).toEqual([[101], []])
  })

  it('of Fastify', async () => {
    const { handler, errors } = noted()
    const app = makeFastify()
    await app.register(hubPlugin)
    app.addHook('preSerialization', async (_request, _reply, payload) => ({ data: payload }))
    app.get('/ws', async (_request, reply) => reply.upgradeWebSocket(handler))
    await app.listen({ port: 0, host: '127.0.0.1' })
    closeAfterTest(app.hub, app.server, () => app.close())
    const client = await RawClient.open({ port: portOf(app.server) })
    await client.echoes()
    expect(errors).toEqual([])
  })
})

describe('The default error handling receives what a route throws after the upgrade', () => {
  const throws: express.RequestHandler = (_req, res) => {
    void res.upgradeWebSocket(echo)
    throw boom
  }
  const rejects: express.RequestHandler = async (_req, res) => {
    await res.upgradeWebSocket(echo)
    throw boom
  }

  it.each([
    { name: 'Express 4', make: express4, route: throws },
    { name: 'Express 5', make: express, route: throws },
    { name: 'Express 5, async', make: express, route: rejects },
  ])('the log of $name receives it', async ({ make, route }) => {
    const lines: string[] = []
    vi.spyOn(console, 'error').mockImplementation((...args) => void lines.push(format(...args)))
    const app = make().set('env', 'production')
    const sockets = expressHub()
    app.use(sockets)
    app.get('/ws', route)
    const server = makeServer(app)
    closeAfterTest(sockets.hub, server)
    const client = await RawClient.open(await listen(server))
    await client.ended()
    await until('the log', () => lines.length > 0)
    expect(lines).toEqual([expect.stringContaining('Error: boom\n')])
  })

  it('the error event of Koa receives it, also if a middleware after wsHub answers instead', async () => {
    const seen: unknown[] = []
    const { handler, errors } = noted()
    const app = new Koa()
    const sockets = koaHub()
    app.on('error', (error) => void seen.push(error))
    app.use(sockets)
    app.use(async (ctx, next) => {
      try {
        await next()
      } catch (error) {
        if (ctx.path !== '/answered') throw error
        ctx.status = 500
        ctx.body = 'sorry'
      }
    })
    app.use(async (ctx) => {
      await ctx.upgradeWebSocket(handler)
      throw boom
    })
    const server = makeServer(app.callback())
    closeAfterTest(sockets.hub, server)
    const { port } = await listen(server)
    expect(await (await RawClient.open({ port })).closed()).toBe(1011)
    expect([seen, errors]).toEqual([[boom], [boom]])
    expect(await (await RawClient.open({ port }, '/answered')).closed()).toBe(1011)
    expect(errors).toEqual([boom, expect.objectContaining(ofResponse)])
  })

  it.each<{ what: string; answer: (ctx: Koa.Context) => void }>([
    { what: 'a status and a body', answer: (ctx) => Object.assign(ctx, { status: 422, body: 'sorry' }) },
    { what: 'a status alone', answer: (ctx) => Object.assign(ctx, { status: 500 }) },
    {
      what: 'a status of a wrapped response',
      answer: (ctx) => Object.assign(Object.create(ctx.response), { status: 500 }),
    },
  ])('Koa receives it although a middleware after wsHub answers with $what', async ({ answer }) => {
    const { handler, errors } = noted()
    const target = await startKoa((app) => {
      app.use((ctx, next) => next().catch(() => answer(ctx)))
      app.use(async (ctx) => {
        await ctx.upgradeWebSocket(handler)
        throw boom
      })
    })
    expect(await (await RawClient.open(target)).closed()).toBe(1011)
    expect(errors).toEqual([expect.objectContaining(ofResponse)])
  })

  it('the log of Fastify receives it, in child scopes too', async () => {
    const messages: unknown[] = []
    const stream = new Writable({
      write(chunk, _encoding, done) {
        const { err } = JSON.parse(String(chunk))
        if (err !== undefined) messages.push(err.message)
        done()
      },
    })
    const app = makeFastify({ logger: { stream } })
    await app.register(hubPlugin)
    const connections: Connection[] = []
    app.register(async (child) => {
      child.get('/ws', async (_request, reply) => {
        connections.push(await reply.upgradeWebSocket({ ...echo, onError: () => {} }))
        throw boom
      })
    })
    await app.listen({ port: 0, host: '127.0.0.1' })
    closeAfterTest(app.hub, app.server, () => app.close())
    const client = await RawClient.open({ port: portOf(app.server) })
    expect(await client.closed()).toBe(1011)
    await until('the log', () => messages.length > 0)
    expect(messages).toEqual(['boom'])
    expect(connections).toHaveLength(1)
  })
})
