/** Nest applications on both platforms. */
import type { INestApplication, Provider, Type } from '@nestjs/common'
import { Module } from '@nestjs/common'
import { type AbstractHttpAdapter, NestFactory } from '@nestjs/core'
import { ExpressAdapter } from '@nestjs/platform-express'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import type { Hub } from 'wshub'
import { HubAdapter, type HubAdapterOptions } from 'wshub/nest'
import { withSessions } from '../../support/http2-tunnel.ts'
import { inTime, RawClient, type Target } from '../../support/raw.ts'
import { portOf } from '../frameworks.ts'

export const PLATFORMS = ['Express', 'Fastify'] as const

export interface NestOptions {
  readonly platform: (typeof PLATFORMS)[number]
  readonly providers: readonly Provider[]
  readonly controllers?: readonly Type[]
  readonly adapter?: HubAdapterOptions
  /** The part of `main.ts` before `listen`. */
  readonly configure?: (app: INestApplication) => unknown
  /** The module class; it may have `configure`. */
  readonly module?: Type
  readonly port?: number
  readonly trustsProxy?: boolean
  /** Serves HTTP/2 without TLS; only Fastify can. */
  readonly http2?: boolean
}

export interface NestApp extends Target {
  readonly app: INestApplication
  readonly hub: Hub
  /** Opens a connection that sends and receives events. */
  client(path?: string): Promise<EventClient>
}

const apps = new Set<INestApplication>()

/** Closes applications that tests have not closed, for `afterEach`. */
export async function closeNest(): Promise<void> {
  for (const app of apps) {
    apps.delete(app)
    app.getHttpServer().closeAllConnections?.()
    await inTime('the application to close', app.close())
  }
}

/** Makes an application that is not initialized yet. */
export async function makeNest(options: NestOptions): Promise<{ app: INestApplication; hub: Hub }> {
  const { providers, controllers = [], module: root = class Root {} } = options
  Module({ providers: [...providers], controllers: [...controllers] })(root)
  const app = await NestFactory.create(root, platformAdapter(options), { logger: false, abortOnError: false })
  apps.add(app)
  const adapter = new HubAdapter(app, options.adapter)
  app.useWebSocketAdapter(adapter)
  await options.configure?.(app)
  return { app, hub: adapter.hub }
}

function platformAdapter({ platform, http2, trustsProxy = false }: NestOptions): AbstractHttpAdapter {
  if (platform === 'Express') {
    const adapter = new ExpressAdapter()
    adapter.set('trust proxy', trustsProxy)
    return adapter
  }
  if (http2 !== true) return new FastifyAdapter({ trustProxy: trustsProxy })
  const adapter = new FastifyAdapter({ http2: true })
  withSessions(adapter.getHttpServer())
  return adapter
}

export async function startNest(options: NestOptions): Promise<NestApp> {
  const { app, hub } = await makeNest(options)
  await app.listen(options.port ?? 0, '127.0.0.1')
  const port = portOf(app.getHttpServer())
  const target = { port, http2: options.http2 ?? false }
  return { app, hub, ...target, client: (path = '/') => EventClient.open(target, path) }
}

/** A client that sends and receives events as JSON. */
export class EventClient {
  readonly raw: RawClient

  private constructor(raw: RawClient) {
    this.raw = raw
  }

  static async open(target: Target, path: string): Promise<EventClient> {
    return new EventClient(await RawClient.open(target, path))
  }

  send(event: unknown, data?: unknown, id?: unknown): void {
    this.raw.send(JSON.stringify({ event, data, id }))
  }

  /** The next message. */
  async next(): Promise<unknown> {
    return JSON.parse(await this.raw.message())
  }

  /** Sends an event and returns the next message. */
  ask(event: string, data?: unknown, id?: unknown): Promise<unknown> {
    this.send(event, data, id)
    return this.next()
  }
}
