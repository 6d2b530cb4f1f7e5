import { createServer, type Server } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { defineHandler, H3, HTTPError, setCookie, toNodeHandler } from 'h3'
import { Hono } from 'hono'
import { setCookie as setHonoCookie } from 'hono/cookie'
import { HTTPException } from 'hono/http-exception'
import { secureHeaders } from 'hono/secure-headers'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type EventHandler, Hub, type UpgradeInit } from 'wshub'
import { wsHub as h3Hub } from 'wshub/h3'
import { wsHub as honoHub } from 'wshub/hono'
import { destroyClients, RawClient, type Target, until } from '../support/raw.ts'
import { closeAfterTest, closeApps, echo, listen } from './frameworks.ts'
import { failOnStrayErrors } from './stray-errors.ts'

failOnStrayErrors()

afterEach(async () => {
  vi.restoreAllMocks()
  destroyClients()
  await closeApps()
})

interface Route {
  readonly handler?: EventHandler
  readonly init?: UpgradeInit
  /** Runs when the upgrade is accepted. */
  readonly after?: () => void
  /** Receives what the application's error handler does. */
  readonly errors?: unknown[]
  /** Default a new one. */
  readonly hub?: Hub
}

interface App extends Target {
  readonly hub: Hub
  /** Answers an upgrade without a server of Node, and returns the status. */
  injected(): Promise<number>
}

/** An application with a route `/ws`, a middleware that sets two cookies, and one that changes answers. */
async function hono({ handler = echo, init, after, errors, hub }: Route): Promise<App> {
  const ws = honoHub(hub && { hub })
  const app = new Hono()
  if (errors !== undefined) {
    app.onError((error, c) => {
      errors.push(error)
      return c.text('sorry', 500)
    })
  }
  app.use(ws, secureHeaders())
  app.get('/ws', async (c) => {
    setHonoCookie(c, 'a', '1')
    setHonoCookie(c, 'b', '2')
    await c.var.upgradeWebSocket(handler, init)
    after?.()
  })
  const injected = async () => (await app.request('/ws')).status
  return { ...(await serve(ws.hub, createServer(getRequestListener(app.fetch)))), injected }
}

async function h3({ handler = echo, init, after, errors, hub }: Route): Promise<App> {
  const ws = h3Hub(hub && { hub })
  const app = new H3({
    silent: true,
    onError: (error) => {
      errors?.push(error)
      return errors === undefined ? undefined : 'sorry'
    },
  })
  app.use(ws)
  app.get(
    '/ws',
    defineHandler(async (event) => {
      setCookie(event, 'a', '1')
      setCookie(event, 'b', '2')
      const connection = await event.context.upgradeWebSocket(handler, init)
      after?.()
      return connection
    }),
  )
  const injected = async () => (await app.request('/ws')).status
  const listener = toNodeHandler(app)
  return {
    ...(await serve(
      ws.hub,
      createServer((req, res) => void listener(req, res)),
    )),
    injected,
  }
}

async function serve(hub: Hub, server: Server): Promise<Target & { hub: Hub }> {
  closeAfterTest(hub, server)
  return { ...(await listen(server)), hub }
}

describe.each([
  { name: 'wshub/hono', start: hono, HostError: HTTPException },
  { name: 'wshub/h3', start: h3, HostError: HTTPError },
])('$name', ({ start, HostError }) => {
  it('sends each cookie that was set before with the 101, and those of the init', async () => {
    const app = await start({ init: { headers: { 'Set-Cookie': 'c=3', 'X-Init': 'yes' } } })
    const client = await RawClient.ask(app)
    const { head } = await client.opened()
    const cookies = [...head.matchAll(/^set-cookie: (\w=\d)/gim)].map(([, cookie]) => cookie)
    expect(cookies).toEqual(['a=1', 'b=2', 'c=3'])
    expect(head).toMatch(/^x-init: yes\r?$/im)
    await client.echoes()
  })

  it('gives the error handler a refusal as an error of the host', async () => {
    const errors: unknown[] = []
    const app = await start({ errors })
    expect(await (await fetch(`http://127.0.0.1:${app.port}/ws`)).text()).toBe('sorry')
    expect(errors).toEqual([expect.any(HostError)])
    expect(errors).toEqual([expect.objectContaining({ status: 426 })])
  })

  it('answers with a refusal of a hub of another copy of the package', async () => {
    vi.resetModules()
    const other = await import('wshub')
    expect(other.Hub).not.toBe(Hub)
    const app = await start({ hub: new other.Hub() })
    const answer = await fetch(`http://127.0.0.1:${app.port}/ws`)
    expect(answer.status).toBe(426)
    expect(await answer.text()).toContain('this is a WebSocket endpoint')
  })

  it('leaves a mistake of the program as it is', async () => {
    const errors: unknown[] = []
    const app = await start({ errors, handler: { onMessage: 1 } as never })
    await RawClient.ask(app)
    await until('the error', () => errors.length > 0)
    const [error] = errors
    expect(error instanceof HTTPError ? error.cause : error).toMatchObject({
      code: 'WSHUB_ERR_INVALID_HANDLER',
    })
  })

  it('ends the connection with what the route throws after the upgrade', async () => {
    const boom = new Error('boom')
    const seen: unknown[] = []
    const errors: unknown[] = []
    const handler: EventHandler = { onError: (_conn, error) => void seen.push(error) }
    const after = () => {
      throw boom
    }
    const app = await start({ handler, after, errors })
    expect(await (await RawClient.open(app)).closed()).toBe(1011)
    expect(seen).toEqual([boom])
    expect(errors).toHaveLength(1)
  })

  it('says that the application is not on a server of Node', async () => {
    const errors: unknown[] = []
    const app = await start({ errors })
    await app.injected()
    const [error] = errors
    expect(error instanceof HTTPError ? error.cause : error).toMatchObject({ code: 'WSHUB_ERR_NOT_ATTACHED' })
  })
})
