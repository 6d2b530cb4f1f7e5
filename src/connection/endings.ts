import { HubError } from '../base/errors.ts'
import { propertyOf } from '../base/thrown.ts'
import type { DeliveryOptions } from '../delivery/delivery-options.ts'
import { CloseCode, isSendableCloseCode } from '../protocol/close-code.ts'
import type { CloseReason, Ending } from './close-cause.ts'

/** An {@link Ending} whose error is reported. */
export interface Failure extends Ending {
  readonly error: Error
}

/** `terminate` was called. */
export const TERMINATED: Ending = {
  by: 'application',
  reason: 'terminated',
  code: CloseCode.abnormal,
  text: '',
}

/** The hub closes and waits no longer. */
export const ABANDONED: Ending = { by: 'hub', reason: 'shutdown', code: CloseCode.abnormal, text: '' }

/** The credential has expired; the code is 4000 and the HTTP status. */
export const EXPIRED: Ending = { by: 'hub', reason: 'expired', code: 4401, text: 'credential expired' }

/** `close` was called. */
export function closedByApplication(code: number, text: string): Ending {
  return { by: 'application', reason: 'normal', code, text }
}

/** The hub closes, or the server that the connection came through. */
export function shutdown(code: number, text: string): Ending {
  return { by: 'hub', reason: 'shutdown', code, text }
}

/** Nothing came within that many ms after a ping. */
export function unansweredPing(pongTimeoutMs: number): Ending {
  const text = `no answer to a ping within ${pongTimeoutMs} ms`
  return { by: 'hub', reason: 'timeout', code: CloseCode.abnormal, text }
}

/** `onOpen` has not settled in time. */
export function openTimeout(openTimeoutMs: number): Failure {
  const message = `onOpen has not settled within ${openTimeoutMs} ms`
  return handlerFailure(new HubError('WSHUB_ERR_OPEN_TIMEOUT', message), 'openTimeout')
}

/**
 * A callback threw. The code is the `closeCode` of a {@link HubError}, otherwise 1011.
 * @param reason `handlerError` by default
 */
export function handlerFailure(error: Error, reason: CloseReason = 'handlerError'): Failure {
  // An application may have changed the property.
  const closeCode = error instanceof HubError ? propertyOf(error, 'closeCode') : undefined
  const isSendable = typeof closeCode === 'number' && isSendableCloseCode(closeCode)
  return { by: 'hub', reason, code: isSendable ? closeCode : CloseCode.internalError, text: '', error }
}

/**
 * The client reads too slowly.
 * @param of whether too much waits for this client, or for all clients together and this one has the most
 */
export function tooSlow(
  of: 'client' | 'hub',
  {
    maxBufferedBytes,
    maxTotalBufferedBytes,
  }: Pick<DeliveryOptions, 'maxBufferedBytes' | 'maxTotalBufferedBytes'>,
): Failure {
  const message =
    of === 'client'
      ? `more than ${maxBufferedBytes} bytes wait for a client that does not read`
      : `more than ${maxTotalBufferedBytes} bytes wait for all clients together, and this one has the most`
  const error = new HubError('WSHUB_ERR_SLOW_CONSUMER', message)
  return { by: 'hub', reason: 'slow', code: CloseCode.tryAgainLater, text: 'too slow', error }
}

/** The client sends too fast. @param message names the limit that was exceeded */
export function tooFast(message: string): Failure {
  const error = new HubError('WSHUB_ERR_RATE_LIMIT', message)
  return { by: 'hub', reason: 'rate', code: CloseCode.policyViolation, text: 'too many messages', error }
}

/** `ws` destroys the socket because too many pongs wait. */
export function tooManyPings(): Failure {
  const error = new HubError('WSHUB_ERR_RATE_LIMIT', 'the client sends more pings than can be answered')
  return { by: 'hub', reason: 'rate', code: CloseCode.abnormal, text: error.message, error }
}

/** The client sent a fragment of a text message that is not valid UTF-8. */
export function invalidText(): Failure {
  const error = new HubError('WSHUB_ERR_INVALID_DATA', 'the client sent text that is not UTF-8')
  return { by: 'hub', reason: 'protocol', code: CloseCode.invalidData, text: '', error }
}

/** The client violated the protocol. */
export function protocolFailure(error: HubError): Failure {
  const isTooBig = error.code === 'WSHUB_ERR_MESSAGE_TOO_BIG' || error.code === 'WSHUB_ERR_TOO_MANY_FRAGMENTS'
  const code = error.closeCode ?? CloseCode.protocolError
  return { by: 'hub', reason: isTooBig ? 'tooBig' : 'protocol', code, text: '', error }
}

/** A WebSocket that was opened elsewhere failed before it was open. */
export function neverOpened(error: HubError): Failure {
  return { by: 'network', reason: 'lost', code: CloseCode.abnormal, text: error.message, error }
}
