import {
  type ArgumentsHost,
  Catch,
  Controller,
  type ExecutionContext,
  Get,
  HttpException,
  Inject,
  Injectable,
  type MiddlewareConsumer,
  UnauthorizedException,
  UseGuards,
} from '@nestjs/common'
import { APP_GUARD, APP_INTERCEPTOR } from '@nestjs/core'
import { map } from 'rxjs'
import { afterEach, describe, expect, it } from 'vitest'
import type { Connection } from 'wshub'
import type { GatewayRequest } from 'wshub/nest'
import { destroyClients, RawClient, request, until } from '../../support/raw.ts'
import { closeNest, EventClient, PLATFORMS, startNest } from './application.ts'
import { decorate, gateway } from './decorations.ts'

afterEach(async () => {
  destroyClients()
  await closeNest()
})

/** Answers with the metadata of the connection. */
const tells = () =>
  class {
    who(connection: Connection) {
      return Object.fromEntries(connection.metadata)
    }
  }

/** A guard that wants a token, and tells the route about its user. */
class TokenGuard {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest()
    if (request.headers.authorization === undefined) throw new UnauthorizedException('no token')
    request.user = request.headers.authorization
    return request.user !== 'banned'
  }
}
decorate(TokenGuard, { class: [Injectable()] })

class Names {
  of(user: string) {
    return user.toUpperCase()
  }
}
decorate(Names, { class: [Injectable()] })

