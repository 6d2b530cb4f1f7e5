/** The same small application in every framework, so that one suite can test all of them. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { text as readText } from 'node:stream/consumers'
import express from 'express'
import fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify'
import Koa, { type Context } from 'koa'
import { type Connection, type EventHandler, Hub, type HubOptions, type UpgradeInit } from 'wshub'
import { wsHub as expressHub } from 'wshub/express'
import { hubPlugin } from 'wshub/fastify'
import { wsHub as koaHub } from 'wshub/koa'
import { http2Server, isHttp2, makeServer, withSessions } from '../support/http2-tunnel.ts'
import { inTime, type Target } from '../support/raw.ts'

/** A request and its response, with the same names in every framework. */
export interface Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  setHeader(name: string, value: string | string[]): void
  upgrade(handler: EventHandler, init?: UpgradeInit): Promise<Connection>
  /** The body of the request, as the framework reads it. */
  body(): Promise<string>
  /** Answers as the framework does. */
  send(status: number, body: string): void
}

/** Called for a path, with any method; the framework renders what it throws. */
export type Route = (exchange: Exchange) => unknown

export interface AppOptions {
  readonly hub?: HubOptions | { readonly hub: Hub }
  readonly routes: Readonly<Record<string, Route>>
  /** A middleware or hook before all routes; if it returns `true`, it has answered. */
  readonly before?: (exchange: Exchange) => Promise<boolean> | boolean
  /** The application's own error handler; by default the framework's. */
  readonly onError?: (error: unknown, exchange: Exchange) => void
  /** The framework's own `listen` by default. */
  readonly server?: 'listen' | 'createServer' | 'https'
}

export interface App extends Target {
  readonly hub: Hub
  readonly server: Server
  /** Serves the application on a second server. */
  listenAgain(): Promise<Target & { server: Server }>
  /** The framework's way to stop: `fastify.close()`, or `server.close()`. */
  close(): Promise<void>
}

export interface Framework {
  readonly name: string
  start(options: AppOptions): Promise<App>
}

/** Bun does not say which servers there are, so an application has to attach its hub. */
function attachOnBun(hub: Hub, server: Server): void {
  if ('bun' in process.versions) hub.attach(server)
}

const apps = new Set<{ hub: Hub; servers: Set<Server>; close: () => Promise<void> }>()

/** Stops applications that tests have not stopped, for `afterEach`. */
export async function closeApps(): Promise<void> {
  for (const app of apps) {
    apps.delete(app)
    await app.hub.close({ timeoutMs: 50 })
    for (const server of app.servers) server.closeAllConnections()
    await inTime('the application to close', app.close())
  }
}

let credentials: { key: string; cert: string } | undefined

/** A key and a certificate signed with it, created once. */
export function selfSigned(): { key: string; cert: string } {
  if (credentials === undefined) {
    const args =
      'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -keyout - -out -'
    const pem = execFileSync('openssl', args.split(' '), {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    credentials = { key: pem, cert: pem } // each reader skips the other's block
  }
  return credentials
}

export function portOf(server: Pick<Server, 'address'>): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server does not listen on a port')
  return address.port
}

export async function listen(server: Server): Promise<Target & { server: Server }> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: portOf(server), server }
}

export async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return
  await new Promise<void>((resolve, reject) => {
    server.close((error) => (error === undefined ? resolve() : reject(error)))
  })
}

/** For applications that a test creates by hand. */
export function closeAfterTest(hub: Hub, server: Server, close = () => closeServer(server)): void {
  attachOnBun(hub, server)
  apps.add({ hub, servers: new Set([server]), close })
}

