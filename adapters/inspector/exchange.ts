import type { IncomingMessage, ServerResponse } from 'node:http'

interface FastifyRequestLike {
  readonly raw: IncomingMessage
  readonly ip?: string
  readonly protocol?: string
}
interface FastifyReplyLike {
  readonly raw: ServerResponse
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
      req: fastify.raw,
      res: reply.raw,
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
export function refuse({ res, take }: Exchange, status: number, text: string, headers = {}): void {
  take()
  if (res.headersSent) return // the framework has given up waiting for authorize
  res.writeHead(status, {
    ...headers,
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
  })
  res.end(`${text}\n`)
}

/** Returns whether a request comes from a page of the site itself, or from something else than a browser. */
export function isOwnOrigin({ headers }: IncomingMessage): boolean {
  const { origin, host } = headers
  if (origin === undefined) return true
  try {
    return new URL(origin).host === host
  } catch {
    return false
  }
}
