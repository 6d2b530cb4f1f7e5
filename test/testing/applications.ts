import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import express from 'express'
import session from 'express-session'
import fastify from 'fastify'
import Koa, { type Context } from 'koa'
import koaSession from 'koa-session'
import { type Connection, type EventHandler, Hub, HubError, type HubOptions, type UpgradeInit } from 'wshub'
import { wsHub as expressHub } from 'wshub/express'
import { hubPlugin } from 'wshub/fastify'
import { wsHub as koaHub } from 'wshub/koa'
import type { Application } from 'wshub/testing'

// The previous major versions; they are typed as the current ones, for what is used here.
const require = createRequire(import.meta.url)
const express4 = require('express4') as typeof express
const Koa2 = require('koa2') as typeof Koa

/** An application that never opens a port. */
export interface Made {
  readonly app: Application
  readonly hub: Hub
  readonly close: () => Promise<unknown>
}

export interface Kind {
  readonly name: string
  make(options?: HubOptions): Made
}

/** A request as the routes see it, with the same names in every framework. */
interface Exchange {
  readonly req: IncomingMessage
  /** The user of the session, from the framework's own session middleware. */
  user: string | undefined
  setHeader(name: string, value: string): void
  send(status: number, body: string): unknown
  upgrade(handler: EventHandler, init?: UpgradeInit): Promise<Connection>
}

/** Sends a greeting if it knows a name, sends back every message, and closes on request. */
export const handler: EventHandler = {
  onOpen(connection) {
    const user = connection.getMetadata('user')
    if (user !== undefined) connection.sendText(`hello ${user} of ${connection.remoteAddress}`)
  },
  onMessage(connection, message) {
    if (message.type === 'binary') connection.sendBinary(message.data)
    else if (message.data === 'leave') connection.close(4001, 'as told')
    else connection.sendText(message.data)
  },
}

const routes: Readonly<Record<string, (exchange: Exchange) => unknown>> = {
  '/login': (exchange) => {
    exchange.user = 'ada'
    return exchange.send(200, 'welcome')
  },
  '/private': (exchange) => {
    const { user } = exchange
    if (user === undefined) return exchange.send(401, 'log in first')
    exchange.setHeader('Set-Cookie', 'seen=1')
    return exchange.upgrade(handler, { metadata: { user }, headers: { 'X-Room': 'lobby' } })
  },
  '/echo': (exchange) => exchange.upgrade(handler),
}

const secret = 'a secret of at least thirty-two characters'
const named = (holder: object): { user?: string } => holder // each middleware's session is an object

const makeFastify: Kind['make'] = (options = {}) => {
  const app = fastify()
  app.register(fastifyCookie)
  app.register(fastifySession, { secret, saveUninitialized: false, cookie: { secure: false } })
  app.register(hubPlugin, options)
  // In its own scope: nothing of it exists before `ready`.
  app.register(async (scope) => {
    for (const [path, route] of Object.entries(routes)) {
      scope.get(path, (request, reply) =>
        route({
          req: request.raw,
          get user() {
            return named(request.session).user
          },
          set user(user) {
            Object.assign(request.session, { user })
          },
          setHeader: (name, value) => reply.header(name, value),
          send: (status, body) => reply.code(status).send(body),
          upgrade: (handler, init) => reply.upgradeWebSocket(handler, init),
        }),
      )
    }
  })
  return {
    app,
    // Loaded later: the plugin is loaded when a client connects.
    get hub() {
      return app.hub
    },
    close: () => app.close(),
  }
}

const makeExpress =
  (create: typeof express): Kind['make'] =>
  (options = {}) => {
    const app = create()
    const sockets = expressHub(options)
    app.use(session({ secret, resave: false, saveUninitialized: false }))
    app.use(sockets)
    for (const [path, route] of Object.entries(routes)) {
      app.get(path, (req, res) => {
        route({
          req,
          get user() {
            return named(req.session).user
          },
          set user(user) {
            Object.assign(req.session, { user })
          },
          setHeader: (name, value) => res.set(name, value),
          send: (status, body) => res.status(status).send(body),
          upgrade: (handler, init) => res.upgradeWebSocket(handler, init),
        })
      })
    }
    return { app, hub: sockets.hub, close: () => sockets.hub.close() }
  }

const makeKoa =
  (Framework: typeof Koa): Kind['make'] =>
  (options = {}) => {
    const app = new Framework()
    app.keys = [secret]
    app.silent = true
    const sockets = koaHub(options)
    app.use(koaSession({ signed: true }, app))
    app.use(sockets)
    app.use(async (ctx: Context) => {
      await routes[ctx.path]?.({
        req: ctx.req,
        get user() {
          return ctx.session?.user
        },
        set user(user) {
          Object.assign(ctx.session ?? {}, { user })
        },
        setHeader: (name, value) => ctx.set(name, value),
        send: (status, body) => Object.assign(ctx, { status, body }),
        upgrade: (handler, init) => ctx.upgradeWebSocket(handler, init),
      })
    })
    return { app, hub: sockets.hub, close: () => sockets.hub.close() }
  }

/** Does the same in an application without a framework; its session is the name in the cookie. */
function listenerOf(hub: Hub): RequestListener {
  return (req: IncomingMessage, res: ServerResponse) => {
    const send = (status: number, body: string) => res.writeHead(status).end(body)
    const exchange: Exchange = {
      req,
      get user() {
        return /user=(\w+)/.exec(req.headers.cookie ?? '')?.[1]
      },
      set user(user) {
        res.setHeader('Set-Cookie', `user=${user}`)
      },
      setHeader: (name, value) => res.setHeader(name, value),
      send,
      upgrade: (handler, init) => hub.upgrade(req, handler, init),
    }
    try {
      const route = routes[req.url ?? '']
      if (route === undefined) send(404, 'Not Found')
      else route(exchange)
    } catch (error) {
      if (!(error instanceof HubError)) throw error
      res.writeHead(error.status, error.headers).end(error.message)
    }
  }
}

const makeServer: Kind['make'] = (options) => {
  const hub = new Hub(options)
  const server = createServer(listenerOf(hub))
  hub.attach(server)
  return { app: server, hub, close: () => hub.close() }
}

const makeListener: Kind['make'] = (options) => {
  const hub = new Hub(options)
  hub.attach()
  return { app: listenerOf(hub), hub, close: () => hub.close() }
}

export const kinds: readonly Kind[] = [
  { name: 'Fastify 5', make: makeFastify },
  { name: 'Express 5', make: makeExpress(express) },
  { name: 'Express 4', make: makeExpress(express4) },
  { name: 'Koa 3', make: makeKoa(Koa) },
  { name: 'Koa 2', make: makeKoa(Koa2) },
  { name: 'a server of node:http', make: makeServer },
  { name: 'a request listener', make: makeListener },
]
