import { HubError, show } from '../base/errors.ts'
import { isSendableCloseCode, MAX_CLOSE_REASON_BYTES } from './close-code.ts'
import { asBuffer, type Payload, payloadBytes } from './message.ts'

/** The most bytes a control frame (close, ping, pong) may carry. */
export const MAX_CONTROL_PAYLOAD_BYTES = 125

/** @throws {HubError} WSHUB_ERR_INVALID_CLOSE when no close frame may carry this code and reason */
export function checkClose(code: number | undefined, reason: string): void {
  if (code === undefined) {
    if (reason !== '') throw new HubError('WSHUB_ERR_INVALID_CLOSE', 'a close reason needs a close code')
  } else if (!isSendableCloseCode(code)) {
    throw new HubError(
      'WSHUB_ERR_INVALID_CLOSE',
      `a close code is 1000–1003, 1007–1014 or 3000–4999, not ${show(code)}`,
    )
  }
  if (typeof reason !== 'string' || Buffer.byteLength(reason) > MAX_CLOSE_REASON_BYTES) {
    throw new HubError(
      'WSHUB_ERR_INVALID_CLOSE',
      `a close reason is a string of at most ${MAX_CLOSE_REASON_BYTES} bytes of UTF-8, not ${show(reason)}`,
    )
  }
}

/**
 * Returns the payload of a ping or pong.
 * @throws {HubError} WSHUB_ERR_INVALID_PAYLOAD or WSHUB_ERR_CONTROL_TOO_LONG
 */
export function controlPayload(data: Payload): Buffer {
  const bytes = typeof data === 'string' ? Buffer.from(data) : asBuffer(payloadBytes(data))
  if (bytes.length > MAX_CONTROL_PAYLOAD_BYTES) {
    throw new HubError(
      'WSHUB_ERR_CONTROL_TOO_LONG',
      `a ping or pong carries at most ${MAX_CONTROL_PAYLOAD_BYTES} bytes, not ${bytes.length}`,
    )
  }
  return bytes
}
