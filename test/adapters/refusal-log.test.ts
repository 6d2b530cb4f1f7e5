import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { Writable } from 'node:stream'
import { format } from 'node:util'
import express from 'express'
import fastify from 'fastify'
import Koa from 'koa'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { wsHub as expressHub } from 'wshub/express'
import { hubPlugin } from 'wshub/fastify'
import { wsHub as koaHub } from 'wshub/koa'
import { destroyClients, RawClient, until } from '../support/raw.ts'
import { closeAfterTest, closeApps, echo, listen, portOf } from './frameworks.ts'

// Express 4 is typed as Express 5, which declares the same for what is used here.
const express4 = createRequire(import.meta.url)('express4') as typeof express

afterEach(async () => {
  vi.restoreAllMocks()
  destroyClients()
  await closeApps()
})

/** Returns the lines that a framework writes to the console by default. */
function consoleLines(): string[] {
  const lines: string[] = []
  vi.spyOn(console, 'error').mockImplementation((...args) => void lines.push(...format(...args).split('\n')))
  return lines
}

/** A refusal by the hub, and one by `ws`. */
const refusals = [
  { headers: { Origin: 'https://evil.example' }, status: 403, code: 'WSHUB_ERR_ORIGIN' },
  { headers: { 'Sec-WebSocket-Protocol': 'a b' }, status: 400, code: 'WSHUB_ERR_BAD_HANDSHAKE' },
]

async function refuseAll(port: number, bodies: string[] = []): Promise<void> {
  for (const { headers, status } of refusals) {
    const answer = await RawClient.refused({ port }, '/ws', { headers })
    expect(answer.status).toBe(status)
    bodies.push(answer.body)
  }
}

describe.each([
  { name: 'Express 4', make: express4 },
  { name: 'Express 5', make: express },
])('The default log of $name', ({ make }) => {
  async function start(onError?: express.ErrorRequestHandler): Promise<number> {
    const app = make().set('env', 'development')
    const sockets = expressHub()
    app.use(sockets)
    app.get('/ws', async (_req, res) => {
      await res.upgradeWebSocket(echo)
    })
    if (onError !== undefined) app.use(onError)
    const server = createServer(app)
    closeAfterTest(sockets.hub, server)
    return (await listen(server)).port
  }

  it('has one line for a refusal', async () => {
    const lines = consoleLines()
    await refuseAll(await start())
    await until('the lines', () => lines.length >= refusals.length)
    expect(lines).toEqual(refusals.map(({ code }) => expect.stringMatching(`^HubError \\[${code}\\]: .`)))
  })

  it('has no line with the error handler of docs/errors.md, which shows the message', async () => {
    const lines = consoleLines()
    const bodies: string[] = []
    const port = await start((error, _req, res, next) => {
      if (res.headersSent) return next(error)
      if (!error.expose) console.error(error)
      res
        .status(error.status ?? 500)
        .set(error.headers)
        .send(error.expose ? error.message : 'Internal Server Error')
    })
    await refuseAll(port, bodies)
    expect(bodies[0]).toBe('the origin "https://evil.example" is not allowed')
    expect(lines).toEqual([])
  })
})

describe('The default log of Fastify', () => {
  it('has no stack for a refusal', async () => {
    const stacks: string[] = []
    const stream = new Writable({
      write(chunk, _encoding, done) {
        const { err } = JSON.parse(String(chunk))
        if (err !== undefined) stacks.push(err.stack)
        done()
      },
    })
    const app = fastify({ logger: { stream } })
    await app.register(hubPlugin)
    app.get('/ws', async (_request, reply) => reply.upgradeWebSocket(echo))
    await app.listen({ port: 0, host: '127.0.0.1' })
    closeAfterTest(app.hub, app.server, () => app.close())
    await refuseAll(portOf(app.server))
    await until('the lines', () => stacks.length >= refusals.length)
    expect(stacks).toEqual(refusals.map(({ code }) => expect.stringMatching(`^HubError \\[${code}\\]: .+$`)))
  })
})

describe('The default log of Koa', () => {
  it('has nothing for a refusal', async () => {
    const lines = consoleLines()
    const app = new Koa()
    const sockets = koaHub()
    app.use(sockets)
    app.use((ctx) => ctx.upgradeWebSocket(echo))
    const server = createServer(app.callback())
    closeAfterTest(sockets.hub, server)
    const { port } = await listen(server)
    await refuseAll(port)
    expect(lines).toEqual([])
  })
})
