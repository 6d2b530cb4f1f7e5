import { type HandlerOwner, runHandler } from '../base/run-handler.ts'
import type { CallbackName } from './event-handler.ts'

/** Counts the callbacks that run for a connection. */
export interface CallbackOwner extends HandlerOwner {
  /** A callback has returned a promise. */
  callbackBegan(): void
  /** The promise has settled, or is no longer waited for. */
  callbackSettled(): void
}

/**
 * Calls a callback of the application.
 * @param then is called once, when the promise that the callback returned has settled or is no longer waited
 *   for
 * @returns a function that stops waiting for the promise; `undefined` when there is none, and then `then` is
 *   not called
 */
export function runCallback(
  name: CallbackName,
  call: () => unknown,
  owner: CallbackOwner,
  then?: () => void,
): (() => void) | undefined {
  const pending = runHandler(name, call, owner)
  if (pending === undefined) return undefined
  owner.callbackBegan()
  let isSettled = false
  const settle = () => {
    if (isSettled) return
    isSettled = true
    then?.() // before the owner knows: `hub.close` also waits for the callbacks that this starts
    owner.callbackSettled()
  }
  void pending.then(settle)
  return settle
}