/** An application that is a request listener, in servers that are created on request. */
async function serve(
  hub: Hub,
  listener: RequestListener,
  listenItself: () => Server,
  how: AppOptions['server'],
  attach: (server: Server) => void = () => {},
): Promise<App> {
  const servers = new Set<Server>()
  const make = async (make: () => Server) => {
    const server = make()
    servers.add(server)
    attachOnBun(hub, server)
    attach(server)
    if (!server.listening) await once(server, 'listening')
    return { server, port: portOf(server) }
  }
  const byHand = () => makeServer(listener).listen(0, '127.0.0.1')
  const secure = how === 'https'
  const { server, port } = await make(() => {
    if (isHttp2) return http2Server(listener, secure ? selfSigned() : undefined).listen(0, '127.0.0.1')
    if (secure) return createSecureServer(selfSigned(), listener).listen(0, '127.0.0.1')
    return how === 'createServer' ? byHand() : listenItself()
  })
  const app = {
    hub,
    server,
    port,
    secure,
    http2: isHttp2,
    listenAgain: async () => ({ ...(await make(byHand)), http2: isHttp2 }),
    close: () => closeServer(server),
  }
  apps.add({
    hub,
    servers,
    close: async () => {
      await Promise.all([...servers].map(closeServer))
    },
  })
  return app
}

/** Fastify's type of an application depends on its server; here all applications have one type. */
function secureFastify(): FastifyInstance {
  const https = selfSigned()
  const app = isHttp2 ? fastify({ http2: true, https: { allowHTTP1: true, ...https } }) : fastify({ https })
  if (isHttp2) withSessions(app.server as unknown as Server)
  return app as unknown as FastifyInstance
}

/** An application of the protocol that this run of the tests is about. */
export function makeFastify(options: FastifyServerOptions = {}): FastifyInstance {
  if (!isHttp2) return fastify(options)
  const app = fastify({ ...(options as object), http2: true })
  withSessions(app.server as unknown as Server)
  return app as unknown as FastifyInstance
}

const startFastify: Framework['start'] = async ({
  hub: hubOptions,
  routes,
  before,
  onError,
  server: how,
}) => {
  const serverFactory = (handler: RequestListener) => createServer(handler)
  const app =
    how === 'https'
      ? secureFastify()
      : makeFastify(how === 'createServer' && !isHttp2 ? { serverFactory } : {})
  const exchange = (request: FastifyRequest, reply: FastifyReply): Exchange => ({
    req: request.raw,
    res: reply.raw,
    setHeader: (name, value) => reply.header(name, value),
    upgrade: (handler, init) => reply.upgradeWebSocket(handler, init),
    body: async () => String(request.body),
    send: (status, body) => reply.code(status).send(body),
  })
  if (onError !== undefined) {
    app.setErrorHandler((error, request, reply) => onError(error, exchange(request, reply)))
  }
  if (before !== undefined) {
    app.addHook('onRequest', async (request, reply) => {
      if (await before(exchange(request, reply))) return reply
    })
  }
  await app.register(hubPlugin, hubOptions ?? {})
  for (const [url, route] of Object.entries(routes)) {
    app.all(url, (request, reply) => route(exchange(request, reply)))
  }
  await app.listen({ port: 0, host: '127.0.0.1' })
  const servers = new Set<Server>([app.server])
  apps.add({
    hub: app.hub,
    servers,
    close: async () => {
      await app.close()
      await Promise.all([...servers].map(closeServer))
    },
  })
  return {
    hub: app.hub,
    server: app.server,
    port: portOf(app.server),
    secure: how === 'https',
    http2: isHttp2,
    listenAgain: async () => {
      const listener: RequestListener = (req, res) => app.routing(req, res)
      const server = makeServer(listener)
      app.hub.attach(server)
      servers.add(server)
      return { ...(await listen(server)), http2: isHttp2 }
    },
    close: async () => {
      await app.close()
    },
  }
}

