import { HubError, show } from '../base/errors.ts'
import { checkKeys, invalid } from '../base/option-rules.ts'

/** A message from a client: text that was valid UTF-8, or bytes. */
export type Message =
  | { readonly type: 'text'; readonly data: string }
  | { readonly type: 'binary'; readonly data: Buffer }

/** The bytes of one binary message. */
export type BinaryPayload = Buffer | Uint8Array | ArrayBuffer

/**
 * The content of a message to send: a string becomes a text message, bytes a binary message. Objects are
 * refused.
 */
export type Payload = string | BinaryPayload

/**
 * Returns the bytes of a binary payload, without a copy.
 * @throws {HubError} WSHUB_ERR_INVALID_PAYLOAD unless it is bytes
 */
export function payloadBytes(data: BinaryPayload): Uint8Array {
  if (!isBytes(data)) throw invalidPayload(data)
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data
}

/** Returns bytes as a Buffer over the same memory. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Returns the error for a payload that is neither text nor bytes. */
export function invalidPayload(data: unknown): HubError {
  const isTransferred = (data instanceof Uint8Array || data instanceof ArrayBuffer) && !isBytes(data)
  const shown = isTransferred ? 'a detached one' : show(data)
  return new HubError(
    'WSHUB_ERR_INVALID_PAYLOAD',
    `a payload is a string, a Buffer, a Uint8Array or an ArrayBuffer, not ${shown}; serialize objects yourself`,
  )
}

/** Checks that a payload can be sent. @throws {HubError} WSHUB_ERR_INVALID_PAYLOAD */
export function checkPayload(data: unknown): asserts data is Payload {
  if (typeof data !== 'string' && !isBytes(data)) throw invalidPayload(data)
}

function isBytes(data: unknown): data is BinaryPayload {
  if (data instanceof Uint8Array) return data.length > 0 || !isDetached(data.buffer)
  return data instanceof ArrayBuffer && (data.byteLength > 0 || !isDetached(data))
}

/** Returns whether a buffer was transferred, to a worker for example: it looks empty then. */
function isDetached(buffer: ArrayBufferLike): boolean {
  try {
    new Uint8Array(buffer)
    return false
  } catch {
    return true
  }
}

/** Options of one message. An explicit `undefined` means the default. */
export interface SendOptions {
  /**
   * The subject of the message, a non-empty string. With the slow-consumer policy `conflate`, a slow client
   * receives only the latest message of each key. Without a key, the message is never replaced. Default none.
   */
  key?: string | undefined
  /** Drops the message for a client whose socket is congested instead of queueing it. Default false. */
  volatile?: boolean | undefined
  /**
   * Does not let the message wait for others, as the option `writeDelayMs` of the hub would: it is written at
   * the end of the turn, together with those that wait before it. Default false.
   */
  urgent?: boolean | undefined
}

/** The options of a message to one connection. */
const SEND_OPTIONS: Required<SendOptions> = { key: undefined, volatile: undefined, urgent: undefined }

/**
 * Checks the options of a message.
 * @param known an object that has the options of the call as keys
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION for an unknown option or a value of the wrong type
 */
export function checkSendOptions(options: SendOptions | undefined, known: object = SEND_OPTIONS): void {
  if (options === undefined) return
  checkKeys(options, known, 'an option of a message')
  const { key, volatile, urgent } = options
  if (key !== undefined && (typeof key !== 'string' || key === '')) {
    throw invalid('key', 'is a non-empty string', key)
  }
  if (volatile !== undefined && typeof volatile !== 'boolean') {
    throw invalid('volatile', 'is true or false', volatile)
  }
  if (urgent !== undefined && typeof urgent !== 'boolean') {
    throw invalid('urgent', 'is true or false', urgent)
  }
}
