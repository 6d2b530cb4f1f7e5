import { HubError, show } from '../base/errors.ts'
import { checkKeys } from '../base/option-rules.ts'

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

/** Returns bytes as a Buffer over the same memory. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
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

/** How one message is sent. An explicit `undefined` means the default. */
export interface SendOptions {
  /**
   * What the message is about. Under the slow-consumer policy `conflate`, a client that lags gets only the latest message of
   * each key. A string that is not empty; without one, the message is never replaced. Default none.
   */
  key?: string | undefined
  /** Drops the message for a client whose socket is congested instead of queueing it. Default false. */
  volatile?: boolean | undefined
}

/** The options of a message to one connection. */
const SEND_OPTIONS: Required<SendOptions> = { key: undefined, volatile: undefined }

/**
 * @param known an object that has the options of the call as keys
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION for an unknown option, or a value of another type
 */
export function checkSendOptions(options: SendOptions | undefined, known: object = SEND_OPTIONS): void {
  if (options === undefined) return
  checkKeys(options, known, 'an option of a message')
  const { key, volatile } = options
  if (key !== undefined && (typeof key !== 'string' || key === '')) {
    throw new HubError('WSHUB_ERR_INVALID_OPTION', `key is a string that is not empty, not ${show(key)}`)
  }
  if (volatile !== undefined && typeof volatile !== 'boolean') {
    throw new HubError('WSHUB_ERR_INVALID_OPTION', `volatile is true or false, not ${show(volatile)}`)
  }
}
