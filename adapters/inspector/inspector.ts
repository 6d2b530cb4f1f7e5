import type { IncomingMessage } from 'node:http'
import { type Hub, HubError } from 'wshub'
import { checkHub } from '../arguments.ts'
import { asRefusal } from '../refusal.ts'
import { answer, type Exchange, exchangeOf, type Inspector, isOwnOrigin } from './exchange.ts'
import { CALL, Feed } from './feed.ts'
import { checkInspectorOptions, type InspectorOptions, readPermissions } from './inspector-options.ts'
import { NodeReport } from './node-report.ts'
import { OptionErrors } from './option-errors.ts'
import { PAGE, PAGE_HEADERS } from './page.ts'

export type { InspectorAction } from './audit.ts'
export type { Inspector } from './exchange.ts'
export type { InspectorOptions, Permissions } from './inspector-options.ts'

const FULL = 'This process has as many pages open as it may. Close another one.'
const PERMITTED =
  'The page is permitted, but not its WebSocket. Does a proxy change Host, or is the hub full?'

/** Seconds that a page without a place is asked to wait. */
const RETRY_AFTER = { 'retry-after': '5' }

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
  const errors = new OptionErrors(hub)
  const report = new NodeReport(hub, metadata, errors)
  const feed = new Feed(hub, report)
  handleCalls(hub, report)

  const serve = async (exchange: Exchange, given: unknown): Promise<void> => {
    const { req, res } = exchange
    if (authorize === undefined) return answer(exchange, 403, 'The inspector has no option authorize.')
    const permitted = readPermissions(await asked(authorize, req, given))
    if (!permitted.view) return answer(exchange, 403, 'Not permitted. Log in again, and reload the page.')
    if (hub.state !== 'open') return answer(exchange, 503, 'The hub is closed.', RETRY_AFTER)
    const isUpgrade = req.headers.upgrade !== undefined
    if (!isUpgrade && req.method !== 'GET' && req.method !== 'HEAD') {
      return answer(exchange, 405, 'GET only.', { allow: 'GET, HEAD' })
    }
    // No page can read why its WebSocket was refused, so it asks again for a text.
    const isQuestion = !isUpgrade && req.headers.accept === 'text/plain'
    if (feed.isFull && (isUpgrade || isQuestion)) return answer(exchange, 503, FULL, RETRY_AFTER)
    if (isQuestion) return answer(exchange, 200, PERMITTED)
    if (isUpgrade) {
      // The hub may admit other origins, whose pages must not act for an operator.
      if (!isOwnOrigin(exchange)) return answer(exchange, 403, 'The page of another origin.')
      void hub.upgrade(req, feed.handler(req, permitted), {}, exchange)
      exchange.take()
      return
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
    } catch (thrown) {
      const error = asThrown('the route of the inspector', thrown)
      if (exchange.next !== undefined) return exchange.next(error)
      if (!exchange.isBare) throw error
      const refusal = asRefusal(error)
      if (refusal === undefined) errors.report(error, 'the route of the inspector')
      const { status = 500, message = 'Internal error.', headers } = refusal ?? {}
      answer(exchange, status, message, { ...headers })
    }
  }
}

async function asked(
  authorize: NonNullable<InspectorOptions['authorize']>,
  request: IncomingMessage,
  given: unknown,
): Promise<unknown> {
  try {
    return await authorize(request, given)
  } catch (thrown) {
    throw asThrown('authorize', thrown)
  }
}

function handleCalls(hub: Hub<object>, report: NodeReport): void {
  try {
    hub.cluster.handle(CALL, (payload) => report.answer(payload.toString()))
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'WSHUB_ERR_INVALID_HANDLER'))
      throw error
    const text = 'the hub has an inspector already: mount the route of that one again'
    throw new HubError('WSHUB_ERR_INVALID_HANDLER', text, { cause: error })
  }
}

/** Returns what was thrown as an `Error`: `null` and `'route'` would send Express to the next route. */
function asThrown(where: string, thrown: unknown): unknown {
  if (typeof thrown === 'object' && thrown !== null) return thrown
  const text = `${where} threw ${typeof thrown === 'function' ? 'a function' : String(thrown)}`
  return new HubError('WSHUB_ERR_HANDLER_THREW', text, { cause: thrown })
}
