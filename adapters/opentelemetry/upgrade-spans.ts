import type { IncomingMessage } from 'node:http'
import {
  type Context,
  context,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import type { Hub } from 'wshub'
import { checkHub, checkMethods, checkOptions } from '../arguments.ts'
import { HubEvents } from '../observing/hub-events.ts'
import { linkOf } from './upgrade-links.ts'

/** Options of {@link traceUpgrades}. An explicit `undefined` means the default. */
export interface TraceUpgradesOptions {
  /** The tracer that makes the spans. Default that of the global provider named `wshub`. */
  tracer?: Tracer | undefined
}

/**
 * Makes a span of each upgrade that a hub accepts or refuses, from its arrival to the 101 or the refusal. An
 * upgrade that the application answers itself has none. Ends when the hub is closed.
 * @returns a function that ends it
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION for an unknown option
 */
export function traceUpgrades(hub: Hub<object>, options: TraceUpgradesOptions = {}): () => void {
  checkHub(hub, 'traceUpgrades')
  checkOptions(options, ['tracer'], 'traceUpgrades')
  const { tracer = trace.getTracer('wshub') } = options
  checkMethods(tracer, ['startSpan'], 'the tracer')
  if (hub.state === 'closed') return () => {}
  const begins = new WeakMap<IncomingMessage, Date>()
  const start = (request: IncomingMessage): Span => spanOf(tracer, request, begins.get(request) ?? new Date())
  const events = new HubEvents(hub, 'traceUpgrades')
  events.on('wshub:upgrade:began', ({ request }) => begins.set(request, new Date()))
  events.on('wshub:upgrade:accepted', ({ request, connection }) => {
    const span = start(request)
    // Over HTTP/2, a 200 opens the stream that carries the WebSocket.
    const status = request.httpVersionMajor === 2 ? 200 : 101
    span.setAttributes({ 'http.response.status_code': status, 'wshub.connection.id': connection.id })
    linkOf(request).upgrade = span.spanContext()
    span.end()
  })
  events.on('wshub:upgrade:refused', ({ request, error }) => {
    const span = start(request)
    span.setAttributes({ 'http.response.status_code': error.status, 'error.type': error.code })
    // By the conventions for servers, a 4xx is an error of the client.
    if (error.status >= 500) span.setStatus({ code: SpanStatusCode.ERROR, message: error.message })
    span.end()
  })
  return () => events.stop()
}

/**
 * Begins a span: below the one of the route, if the HTTP server is traced; otherwise it is the span of the
 * server, below the one that the headers name.
 */
function spanOf(tracer: Tracer, request: IncomingMessage, startTime: Date): Span {
  const isBelow = trace.getSpan(context.active()) !== undefined
  const parent: Context = isBelow ? context.active() : propagation.extract(context.active(), request.headers)
  const attributes = {
    'http.request.method': request.method ?? 'GET',
    'url.path': (request.url ?? '').replace(/[?#].*$/s, ''),
    'network.protocol.name': 'http',
    'network.protocol.version': request.httpVersionMajor === 2 ? '2' : request.httpVersion,
  }
  const kind = isBelow ? SpanKind.INTERNAL : SpanKind.SERVER
  return tracer.startSpan('websocket upgrade', { kind, startTime, attributes }, parent)
}
