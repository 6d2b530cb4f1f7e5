import { inspect, types } from 'node:util'
import { nearestName } from './nearest-name.ts'

interface HubErrorRule {
  /** HTTP status of an answer rendered from the error. */
  readonly status: number
  /** WebSocket close code of a connection that ended by the error. */
  readonly closeCode?: number
  /** HTTP headers of an answer rendered from the error. */
  readonly headers?: Readonly<Record<string, string>>
}

/** Every refusal before the 101 closes its TCP connection: no client reuses a socket whose upgrade failed. */
const refused = { Connection: 'close' } as const

/** Seconds that a client which opens connections too fast is asked to wait. */
const RATE_RETRY_AFTER_SECONDS = '1'

/** Seconds that a client of a full or closing hub is asked to wait. */
const RETRY_AFTER_SECONDS = '5'

/**
 * Every code a {@link HubError} can have. `docs/errors.md` has the same table; a test compares the two.
 * Codes are never renamed. The message of an error may change at any time.
 */
export const HUB_ERRORS = {
  // Before the 101: the request is refused.
  WSHUB_ERR_HUB_CLOSED: { status: 503, headers: { ...refused, 'Retry-After': RETRY_AFTER_SECONDS } },
  WSHUB_ERR_NOT_UPGRADE: { status: 426, headers: { Connection: 'close, Upgrade', Upgrade: 'websocket' } },
  WSHUB_ERR_METHOD: { status: 405, headers: { ...refused, Allow: 'GET' } },
  WSHUB_ERR_VERSION: { status: 426, headers: { ...refused, 'Sec-WebSocket-Version': '13' } },
  WSHUB_ERR_BAD_HANDSHAKE: { status: 400, headers: refused },
  WSHUB_ERR_ORIGIN: { status: 403, headers: refused },
  WSHUB_ERR_HOST: { status: 403, headers: refused },
  WSHUB_ERR_HUB_FULL: { status: 503, headers: { ...refused, 'Retry-After': RETRY_AFTER_SECONDS } },
  WSHUB_ERR_TOO_MANY_HEADERS: { status: 431, headers: refused },
  WSHUB_ERR_TOO_MANY_PENDING: { status: 503, headers: { ...refused, 'Retry-After': RETRY_AFTER_SECONDS } },
  WSHUB_ERR_UPGRADE_TIMEOUT: { status: 408, headers: refused },
  WSHUB_ERR_TOO_MANY_UPGRADES: {
    status: 429,
    headers: { ...refused, 'Retry-After': RATE_RETRY_AFTER_SECONDS },
  },
  WSHUB_ERR_TOO_MANY_CONNECTIONS: {
    status: 429,
    headers: { ...refused, 'Retry-After': RETRY_AFTER_SECONDS },
  },
  WSHUB_ERR_SOCKET_CLOSED: { status: 400, headers: refused },
  WSHUB_ERR_NOT_ATTACHED: { status: 500, headers: refused },
  WSHUB_ERR_ALREADY_UPGRADED: { status: 500 },
  // Programmer errors: thrown at the call.
  WSHUB_ERR_INVALID_OPTION: { status: 500 },
  WSHUB_ERR_INVALID_HANDLER: { status: 500 },
  WSHUB_ERR_INVALID_SOCKET: { status: 500 },
  WSHUB_ERR_INVALID_PAYLOAD: { status: 500 },
  WSHUB_ERR_INVALID_ROOM: { status: 500 },
  WSHUB_ERR_INVALID_CLOSE: { status: 500 },
  WSHUB_ERR_INVALID_HEADER: { status: 500 },
  WSHUB_ERR_CONTROL_TOO_LONG: { status: 500 },
  WSHUB_ERR_FOREIGN_CONNECTION: { status: 500 },
  WSHUB_ERR_ALREADY_ITERATED: { status: 500 },
  WSHUB_ERR_INVALID_SELECTOR: { status: 500 },
  WSHUB_ERR_NO_HISTORY: { status: 500 },
  WSHUB_ERR_NO_PRESENCE: { status: 500 },
  WSHUB_ERR_INVALID_FRAME: { status: 400, closeCode: 1002 },
  // On an open connection: reported, and the connection ends with the close code.
  WSHUB_ERR_PROTOCOL: { status: 400, closeCode: 1002 },
  WSHUB_ERR_INVALID_DATA: { status: 400, closeCode: 1007 },
  WSHUB_ERR_MESSAGE_TOO_BIG: { status: 413, closeCode: 1009 },
  WSHUB_ERR_TOO_MANY_FRAGMENTS: { status: 413, closeCode: 1008 },
  WSHUB_ERR_RATE_LIMIT: { status: 429, closeCode: 1008 },
  WSHUB_ERR_TOO_MANY_ROOMS: { status: 500, closeCode: 1008 },
  WSHUB_ERR_TOO_MUCH_METADATA: { status: 500, closeCode: 1008 },
  WSHUB_ERR_HANDLER_THREW: { status: 500, closeCode: 1011 },
  WSHUB_ERR_OPEN_TIMEOUT: { status: 500, closeCode: 1011 },
  WSHUB_ERR_SLOW_CONSUMER: { status: 503, closeCode: 1013 },
  WSHUB_ERR_NOT_SENT: { status: 503 },
  // Between hubs.
  WSHUB_ERR_TOO_MANY_CALLS: { status: 503, headers: { 'Retry-After': RETRY_AFTER_SECONDS } },
  WSHUB_ERR_BACKPLANE: { status: 503 },
  WSHUB_ERR_NOT_PUBLISHED: { status: 503 },
  WSHUB_ERR_ENVELOPE: { status: 500 },
  WSHUB_ERR_ENVELOPE_VERSION: { status: 500 },
  WSHUB_ERR_ENVELOPE_TOO_BIG: { status: 413 },
  // Of rooms with a history.
  WSHUB_ERR_NOT_STORED: { status: 503 },
  WSHUB_ERR_HISTORY_AWAY: { status: 503 },
  // Of rooms with presence.
  WSHUB_ERR_PRESENCE: { status: 500 },
} as const satisfies Record<string, HubErrorRule>

