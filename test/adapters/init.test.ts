import { createRequire } from 'node:module'
import express from 'express'
import { afterEach, describe, expect, it } from 'vitest'
import type { Hub, UpgradeInit } from 'wshub'
import { wsHub as expressHub } from 'wshub/express'
import { makeServer } from '../support/http2-tunnel.ts'
import { destroyClients, RawClient } from '../support/raw.ts'
import { closeAfterTest, closeApps, type Exchange, echo, frameworks, listen } from './frameworks.ts'

// Typed as version 5.
const express4 = createRequire(import.meta.url)('express4') as typeof express

afterEach(async () => {
  destroyClients()
  await closeApps()
})

describe.each(frameworks)('The init of a route of $name', ({ start }) => {
  /** Upgrades with an init that is refused with 500. @returns the errors of the route, and its hub */
  async function refused(init: () => UpgradeInit) {
    const errors: unknown[] = []
    const app = await start({
      routes: { '/ws': ({ upgrade }) => upgrade(echo, init()) },
      onError: (error, exchange: Exchange) => {
        errors.push(error)
        exchange.send(500, 'sorry')
      },
    })
    expect((await RawClient.refused(app)).status).toBe(500)
    return { errors, hub: app.hub }
  }

  it.each<{ init: unknown; rule: string }>([
    { init: null, rule: 'an object of options' },
    { init: 7, rule: 'an object of options' },
    { init: 'chat', rule: 'an object of options' },
    { init: [], rule: 'an object of options' },
    { init: { headers: null }, rule: 'headers is a plain object' },
    { init: { headers: 7 }, rule: 'headers is a plain object' },
    { init: { headers: [['x-a', 'b']] }, rule: 'headers is a plain object' },
    { init: { headers: new Headers({ 'x-a': 'b' }) }, rule: 'headers is a plain object' },
    { init: { headers: new Map([['x-a', 'b']]) }, rule: 'headers is a plain object' },
  ])('is not $init: refused before the 101', async ({ init, rule }) => {
    const { errors, hub } = await refused(() => init as UpgradeInit) // what JavaScript may pass
    expect(errors).toEqual([
      expect.objectContaining({
        code: 'WSHUB_ERR_INVALID_OPTION',
        message: expect.stringContaining(rule),
      }),
    ])
    expect(hub.size).toBe(0)
  })

  it.each([
    ['null', null],
    ['an object', {}],
    ['a symbol', Symbol('x')],
    ['true', true],
    ['an array with holes', new Array(2)],
    ['an array of numbers', [1]],
  ])('has no header that is %s', async (_name, value) => {
    const { errors } = await refused(() => ({ headers: { 'x-a': value as string } })) // likewise
    expect(errors).toEqual([
      expect.objectContaining({
        code: 'WSHUB_ERR_INVALID_HEADER',
        message: expect.stringContaining('the header "x-a" is a string, a number or an array of strings'),
      }),
    ])
  })

  it.each(['Content-Length', 'transfer-encoding', 'Connection', 'upgrade', 'Sec-WebSocket-Protocol'])(
    'has no header %s, which is not sent with a 101',
    async (name) => {
      const { errors } = await refused(() => ({ headers: { [name]: 'x' } }))
      expect(errors).toEqual([
        expect.objectContaining({
          code: 'WSHUB_ERR_INVALID_HEADER',
          message: `the header "${name}" cannot be added to the 101`,
        }),
      ])
    },
  )

  it('adds its cookies to those of the response, in any case', async () => {
    const app = await start({
      routes: {
        '/ws': (exchange) => {
          exchange.setHeader('set-cookie', 'sid=1')
          return exchange.upgrade(echo, { headers: { 'Set-Cookie': 'a=1', 'set-cookie': ['b=2'] } })
        },
      },
    })
    const answer = await (await RawClient.ask(app)).opened()
    expect(answer.headers.get('set-cookie')).toEqual(['sid=1', 'a=1', 'b=2'])
  })

  it.each<[string, (thrower: () => never) => UpgradeInit]>([
    ['metadata', (get) => Object.defineProperty({}, 'metadata', { enumerable: true, get })],
    ['remoteAddress', (get) => Object.defineProperty({}, 'remoteAddress', { enumerable: true, get })],
    ['headers', (get) => Object.defineProperty({}, 'headers', { enumerable: true, get })],
    ['an entry', (get) => ({ metadata: Object.defineProperty({}, 'x', { enumerable: true, get }) })],
  ])('becomes an error if reading %s throws undefined', async (_name, init) => {
    const thrower = () => {
      throw undefined
    }
    const { errors } = await refused(() => init(thrower))
    expect(errors).toEqual([expect.objectContaining({ code: 'WSHUB_ERR_HANDLER_THREW' })])
  })
})

describe('The init of an async route of Express 4', () => {
  it('becomes an error if reading it throws undefined', async () => {
    const app = express4()
    const middleware = expressHub()
    app.use(middleware)
    app.get('/ws', async (_req, res) => {
      await res.upgradeWebSocket(
        echo,
        Object.defineProperty({}, 'metadata', {
          enumerable: true,
          get: () => {
            throw undefined
          },
        }),
      )
    })
    await expectError(app, middleware.hub)
  })
})

describe("A framework's trust function", () => {
  it('becomes an error if it throws undefined', async () => {
    const app = express().set('trust proxy', () => {
      throw undefined
    })
    const middleware = expressHub()
    app.use(middleware)
    app.get('/ws', (_req, res) => res.upgradeWebSocket(echo))
    await expectError(app, middleware.hub)
  })
})

/** Expects that an upgrade at an application of Express ends in its error handler, with what was thrown. */
async function expectError(app: express.Express, hub: Hub): Promise<void> {
  const seen: unknown[] = []
  app.use((error: unknown, _req: express.Request, res: express.Response, _next: unknown) => {
    seen.push(error)
    res.status(500).end()
  })
  const target = await listen(makeServer(app))
  closeAfterTest(hub, target.server)
  expect((await RawClient.refused(target)).status).toBe(500)
  expect(seen).toEqual([expect.objectContaining({ code: 'WSHUB_ERR_HANDLER_THREW' })])
}
