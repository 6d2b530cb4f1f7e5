import type { IncomingMessage } from 'node:http'
import type { HttpServer } from '@nestjs/common'
import type { UpgradeInit } from 'wshub'
import { show } from '../arguments.ts'
import type { GatewayRequest } from './gateway-upgrade.ts'

type Headers = NonNullable<UpgradeInit['headers']>

/** A request of either platform. */
export interface Exchange {
  /** The framework's object, which guards see. */
  readonly request: GatewayRequest
  readonly response: unknown
  readonly raw: IncomingMessage
  /** Returns the headers that are set on the response, where Node's response does not have them. */
  readonly getHeaders?: () => Headers
}

/** The part of a Fastify application that is used here. */
interface FastifyHooks {
  addHook(
    name: 'preHandler',
    hook: (
      request: GatewayRequest & { readonly raw: IncomingMessage },
      reply: { getHeaders(): Headers; hijack(): unknown },
    ) => Promise<unknown>,
  ): unknown
}

/**
 * Makes the platform of an application ask about each request, before its routes.
 * @param open returns `undefined` for a request that is not for a gateway. What its promise rejects with
 *   goes to the exception filters of the application
 */
export function mount(platform: HttpServer, open: (exchange: Exchange) => Promise<void> | undefined): void {
  if (platform.getType() === 'fastify') {
    const fastify: FastifyHooks = platform.getInstance()
    fastify.addHook('preHandler', async (request, reply) => {
      const opened = open({
        request,
        response: reply,
        raw: request.raw,
        getHeaders: () => reply.getHeaders(),
      })
      if (opened === undefined) return undefined
      await opened
      reply.hijack()
      return reply
    })
    return
  }
  platform.use(
    (request: GatewayRequest & IncomingMessage, response: unknown, next: (error?: unknown) => void) => {
      const opened = open({ request, response, raw: request })
      if (opened === undefined) next()
      else opened.catch((error: unknown) => next(asError(error)))
    },
  )
}

/** Express goes on to the next route when it is given nothing, or one of its words. */
function asError(error: unknown): object {
  if (typeof error === 'object' && error !== null) return error
  return new Error(`the upgrade of a gateway has thrown ${show(error)}`, { cause: error })
}