/** A code that a {@link HubError} can have. */
export type HubErrorCode = keyof typeof HUB_ERRORS

/** The codes of errors that refuse a request before the 101, for a reason that is not a bug. */
export const REFUSALS = (Object.keys(HUB_ERRORS) as HubErrorCode[]) // `keys` forgets the codes
  .filter((code) => isRefusal(HUB_ERRORS[code]))

/**
 * The only error class of this package. Match it by `code`, not by `instanceof`: two copies of the package
 * may be loaded. Fastify, Express and Koa render `status`, `headers` and, where `expose` is true, `message`
 * by themselves. The stack of a refusal is a single line, because any client can cause one and frameworks log
 * it.
 */
export class HubError extends Error {
  override readonly name = 'HubError'
  /** Names what happened: `WSHUB_ERR_…`. Never renamed. */
  readonly code: HubErrorCode
  /** HTTP status for an answer, 4xx or 5xx. */
  readonly status: number
  /** The same as `status`: Fastify reads this name. */
  readonly statusCode: number
  /**
   * Whether a client may see `message`: true for the refusals of a request, false for programmer errors, and
   * for a 503 with a `cause`, such as an error of an engine, whose text may name hosts and users.
   */
  readonly expose: boolean
  /** HTTP headers for an answer, such as `Retry-After`; may be empty. */
  readonly headers: Readonly<Record<string, string>>
  /** Close code of the connection that this error ended; `undefined` if it ended none. */
  readonly closeCode: number | undefined
  /**
   * Whether the message may have been stored all the same, and delivered on other nodes: true for a
   * `WSHUB_ERR_NOT_STORED` without an answer of the store, or when the store has lost it since. Publishing it
   * again may store it, or deliver it, twice then.
   */
  readonly mayBeStored: boolean

  constructor(code: HubErrorCode, message: string, options?: { cause?: unknown; mayBeStored?: boolean }) {
    super(message, options)
    const rule: HubErrorRule = HUB_ERRORS[code]
    this.code = code
    this.status = rule.status
    this.statusCode = rule.status
    this.expose = rule.status < 500 || (rule.status !== 500 && options?.cause === undefined)
    this.headers = { ...rule.headers }
    this.closeCode = rule.closeCode
    this.mayBeStored = options?.mayBeStored === true
    if (isRefusal(rule)) {
      const line = `${this.name} [${code}]: ${message}`
      this.stack = line
      Object.defineProperty(this, inspect.custom, { value: () => line }) // Express 5 logs the error, Express 4 its stack
    }
  }

  /**
   * Removes the headers about a connection of HTTP/1.1: Node ends the process with an uncaught error when a
   * framework sets one on a response of HTTP/2.
   * @internal
   */
  dropConnectionHeaders(): void {
    const { Connection: _, Upgrade: __, ...headers } = this.headers
    Object.defineProperty(this, 'headers', { value: headers, enumerable: true })
  }

  /**
   * Returns the error for an unknown key of an options object. It suggests the known key that was probably
   * meant. For backplanes and adapters that refuse unknown options.
   * @param what completes the sentence "… is not …": `an option of this backplane`
   */
  static unknownKey(key: string, known: readonly string[], what: string): HubError {
    return new HubError('WSHUB_ERR_INVALID_OPTION', `${show(key)} is not ${what}${didYouMean(key, known)}`)
  }
}

/** Returns the end of an error message about an unknown word; empty when no known word resembles it. */
export function didYouMean(word: string, known: readonly string[]): string {
  const name = nearestName(word, known)
  return name === undefined ? '' : `; did you mean ${show(name)}?`
}

/**
 * Returns whether an error refuses a request before the 101, for a reason that is not a bug of the
 * application.
 */
function isRefusal({ status, headers }: HubErrorRule): boolean {
  return status !== 500 && headers?.Connection !== undefined
}

/** Returns a short description of a value for an error message. Never throws. */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
  if (typeof value === 'function') return 'a function'
  if (types.isProxy(value)) return 'a Proxy' // even `Array.isArray` throws for one that was revoked
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (types.isMap(value)) return 'a Map'
  if (typeof value === 'object' && value !== null) return 'an object'
  return String(value).slice(0, 60)
}