/** A provider with a dependency, behind that guard. */
class GuardedUpgrade {
  readonly #names: Names
  constructor(names: Names) {
    this.#names = names
  }
  async upgrade(request: GatewayRequest & { readonly user?: string }) {
    return { metadata: { name: this.#names.of(request.user ?? '') }, headers: { 'X-From': 'upgrade' } }
  }
}
Inject(Names)(GuardedUpgrade, undefined, 0)
decorate(GuardedUpgrade, { class: [Injectable()], members: { upgrade: [UseGuards(TokenGuard)] } })

describe.each(PLATFORMS)('An upgrade of a Nest application over %s', (platform) => {
  const providers = [Names, GuardedUpgrade]
  const as = (user: string) => ({ headers: { Authorization: user } })

  it('runs guards and a provider before the 101', async () => {
    const chat = gateway({ path: '/chat', upgrade: GuardedUpgrade }, tells())
    const app = await startNest({ platform, providers: [chat, ...providers] })
    const none = await RawClient.refused(app, '/chat')
    expect(none.status).toBe(401)
    expect(JSON.parse(none.body)).toEqual({ statusCode: 401, error: 'Unauthorized', message: 'no token' })
    expect((await RawClient.refused(app, '/chat', as('banned'))).status).toBe(403)
    const client = await RawClient.ask(app, '/chat', as('alice'))
    const answer = await client.opened()
    expect(answer.header('x-from')).toBe('upgrade')
    client.send('{"event":"who"}')
    expect(JSON.parse(await client.message())).toEqual({ name: 'ALICE' })
    expect(app.hub.size).toBe(1)
  })

  it('runs the upgrade of the adapter for gateways without their own, which may be a function', async () => {
    const app = await startNest({
      platform,
      providers: [
        gateway({ path: '/plain' }, tells()),
        gateway({ path: '/own', upgrade: () => ({ metadata: { from: 'gateway' } }) }, tells()),
      ],
      adapter: { upgrade: async ({ url }) => ({ metadata: { from: url } }) },
    })
    expect(await (await app.client('/plain?x')).ask('who')).toEqual({ from: '/plain?x' })
    expect(await (await app.client('/own')).ask('who')).toEqual({ from: 'gateway' })
  })

  it('is refused by global guards, and not changed by global interceptors', async () => {
    const app = await startNest({
      platform,
      providers: [
        gateway({ path: '/chat', upgrade: () => ({ metadata: { a: 1 } }) }, tells()),
        { provide: APP_GUARD, useValue: { canActivate: (context: ExecutionContext) => isAllowed(context) } },
        {
          provide: APP_INTERCEPTOR,
          useValue: {
            intercept: (context: ExecutionContext, next: { handle(): import('rxjs').Observable<unknown> }) =>
              context.getType() === 'http' ? next.handle().pipe(map((data) => ({ data }))) : next.handle(),
          },
        },
      ],
    })
    const isAllowed = (context: ExecutionContext) =>
      context.getType() !== 'http' || context.switchToHttp().getRequest().headers['x-key'] === 'open'
    expect((await RawClient.refused(app, '/chat')).status).toBe(403)
    const client = await RawClient.open(app, '/chat', { headers: { 'X-Key': 'open' } })
    client.send('{"event":"who"}')
    expect(JSON.parse(await client.message())).toEqual({ a: 1 })
  })

  it('is refused by the filters of the application, also when the hub refuses', async () => {
    class Filter {
      catch(exception: HttpException, host: ArgumentsHost) {
        const response = host.switchToHttp().getResponse()
        const body = { filtered: exception.message }
        if (platform === 'Express') response.status(exception.getStatus()).json(body)
        else response.code(exception.getStatus()).send(body)
      }
    }
    Catch(HttpException)(Filter)
    const app = await startNest({
      platform,
      providers: [gateway({ upgrade: GuardedUpgrade }, tells()), ...providers],
      configure: (made) => made.useGlobalFilters(new Filter()),
    })
    const answer = await RawClient.refused(app, '/')
    expect([answer.status, JSON.parse(answer.body)]).toEqual([401, { filtered: 'no token' }])
    const { headers } = as('alice')
    const foreign = await RawClient.refused(app, '/', {
      headers: { ...headers, Origin: 'https://evil.example' },
    })
    expect(foreign.status).toBe(403)
    expect(JSON.parse(foreign.body).filtered).toMatch(/origin/i)
    const old = await RawClient.refused(app, '/', { headers: { ...headers, 'Sec-WebSocket-Version': '8' } })
    expect([old.status, old.header('sec-websocket-version')]).toEqual([426, '13'])
    expect(app.hub.size).toBe(0)
  })

  it('comes after the middleware of main.ts, whose headers are sent with the 101', async () => {
    const app = await startNest({
      platform,
      providers: [gateway({ path: '/chat' }, tells())],
      configure: (made) =>
        made.use((req: GatewayRequest, res: import('node:http').ServerResponse, next: () => void) => {
          res.setHeader('Set-Cookie', 'sid=1')
          if (req.headers['x-bad'] === undefined) next()
          else res.writeHead(402).end()
        }),
    })
    expect((await RawClient.refused(app, '/chat', { headers: { 'X-Bad': '1' } })).status).toBe(402)
    const client = await RawClient.ask(app, '/chat')
    expect((await client.opened()).header('set-cookie')).toBe('sid=1')
  })

  it(`comes ${platform === 'Express' ? 'before' : 'after'} the middleware of modules`, async () => {
    const seen: string[] = []
    class Root {
      configure(consumer: MiddlewareConsumer) {
        const middleware = (req: { url: string }, _res: unknown, next: () => void) => {
          seen.push(req.url)
          next()
        }
        consumer.apply(middleware).forRoutes('{*path}')
      }
    }
    const app = await startNest({ platform, module: Root, providers: [gateway({ path: '/chat' }, tells())] })
    await app.client('/chat')
    expect(seen).toHaveLength(platform === 'Express' ? 0 : 1)
  })

  it('leaves requests that are no upgrade, and unknown paths, to the controllers', async () => {
    class Pages {
      page() {
        return 'a page'
      }
    }
    decorate(Pages, { class: [Controller()], members: { page: [Get()] } })
    const app = await startNest({ platform, controllers: [Pages], providers: [gateway({}, tells())] })
    const page = await RawClient.connect(app)
    await page.write(request('/'))
    expect((await page.answer()).body).toBe('a page')
    expect((await RawClient.refused(app, '/unknown')).status).toBe(404)
    expect(await (await app.client('/')).ask('who')).toEqual({})
  })

  it('has the address and the scheme that the platform trusts', async () => {
    class Address {
      address(connection: Connection) {
        return connection.remoteAddress
      }
    }
    const headers = {
      Origin: 'https://localhost',
      'X-Forwarded-For': '192.0.2.7',
      'X-Forwarded-Proto': 'https',
    }
    const providers = [gateway({}, Address)]
    const trusting = await startNest({ platform, providers, trustsProxy: true })
    const client = await RawClient.open(trusting, '/', { headers })
    client.send('{"event":"address"}')
    expect(await client.message()).toBe('"192.0.2.7"')
    const direct = await startNest({ platform, providers })
    const page = { ...headers, Origin: 'http://localhost' }
    const other = await RawClient.open(direct, '/', { headers: page })
    other.send('{"event":"address"}')
    expect(await other.message()).toBe('"127.0.0.1"')
  })

  it('is answered with 500 when the upgrade fails, and tells the client nothing about it', async () => {
    const app = await startNest({
      platform,
      providers: [
        gateway(
          {
            path: '/throws',
            upgrade: () => {
              throw new Error('a secret')
            },
          },
          tells(),
        ),
        gateway({ path: '/nothing', upgrade: () => Promise.reject(undefined) }, tells()),
        // @ts-expect-error a wrong option of JavaScript
        gateway({ path: '/wrong', upgrade: () => ({ metdata: {} }) }, tells()),
      ],
    })
    for (const path of ['/throws', '/nothing', '/wrong']) {
      const answer = await RawClient.refused(app, path)
      expect(answer.status).toBe(500)
      expect(JSON.parse(answer.body).message).toMatch(
        /^(internal server error|undefined error has occurred)$/i,
      )
    }
    expect(app.hub.size).toBe(0)
  })

  it('opens nothing for a client that leaves while a guard runs', async () => {
    const waiting: (() => void)[] = []
    const app = await startNest({
      platform,
      providers: [
        gateway({ upgrade: () => new Promise((resolve) => waiting.push(() => resolve({}))) }, tells()),
      ],
    })
    const client = await RawClient.ask(app, '/')
    await until('the upgrade to run', () => waiting.length === 1)
    client.destroy()
    await until('the server to notice', () => app.hub.stats().pendingUpgrades === 0)
    waiting[0]?.()
    const next = EventClient.open(app, '/')
    await until('the next upgrade to run', () => waiting.length === 2)
    waiting[1]?.()
    expect(await (await next).ask('who')).toEqual({})
    expect(app.hub.size).toBe(1)
  })
})

describe('An upgrade of a Nest application over HTTP/2', () => {
  it('opens a connection of a gateway, or is refused', async () => {
    const app = await startNest({
      platform: 'Fastify',
      http2: true,
      providers: [gateway({ path: '/chat', upgrade: GuardedUpgrade }, tells()), Names, GuardedUpgrade],
    })
    const { status, body } = await RawClient.refused(app, '/chat')
    expect([status, JSON.parse(body).message]).toEqual([401, 'no token'])
    const headers = { Authorization: 'alice', Origin: 'https://evil.example' }
    expect((await RawClient.refused(app, '/chat', { headers })).status).toBe(403)
    const client = await RawClient.open(app, '/chat', { headers: { Authorization: 'alice' } })
    client.send('{"event":"who"}')
    expect(JSON.parse(await client.message())).toEqual({ name: 'ALICE' })
  })
})
