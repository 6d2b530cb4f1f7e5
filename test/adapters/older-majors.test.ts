import { once } from 'node:events'
import type { Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import type express from 'express'
import type Koa from 'koa'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { wsHub as expressHub } from 'wshub/express'
import { wsHub as koaHub } from 'wshub/koa'

// Older applications use the previous major versions: Express 4 and Koa 2. They are typed as the current
// ones, which declare the same for what is used here.
const require = createRequire(import.meta.url)
const express4 = require('express4') as typeof express
const Koa2 = require('koa2') as typeof Koa

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup()
})

async function portOf(server: Server): Promise<number> {
  if (!server.listening) await once(server, 'listening')
  cleanups.push(async () => {
    server.close()
    await once(server, 'close')
  })
  return (server.address() as AddressInfo).port // a TCP server has an AddressInfo
}

/** Returns the result of a route's first upgrade: its first message, or the status of the refusal. */
function outcome(url: string, options = {}): Promise<string | number | undefined> {
  return new Promise((resolve, reject) => {
    const client = new WebSocket(url, options)
    cleanups.push(async () => client.terminate())
    client.once('message', (data) => resolve(String(data)))
    client.once('unexpected-response', (_, response) => resolve(response.statusCode))
    client.once('error', reject)
  })
}

const handler = { onOpen: (conn: { sendText(text: string): boolean }) => void conn.sendText('welcome') }
const foreign = { origin: 'https://evil.example' }

describe('Express 4', () => {
  it('upgrades in its routes and renders a refusal', async () => {
    const app = express4()
    const sockets = expressHub()
    app.use(sockets)
    app.get('/ws', (_req, res) => {
      res.upgradeWebSocket(handler)
    })
    const port = await portOf(app.listen(0, '127.0.0.1'))
    cleanups.unshift(() => sockets.hub.close())
    expect(await outcome(`ws://127.0.0.1:${port}/ws`)).toBe('welcome')
    expect(await outcome(`ws://127.0.0.1:${port}/ws`, foreign)).toBe(403)
    expect(await outcome(`ws://127.0.0.1:${port}/elsewhere`)).toBe(404)
  })
})

describe('Koa 2', () => {
  it('upgrades in its middleware and renders a refusal', async () => {
    const app = new Koa2()
    const sockets = koaHub()
    app.use(sockets)
    app.use(async (ctx, next) => {
      if (ctx.path === '/ws') await ctx.upgradeWebSocket(handler)
      else await next()
    })
    const port = await portOf(app.listen(0, '127.0.0.1'))
    cleanups.unshift(() => sockets.hub.close())
    expect(await outcome(`ws://127.0.0.1:${port}/ws`)).toBe('welcome')
    expect(await outcome(`ws://127.0.0.1:${port}/ws`, foreign)).toBe(403)
    expect(await outcome(`ws://127.0.0.1:${port}/elsewhere`)).toBe(404)
  })
})
