import type { Connection } from './connection.ts'
import { HubError, show } from './errors.ts'
import { type OriginRule, originRule } from './handshake.ts'

/** What happens to a message for a client whose `maxBufferedBytes` are full. */
export type SlowConsumerPolicy = 'close' | 'dropNewest' | 'dropOldest' | 'conflate'

/** What is compressed, and how hard. Every key is optional; an explicit `undefined` means the default. */
export interface CompressionOptions {
  /** Messages of fewer bytes travel as they are, 0 or more; 0 = all are compressed. Default 512. */
  thresholdBytes?: number | undefined
  /** Messages of more bytes travel as they are, 1 or more: compressing takes the event loop some 20 ms a MiB. Default 1 048 576. */
  maxBytes?: number | undefined
  /** zlib's level, 1 (fastest) to 9 (smallest). Default 6. */
  level?: number | undefined
  /** zlib's memory level, 1 to 9: at most 2^(memLevel + 9) bytes while a message is compressed, beside its window. Default 8. */
  memLevel?: number | undefined
}

/** {@link CompressionOptions} with every default in place. */
export type CompressionSettings = { readonly [Key in keyof CompressionOptions]-?: number }

/** How to make a {@link Hub}. Every key is optional; an explicit `undefined` means the default. */
export interface HubOptions {
  /** Most connections at once, 1 or more; a further upgrade is answered 503. Default 10 000. */
  maxConnections?: number | undefined
  /** Most bytes of an incoming message, after inflation, 1 to 2 147 483 647; a longer one ends its connection with 1009. Default 65 536. */
  maxMessageSize?: number | undefined
  /** Silence, in ms, after which a client is pinged; 0 = never. Default 30 000. */
  pingIntervalMs?: number | undefined
  /** Time, in ms, a client has to send anything after a ping before it is given up with 1006; 1 or more. Default 10 000. */
  pongTimeoutMs?: number | undefined
  /** Negotiates permessage-deflate with clients that offer it: `true`, or settings. A message is compressed once. Default false. */
  enableCompression?: boolean | CompressionOptions | undefined
  /**
   * Origins of pages that may connect beside the page's own origin: `https://app.example.com`, `https://*.example.com`,
   * `null` (sandboxed and file pages), `*` (all). `[]` = the page's own origin only. Default `[]`.
   */
  allowedOrigins?: readonly string[] | undefined
  /** Subprotocols that the application speaks, the preferred first; `[]` = none is ever chosen. Default `[]`. */
  protocols?: readonly string[] | undefined
  /** Hears every error that no handler's `onError` took. Without it, the first of each kind becomes a process warning. */
  onError?: ((error: Error, connection?: Connection) => void) | undefined
  /** Most bytes waiting for one slow client, 1 or more; then `slowConsumer` decides. Default 1 048 576. */
  maxBufferedBytes?: number | undefined
  /**
   * What happens when `maxBufferedBytes` are full: `close` (1013), `dropNewest`, `dropOldest`, or `conflate`, which keeps the
   * latest message of each `key` for a client that lags and closes when that is not enough. Default `close`.
   */
  slowConsumer?: SlowConsumerPolicy | undefined
  /** Time, in ms, an async `onOpen` may take, while the client's messages wait; 0 = no limit. Default 10 000. */
  openTimeoutMs?: number | undefined
  /** Time, in ms, a client has to answer a close frame before its socket is destroyed; 1 or more. Default 10 000. */
  closeTimeoutMs?: number | undefined
}

/** {@link HubOptions} with every default in place. */
export interface ResolvedHubOptions {
  readonly maxConnections: number
  readonly maxMessageSize: number
  readonly pingIntervalMs: number
  readonly pongTimeoutMs: number
  readonly enableCompression: CompressionSettings | false
  readonly allowedOrigins: readonly string[]
  readonly protocols: readonly string[]
  readonly onError: ((error: Error, connection?: Connection) => void) | undefined
  readonly maxBufferedBytes: number
  readonly slowConsumer: SlowConsumerPolicy
  readonly openTimeoutMs: number
  readonly closeTimeoutMs: number
  /** `allowedOrigins`, compiled. */
  readonly isOriginAllowed: OriginRule
}

/** The defaults of {@link HubOptions}; the README's table is compared with them by a test. */
export const HUB_DEFAULTS = Object.freeze({
  maxConnections: 10_000,
  maxMessageSize: 65_536,
  pingIntervalMs: 30_000,
  pongTimeoutMs: 10_000,
  enableCompression: false,
  allowedOrigins: Object.freeze([]) as readonly string[], // an empty array is inferred as never[]
  protocols: Object.freeze([]) as readonly string[], // likewise
  onError: undefined,
  maxBufferedBytes: 1_048_576,
  slowConsumer: 'close',
  openTimeoutMs: 10_000,
  closeTimeoutMs: 10_000,
})

