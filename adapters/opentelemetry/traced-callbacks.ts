import { AsyncResource } from 'node:async_hooks'
import { context, type Span, SpanKind, SpanStatusCode, type Tracer, trace } from '@opentelemetry/api'
import type { CallbackContext } from 'wshub'
import { checkMethods, checkOptions } from '../arguments.ts'
import { linkOf, type UpgradeLink } from './upgrade-links.ts'

/** Options of {@link tracedCallbacks}. An explicit `undefined` means the default. */
export interface TracedCallbacksOptions {
  /** The tracer that makes the spans. Default that of the global provider named `wshub`. */
  tracer?: Tracer | undefined
}

/**
 * Returns a value of the option `callbackContext` of a hub. With it, each `onMessage` has a span: a trace of
 * its own, because a connection may live for days, with a link to the span of its upgrade. The spans that it
 * makes are below it. All callbacks have the async context of the route.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION for an unknown option
 */
export function tracedCallbacks(options: TracedCallbacksOptions = {}): CallbackContext {
  checkOptions(options, ['tracer'], 'tracedCallbacks')
  const { tracer = trace.getTracer('wshub') } = options
  checkMethods(tracer, ['startSpan'], 'the tracer')
  return (request) => {
    const resource = new AsyncResource('WSHUB')
    const ofRoute = context.active()
    // The span of the route has ended long before most callbacks: nothing belongs below it.
    const plain = trace.deleteSpan(ofRoute)
    const link: UpgradeLink = request === undefined ? { upgrade: undefined } : linkOf(request)
    link.upgrade ??= trace.getSpanContext(ofRoute)
    return (name, call) =>
      resource.runInAsyncScope(() => {
        if (name !== 'onMessage') return context.with(plain, call)
        const links = link.upgrade === undefined ? [] : [{ context: link.upgrade }]
        const attributes = { 'messaging.system': 'wshub', 'messaging.operation.type': 'process' }
        const options = { kind: SpanKind.CONSUMER, attributes, links, root: true }
        const span = tracer.startSpan('process websocket message', options, plain)
        return context.with(trace.setSpan(plain, span), () => endWith(span, call))
      })
  }
}

/** Calls a callback, and ends its span when that has returned or its promise has settled. */
function endWith(span: Span, call: () => unknown): unknown {
  let result: unknown
  try {
    result = call()
  } catch (error) {
    fail(span, error)
    throw error
  }
  if (!isThenable(result)) {
    span.end()
    return result
  }
  return settled(span, result)
}

async function settled(span: Span, result: PromiseLike<unknown>): Promise<unknown> {
  try {
    const value = await result
    span.end()
    return value
  } catch (error) {
    fail(span, error)
    throw error
  }
}

function fail(span: Span, error: unknown): void {
  if (error instanceof Error) span.recordException(error)
  span.setStatus({ code: SpanStatusCode.ERROR })
  span.end()
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}
