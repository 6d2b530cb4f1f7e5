import type { BackplaneState, CloseReason, HubError } from 'wshub'
import type { Level } from './log-options.ts'

/** Refusals because the server cannot take more, or is too slow: somebody has to do something. */
const OUT_OF_CAPACITY: ReadonlySet<string> = new Set([
  'WSHUB_ERR_HUB_FULL',
  'WSHUB_ERR_TOO_MANY_PENDING',
  'WSHUB_ERR_UPGRADE_TIMEOUT',
])

const CLOSES: Readonly<Record<CloseReason, Level>> = {
  normal: 'debug',
  terminated: 'debug',
  expired: 'debug',
  shutdown: 'debug',
  lost: 'debug', // phones and laptops come and go
  timeout: 'info',
  tooBig: 'info',
  protocol: 'info',
  rate: 'warn',
  slow: 'warn',
  openTimeout: 'error',
  handlerError: 'error',
}

export function levelOfRefusal({ code }: HubError): Level {
  return OUT_OF_CAPACITY.has(code) ? 'warn' : 'info'
}

export function levelOfClose(reason: CloseReason): Level {
  return CLOSES[reason]
}

/** Returns also the name of its class: there are as many as codes, and one for all errors without a code. */
export function levelOfError(error: Error): { level: Level; name: string } {
  if (!isHubError(error)) return { level: 'error', name: 'of the application' }
  // A client can cause the errors that end its connection and that it may be told, as often as it likes.
  const isOfClient = error.expose && error.closeCode !== undefined
  return { level: isOfClient ? 'info' : 'error', name: error.code }
}

/** Not `instanceof`: two copies of the package may be loaded. */
function isHubError(error: Error): error is HubError {
  return error.name === 'HubError' && 'code' in error
}

export function levelOfState(state: BackplaneState): Level {
  return state === 'reconnecting' ? 'warn' : 'info'
}
