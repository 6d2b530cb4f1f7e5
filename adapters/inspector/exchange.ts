import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerResponse } from 'node:http2'
import type { UpgradeRequest } from 'wshub'

interface FastifyRequestLike {
  readonly raw: UpgradeRequest
  readonly ip?: string
  readonly protocol?: string
}
interface FastifyReplyLike {
  readonly raw: ServerResponse | Http2ServerResponse
  hijack(): unknown
}
interface KoaContextLike {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly ip?: string
  readonly secure?: boolean
  respond?: boolean | undefined
}
type ExpressRequestLike = IncomingMessage & { readonly ip?: string; readonly secure?: boolean }

/** A route for `node:http`, Express, Koa and Fastify. */
export interface Inspector {
  (request: IncomingMessage, response: ServerResponse, next?: (error?: unknown) => void): Promise<void>
  (request: FastifyRequestLike, reply: FastifyReplyLike): Promise<void>
  (context: KoaContextLike, next: () => Promise<unknown>): Promise<void>
}

/** One request, whatever framework it came through. */
export interface Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly remoteAddress: string | undefined
  readonly isSecure: boolean | undefined
  /** Takes the response from the framework. */
  take(): void
  /** Where an error goes; without it, it is thrown to the framework. */
  readonly next?: ((error: unknown) => void) | undefined
  /** Whether there is no framework. */
  readonly isBare: boolean
}

/** Reads the arguments of a route, which tell the framework. */
export function exchangeOf(first: unknown, second: unknown, third: unknown): Exchange {
  // Each framework passes its own objects; what they have tells which it is. Addresses are getters, since
  // they may run the application's own trust function.
  const fastify = first as FastifyRequestLike
  if (fastify.raw !== undefined) {
    const reply = second as FastifyReplyLike
    return {
      // What the two have in common is enough here, also over HTTP/2.
      req: fastify.raw as IncomingMessage,
      res: reply.raw as ServerResponse,
      get remoteAddress() {
        return fastify.ip
      },
      get isSecure() {
        return fastify.protocol === 'https'
      },
      take: () => void reply.hijack(),
      isBare: false,
    }
  }
  const koa = first as KoaContextLike
  if (koa.req !== undefined && koa.res !== undefined) {
    return {
      req: koa.req,
      res: koa.res,
      get remoteAddress() {
        return koa.ip || undefined
      },
      get isSecure() {
        return koa.secure
      },
      take: () => {
        koa.respond = false
      },
      isBare: false,
    }
  }
  const req = first as ExpressRequestLike
  return {
    req,
    res: second as ServerResponse,
    get remoteAddress() {
      return req.ip
    },
    get isSecure() {
      return req.secure
    },
    take: () => {},
    next: typeof third === 'function' ? (error) => third(error) : undefined,
    isBare: third === undefined,
  }
}

/** Answers a request with a text. */
export function answer({ res, take }: Exchange, status: number, text: string, headers = {}): void {
  take()
  if (res.headersSent) return // the framework has given up waiting for authorize
  res.writeHead(status, {
    ...headers,
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
  })
  res.end(`${text}\n`)
}

/**
 * Returns whether a request comes from a page of the site itself, or from something else than a browser. Over
 * TLS, a page without TLS is foreign: anyone on the network may have altered it.
 */
export function isOwnOrigin({ req, isSecure }: Exchange): boolean {
  const { origin, host = '' } = req.headers
  if (origin === undefined) return true
  try {
    const { protocol, host: own } = new URL(origin)
    if (protocol !== 'https:' && (protocol !== 'http:' || (isSecure ?? isEncrypted(req)))) return false
    return own === new URL(`${protocol}//${host}`).host // both without the default port
  } catch {
    return false
  }
}

/** On Bun every socket has `encrypted`. */
function isEncrypted({ socket }: IncomingMessage): boolean {
  return 'encrypted' in socket && socket.encrypted === true
}