/** The defaults of {@link CompressionOptions}. */
export const COMPRESSION_DEFAULTS = Object.freeze({
  thresholdBytes: 512,
  maxBytes: 1_048_576,
  level: 6,
  memLevel: 8,
})

/** The largest delay of a timer and the largest `maxPayload` that `ws` does not read as something else. */
const MAX_INT32 = 2_147_483_647
const POLICIES: readonly SlowConsumerPolicy[] = ['close', 'dropNewest', 'dropOldest', 'conflate']

/** An RFC 7230 token, which is what a subprotocol's name is. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/**
 * Reads options into their final, frozen form.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION naming the key, the rule and the value: also for a key that does not exist
 */
export function resolveHubOptions(options: HubOptions = {}): ResolvedHubOptions {
  if (typeof options !== 'object' || options === null) throw invalid('options', 'are an object', options)
  checkKeys(options, HUB_DEFAULTS, 'an option of a hub')
  const allowedOrigins = strings('allowedOrigins', options.allowedOrigins ?? HUB_DEFAULTS.allowedOrigins)
  const protocols = strings('protocols', options.protocols ?? HUB_DEFAULTS.protocols)
  for (const protocol of protocols) {
    if (!TOKEN.test(protocol)) throw invalid('protocols', 'names subprotocols, which are tokens', protocol)
  }
  const { onError } = options
  if (onError !== undefined && typeof onError !== 'function') {
    throw invalid('onError', 'is a function', onError)
  }
  const slowConsumer = options.slowConsumer ?? HUB_DEFAULTS.slowConsumer
  if (!POLICIES.includes(slowConsumer)) {
    throw invalid('slowConsumer', `is one of ${POLICIES.join(', ')}`, slowConsumer)
  }
  return Object.freeze({
    maxConnections: integer('maxConnections', options, 1),
    maxMessageSize: integer('maxMessageSize', options, 1),
    pingIntervalMs: integer('pingIntervalMs', options, 0),
    pongTimeoutMs: integer('pongTimeoutMs', options, 1),
    enableCompression: compressionSettings(options.enableCompression ?? HUB_DEFAULTS.enableCompression),
    allowedOrigins,
    protocols,
    onError,
    maxBufferedBytes: integer('maxBufferedBytes', options, 1),
    slowConsumer,
    openTimeoutMs: integer('openTimeoutMs', options, 0),
    closeTimeoutMs: integer('closeTimeoutMs', options, 1),
    isOriginAllowed: originRule(allowedOrigins),
  })
}

function compressionSettings(option: boolean | CompressionOptions): CompressionSettings | false {
  if (option === false) return false
  const options = option === true ? {} : option
  if (typeof options !== 'object' || options === null) {
    throw invalid('enableCompression', 'is true, false or an object', options)
  }
  checkKeys(options, COMPRESSION_DEFAULTS, 'a setting of enableCompression')
  const setting = (key: keyof CompressionOptions, least: number, most: number) =>
    inRange(`enableCompression.${key}`, options[key] ?? COMPRESSION_DEFAULTS[key], least, most)
  return Object.freeze({
    thresholdBytes: setting('thresholdBytes', 0, MAX_INT32),
    maxBytes: setting('maxBytes', 1, MAX_INT32),
    level: setting('level', 1, 9),
    memLevel: setting('memLevel', 1, 9),
  })
}

function checkKeys(options: object, known: object, what: string): void {
  for (const key of Object.keys(options)) {
    if (!Object.hasOwn(known, key)) {
      throw new HubError('WSHUB_ERR_INVALID_OPTION', `${show(key)} is not ${what}`)
    }
  }
}

type NumericKey = {
  [K in keyof typeof HUB_DEFAULTS]: (typeof HUB_DEFAULTS)[K] extends number ? K : never
}[keyof typeof HUB_DEFAULTS]

function integer(key: NumericKey, options: HubOptions, least: number): number {
  return inRange(key, options[key] ?? HUB_DEFAULTS[key], least, MAX_INT32)
}

function inRange(key: string, value: unknown, least: number, most: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    throw invalid(key, `is an integer from ${least} to ${most}`, value)
  }
  return value
}

function strings(key: string, value: unknown): readonly string[] {
  if (!Array.isArray(value)) throw invalid(key, 'is an array of strings', value)
  return Object.freeze(
    value.map((item: unknown) => {
      if (typeof item !== 'string' || item === '') throw invalid(key, 'is an array of strings', item)
      return item
    }),
  )
}

function invalid(key: string, rule: string, value: unknown): HubError {
  return new HubError('WSHUB_ERR_INVALID_OPTION', `${key} ${rule}, not ${show(value)}`)
}
