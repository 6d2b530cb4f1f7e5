import { HubError, show } from './errors.ts'

/** A message as it came from a client: text that is valid UTF-8, or bytes. */
export type Message =
  | { readonly type: 'text'; readonly data: string }
  | { readonly type: 'binary'; readonly data: Buffer }

/** Bytes that are sent as one binary message. */
export type BinaryPayload = Buffer | Uint8Array | ArrayBuffer

/** What can be sent: a string travels as a text message, bytes as a binary message. Never an object. */
export type Payload = string | BinaryPayload

/**
 * The bytes of a binary payload, without a copy.
 * @throws {HubError} WSHUB_ERR_INVALID_PAYLOAD when it is not bytes
 */
export function payloadBytes(data: BinaryPayload): Uint8Array {
  if (data instanceof Uint8Array) return data
  if (data instanceof ArrayBuffer) return new Uint8Array(data)
  throw invalidPayload(data)
}

/** The error for a payload that is neither text nor bytes. */
export function invalidPayload(data: unknown): HubError {
  return new HubError(
    'WSHUB_ERR_INVALID_PAYLOAD',
    `a payload is a string, a Buffer, a Uint8Array or an ArrayBuffer, not ${show(data)}; serialize objects yourself`,
  )
}

/** @throws {HubError} WSHUB_ERR_INVALID_PAYLOAD when it cannot be sent */
export function checkPayload(data: unknown): asserts data is Payload {
  if (typeof data !== 'string' && !(data instanceof Uint8Array) && !(data instanceof ArrayBuffer)) {
    throw invalidPayload(data)
  }
}
