import type { Hub } from 'wshub'
import { checkHub } from '../observing/arguments.ts'
import { asRefusal } from '../refusal.ts'
import { type Exchange, exchangeOf, type Inspector, isOwnOrigin, refuse } from './exchange.ts'
import { CALL, Feed } from './feed.ts'
import { checkInspectorOptions, type InspectorOptions, readPermissions } from './inspector-options.ts'
import { NodeReport } from './node-report.ts'
import { PAGE, PAGE_HEADERS } from './page.ts'

export type { InspectorAction } from './audit.ts'
export type { Inspector } from './exchange.ts'
export type { InspectorOptions, Permissions } from './inspector-options.ts'

/**
 * Returns a route that shows a hub, and the other nodes of its cluster that have an inspector: a page, and
 * the WebSocket of the page at the same path. A hub has one inspector, which may be mounted several times.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION; WSHUB_ERR_INVALID_HANDLER when the hub has one already;
 *   WSHUB_ERR_HUB_CLOSED
 */
export function inspector(hub: Hub<object>, options: InspectorOptions = {}): Inspector {
  checkHub(hub, 'inspector')
  checkInspectorOptions(options)
  const { authorize, metadata } = options
  const report = new NodeReport(hub, metadata)
  const feed = new Feed(hub, report)
  hub.cluster.handle(CALL, (payload) => report.answer(payload.toString()))

  const serve = async (exchange: Exchange, given: unknown): Promise<void> => {
    const { req, res } = exchange
    if (authorize === undefined) return refuse(exchange, 403, 'The inspector has no option authorize.')
    const permitted = readPermissions(await authorize(req, given))
    if (!permitted.view) return refuse(exchange, 403, 'Not permitted.')
    if (req.headers.upgrade !== undefined) {
      // The hub may admit other origins, whose pages must not act for an operator.
      if (!isOwnOrigin(req)) return refuse(exchange, 403, 'The page of another origin.')
      if (feed.isFull) return refuse(exchange, 503, 'Too many pages are open.')
      void hub.upgrade(req, feed.handler(req, permitted), {}, exchange)
      feed.opened()
      exchange.take()
      return
    }
    if (req.method !== 'GET' && req.method !== 'HEAD') {
      return refuse(exchange, 405, 'GET only.', { allow: 'GET, HEAD' })
    }
    exchange.take()
    if (res.headersSent) return // the framework has given up waiting for authorize
    res.writeHead(200, PAGE_HEADERS)
    res.end(req.method === 'HEAD' ? undefined : PAGE)
  }

  return async (first: unknown, second: unknown, third?: unknown): Promise<void> => {
    const exchange = exchangeOf(first, second, third)
    try {
      await serve(exchange, first)
    } catch (error) {
      if (exchange.next !== undefined) return exchange.next(error)
      if (!exchange.isBare) throw error
      const { status = 500, message = 'Internal error.', headers } = asRefusal(error) ?? {}
      refuse(exchange, status, message, { ...headers })
    }
  }
}
