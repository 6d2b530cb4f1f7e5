import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Hub, HubError } from 'wshub'
import { CALL, Feed } from './feed.ts'
import { checkOptions, type InspectorOptions, readPermissions } from './inspector-options.ts'
import { NodeReport } from './node-report.ts'
import { PAGE, PAGE_HEADERS } from './page.ts'

export type { InspectorAction } from './feed.ts'
export type { InspectorOptions, Permissions } from './inspector-options.ts'

interface FastifyRequestLike {
  readonly raw: IncomingMessage
  readonly ip?: string
  readonly protocol?: string
}
interface KoaContextLike {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly ip?: string
  readonly secure?: boolean
  respond?: boolean | undefined
}
type ExpressRequestLike = IncomingMessage & { readonly ip?: string; readonly secure?: boolean }

/** The route of an inspector, for `node:http`, Express, Koa and Fastify. */
export interface Inspector {
  (request: IncomingMessage, response: ServerResponse, next?: (error?: unknown) => void): Promise<void>
  (request: FastifyRequestLike, reply: { readonly raw: ServerResponse; hijack(): unknown }): Promise<void>
  (context: KoaContextLike, next: () => Promise<unknown>): Promise<void>
}

/** One request, whatever framework it came through. */
interface Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly remoteAddress: string | undefined
  readonly isSecure: boolean | undefined
  /** Takes the response from the framework. */
  take(): void
  /** Where an error goes; without it, it is thrown to the framework. */
  readonly next?: ((error: unknown) => void) | undefined
  readonly isBare: boolean
}

/**
 * Returns a route that shows a hub, and the other nodes of its cluster that have an inspector: a page, and
 * the WebSocket of the page at the same path. A hub has one inspector, which may be mounted several times.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION; WSHUB_ERR_INVALID_HANDLER when the hub has one already;
 *   WSHUB_ERR_HUB_CLOSED
 */
export function inspector(hub: Hub<object>, options: InspectorOptions = {}): Inspector {
  checkOptions(options)
  const { authorize, metadata } = options
  const report = new NodeReport(hub, metadata)
  const feed = new Feed(hub, report)
  hub.cluster.handle(CALL, (payload) => {
    const searches: unknown = JSON.parse(payload.toString())
    const texts = Array.isArray(searches) ? searches.filter((search) => typeof search === 'string') : []
    return JSON.stringify(report.read(texts))
  })

  const serve = async (exchange: Exchange, given: unknown): Promise<void> => {
    const { req, res, remoteAddress, isSecure } = exchange
    if (authorize === undefined) return refuse(exchange, 403, 'The inspector has no option authorize.')
    const permissions = readPermissions(await authorize(req, given))
    if (!permissions.view) return refuse(exchange, 403, 'Not permitted.')
    if (req.headers.upgrade !== undefined) {
      // The hub may admit other origins, whose pages must not act for an operator.
      if (!isOwnOrigin(req)) return refuse(exchange, 403, 'The page of another origin.')
      if (feed.isFull) return refuse(exchange, 503, 'Too many pages are open.')
      void hub.upgrade(req, feed.handler(req, permissions), {}, { remoteAddress, isSecure })
      exchange.take()
      return
    }
    if (req.method !== 'GET' && req.method !== 'HEAD') return refuse(exchange, 405, 'GET only.')
    exchange.take()
    res.writeHead(200, PAGE_HEADERS)
    res.end(req.method === 'HEAD' ? undefined : PAGE)
  }

  return async (first: unknown, second: unknown, third?: unknown): Promise<void> => {
    const exchange = exchangeOf(first, second, third)
    try {
      await serve(exchange, first)
    } catch (error) {
      if (exchange.next !== undefined) exchange.next(error)
      else if (!exchange.isBare) throw error
      else if (error instanceof HubError) refuse(exchange, error.status, error.message, { ...error.headers })
      else refuse(exchange, 500, 'Internal error.')
    }
  }
}

/** Reads the arguments of a route, which tell the framework. */
function exchangeOf(first: unknown, second: unknown, third: unknown): Exchange {
  // Each framework passes its own objects; what they have tells which it is.
  const fastify = first as FastifyRequestLike
  if (fastify.raw !== undefined) {
    const reply = second as { readonly raw: ServerResponse; hijack(): unknown }
    return {
      req: fastify.raw,
      res: reply.raw,
      remoteAddress: fastify.ip,
      isSecure: fastify.protocol === 'https',
      take: () => void reply.hijack(),
      isBare: false,
    }
  }
  const koa = first as KoaContextLike
  if (koa.req !== undefined && koa.res !== undefined) {
    const take = () => {
      koa.respond = false
    }
    const { req, res, ip, secure } = koa
    return { req, res, remoteAddress: ip || undefined, isSecure: secure, take, isBare: false }
  }
  const req = first as ExpressRequestLike
  return {
    req,
    res: second as ServerResponse,
    remoteAddress: req.ip,
    isSecure: req.secure,
    take: () => {},
    next: typeof third === 'function' ? (error) => third(error) : undefined,
    isBare: third === undefined,
  }
}

function refuse({ res, take }: Exchange, status: number, text: string, headers = {}): void {
  take()
  res.writeHead(status, {
    ...headers,
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
  })
  res.end(`${text}\n`)
}

function isOwnOrigin({ headers }: IncomingMessage): boolean {
  const { origin, host } = headers
  if (origin === undefined) return true // not a browser
  try {
    return new URL(origin).host === host
  } catch {
    return false
  }
}