const startExpress: Framework['start'] = async ({ hub: hubOptions, routes, before, onError, server }) => {
  const app = express()
  const exchange = (req: express.Request, res: express.Response): Exchange => ({
    req,
    res,
    setHeader: (name, value) => res.set(name, value),
    upgrade: (handler, init) => res.upgradeWebSocket(handler, init),
    body: () => readText(req),
    send: (status, body) => res.status(status).type('text').send(body),
  })
  const hub = expressHub(hubOptions)
  app.use(hub)
  if (before !== undefined) {
    app.use(async (req, res, next) => {
      if (!(await before(exchange(req, res)))) next()
    })
  }
  for (const [path, route] of Object.entries(routes)) {
    app.all(path, (req, res) => route(exchange(req, res)) as Promise<void> | undefined) // Express waits for any promise
  }
  if (onError !== undefined) {
    app.use((error: unknown, req: express.Request, res: express.Response, _next: express.NextFunction) => {
      onError(error, exchange(req, res))
    })
  }
  return serve(hub.hub, app, () => app.listen(0, '127.0.0.1'), server)
}

const startKoa: Framework['start'] = async ({ hub: hubOptions, routes, before, onError, server }) => {
  const app = new Koa()
  app.silent = true
  const exchange = (ctx: Context): Exchange => ({
    req: ctx.req,
    res: ctx.res,
    setHeader: (name, value) => ctx.set(name, value),
    upgrade: (handler, init) => ctx.upgradeWebSocket(handler, init),
    body: () => readText(ctx.req),
    send: (status, body) => {
      ctx.status = status
      ctx.body = body
    },
  })
  const hub = koaHub(hubOptions)
  if (onError !== undefined) {
    app.use(async (ctx, next) => {
      try {
        await next()
      } catch (error) {
        onError(error, exchange(ctx))
      }
    })
  }
  app.use(hub)
  if (before !== undefined) {
    app.use(async (ctx, next) => {
      if (!(await before(exchange(ctx)))) await next()
    })
  }
  app.use((ctx, next) => {
    const route = routes[ctx.path]
    return route === undefined ? next() : route(exchange(ctx))
  })
  return serve(hub.hub, app.callback(), () => app.listen(0, '127.0.0.1'), server)
}

const startPlain: Framework['start'] = async ({ hub: hubOptions = {}, routes, before, onError, server }) => {
  const hub = 'hub' in hubOptions ? hubOptions.hub : new Hub(hubOptions)
  const listener = async (req: IncomingMessage, res: ServerResponse) => {
    const exchange: Exchange = {
      req,
      res,
      setHeader: (name, value) => res.setHeader(name, value),
      upgrade: (handler, init) => hub.upgrade(req, handler, init),
      body: () => readText(req),
      send: (status, body) => res.writeHead(status, { 'Content-Length': Buffer.byteLength(body) }).end(body),
    }
    try {
      if (await before?.(exchange)) return
      const route = routes[new URL(req.url ?? '/', 'http://localhost').pathname]
      if (route === undefined) exchange.send(404, 'Not Found')
      else await route(exchange)
    } catch (error) {
      if (onError !== undefined) onError(error, exchange)
      else renderError(error, res)
    }
  }
  return serve(
    hub,
    listener,
    () => createServer(listener).listen(0, '127.0.0.1'),
    server,
    (made) => hub.attach(made),
  )
}

/** Does the same in an application without a framework. */
function renderError(error: unknown, res: ServerResponse): void {
  const { status, headers, message } = error as {
    status?: number
    headers?: Record<string, string>
    message: string
  }
  res.writeHead(status ?? 500, headers).end(message)
}

export const frameworks: readonly Framework[] = [
  { name: 'Fastify', start: startFastify },
  { name: 'Express', start: startExpress },
  { name: 'Koa', start: startKoa },
  { name: 'node:http', start: startPlain },
]

/** Sends every message back. */
export const echo: EventHandler = {
  onMessage(connection, message) {
    if (message.type === 'text') connection.sendText(message.data)
    else connection.sendBinary(message.data)
  },
}

export const echoRoute: Route = (exchange) => exchange.upgrade(echo)
