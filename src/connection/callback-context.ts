import { AsyncResource } from 'node:async_hooks'
import type { IncomingMessage } from 'node:http'
import { invalid } from '../base/option-rules.ts'
import { syncResult } from '../base/sync-result.ts'
import { CALLBACKS, type CallbackName, type EventHandler } from './event-handler.ts'

/** Calls a callback of a connection. It must call it once, synchronously, and return what it returns. */
export type CallbackRunner = (name: CallbackName, call: () => unknown) => unknown

/**
 * Returns the runner for the callbacks of a connection. It is called inside the route, before the 101.
 * `request` is `undefined` for `hub.register`.
 */
export type CallbackContext = (request: IncomingMessage | undefined) => CallbackRunner

/** Keeps the async context of the route, such as the stores of every `AsyncLocalStorage`. */
const ofRoute: CallbackContext = () => {
  const resource = new AsyncResource('WSHUB')
  return (_name, call) => resource.runInAsyncScope(call)
}

/** @throws {HubError} WSHUB_ERR_INVALID_OPTION */
export function checkCallbackContext(option: unknown): asserts option is boolean | CallbackContext {
  if (typeof option === 'boolean' || typeof option === 'function') return
  throw invalid('callbackContext', 'is true, false or a function', option)
}

/** Returns a handler whose callbacks run in a context. Nothing is added for a connection without one. */
export function inContext<Meta extends object>(
  handler: EventHandler<Meta>,
  context: boolean | CallbackContext,
  request: IncomingMessage | undefined,
): EventHandler<Meta> {
  if (context === false) return handler
  const run: unknown = syncResult(
    'the option callbackContext',
    (context === true ? ofRoute : context)(request),
  )
  if (typeof run !== 'function') throw invalid('callbackContext', 'returns a function', run)
  const contextual: ContextualHandler = Object.create(PROTOTYPE, {
    handler: { value: handler },
    run: { value: run },
  })
  return contextual as EventHandler<Meta> // its getters have all callbacks of the handler
}

/** Returns the runner for the callbacks of a handler. */
export function runnerOf(handler: object): CallbackRunner {
  if (Object.getPrototypeOf(handler) !== PROTOTYPE) return (_name, call) => call()
  return (handler as ContextualHandler).run // made by inContext
}

interface ContextualHandler {
  readonly handler: Readonly<Partial<Record<CallbackName, (...args: readonly unknown[]) => unknown>>>
  readonly run: CallbackRunner
}

/** A getter for each callback, since a handler may get one later, as an instance of a class. */
const PROTOTYPE: object = Object.create(
  null,
  Object.fromEntries(
    CALLBACKS.map((name) => [
      name,
      {
        get(this: ContextualHandler) {
          const callback = this.handler[name]
          if (callback === undefined) return undefined
          return (...args: readonly unknown[]) =>
            this.run(name, () => Reflect.apply(callback, this.handler, args))
        },
      },
    ]),
  ),
)
