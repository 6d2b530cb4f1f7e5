import { createHash } from 'node:crypto'
import { type IncomingMessage, validateHeaderName, validateHeaderValue } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import { HubError, show } from '../base/errors.ts'
import { checkKeys, invalid } from '../base/option-rules.ts'

/** Appended to the client's key before it is hashed. @see RFC 6455 §1.3 */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/** Sixteen bytes in base64. */
const KEY = /^[+/0-9A-Za-z]{22}==$/

/** The beginning of a subprotocol that carries a bearer token: a browser cannot set headers. */
const BEARER_PREFIX = 'bearer.'

/**
 * A request, as request listeners receive it. A handshake over HTTP/2 is one of `node:http` as well; other
 * requests over HTTP/2 are none.
 */
export type UpgradeRequest = IncomingMessage | Http2ServerRequest

/** Additions of an application to the 101. */
export interface HandshakeInit {
  /** The subprotocol that the server chose, one of those that the client offered. */
  protocol?: string
  /** More headers; not those of the handshake itself or of a body. */
  headers?: Readonly<Record<string, number | string | readonly string[]>>
}

/** The keys of {@link HandshakeInit}. */
export const HANDSHAKE_INIT: Record<keyof HandshakeInit, undefined> = {
  protocol: undefined,
  headers: undefined,
}

/** Functions of the opening handshake that touch no socket. @see RFC 6455 §4.2 */
export const Handshake = {
  /**
   * Returns whether a request is a well-formed opening handshake of version 13. Ignores origins and limits.
   */
  validateRequest(req: UpgradeRequest): boolean {
    checkRequest(req)
    return findFlaw(req) === undefined
  },

  /** Returns the `Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key`: 28 characters. */
  generateAcceptKey(key: string): string {
    return createHash('sha1')
      .update(key + GUID)
      .digest('base64')
  },

  /**
   * Returns the bearer token of a request: from `Authorization: Bearer …`, otherwise from an offered
   * subprotocol `bearer.…`, which a page sends with `new WebSocket(url, ['chat', 'bearer.' + token])`. The
   * hub never chooses that subprotocol, so the page must offer another one as well. `undefined` when there is
   * no token.
   * @throws {HubError} WSHUB_ERR_INVALID_OPTION for anything but a request
   * @see RFC 6750 §2.1
   */
  bearerToken(req: UpgradeRequest): string | undefined {
    checkRequest(req)
    const [, fromHeader] = /^Bearer +([\w.~+/-]+=*)$/i.exec(req.headers.authorization ?? '') ?? []
    if (fromHeader !== undefined) return fromHeader
    const offered = req.headers['sec-websocket-protocol']?.split(',').map((item) => item.trim())
    return offered
      ?.find((protocol) => isBearer(protocol) && protocol !== BEARER_PREFIX)
      ?.slice(BEARER_PREFIX.length)
  },

  /**
   * Returns the 101 response for a client's key, from the status line to the empty line.
   * @throws {HubError} WSHUB_ERR_INVALID_HEADER when a header is not one line of legal characters, or belongs
   *   to the handshake itself or to a body; WSHUB_ERR_INVALID_OPTION for an unknown option
   */
  createResponse(key: string, init: HandshakeInit = {}): string {
    checkKeys(init, HANDSHAKE_INIT, 'an option of a response')
    const lines = [
      'HTTP/1.1 101 Switching Protocols',
      'Upgrade: websocket',
      'Connection: Upgrade',
      `Sec-WebSocket-Accept: ${Handshake.generateAcceptKey(key)}`,
    ]
    if (init.protocol && !isBearer(init.protocol))
      lines.push(...headerLines([['Sec-WebSocket-Protocol', init.protocol]]))
    lines.push(...extraHeaderLines(readHeaders(init.headers)))
    return `${lines.join('\r\n')}\r\n\r\n`
  },
}

/** Returns whether a subprotocol carries a bearer token. Such a subprotocol is never chosen. */
export function isBearer(protocol: string): boolean {
  return protocol.startsWith(BEARER_PREFIX)
}

/** Checks an opening handshake. @throws {HubError} the flaw, with the HTTP status for the answer */
export function checkHandshake(req: IncomingMessage): void {
  checkRequest(req)
  const flaw = findFlaw(req)
  if (flaw !== undefined) throw new HubError(...flaw)
}

function checkRequest(req: unknown): asserts req is IncomingMessage {
  if (typeof req === 'object' && req !== null && 'headers' in req && typeof req.headers === 'object') return
  throw invalid('req', 'is a request of node:http', req)
}

type Flaw = ConstructorParameters<typeof HubError>

function findFlaw(req: IncomingMessage): Flaw | undefined {
  const { headers } = req
  // First, since a request with a body arrives here without its `Upgrade` header.
  if (hasBody(req)) {
    return req.method === 'GET' ? ['WSHUB_ERR_BAD_HANDSHAKE', 'a handshake has no body'] : wrongMethod(req)
  }
  if (!isWebSocketUpgrade(req)) {
    return ['WSHUB_ERR_NOT_UPGRADE', 'this is a WebSocket endpoint: the request must upgrade to websocket']
  }
  if (req.method !== 'GET') return wrongMethod(req)
  if (req.httpVersionMajor === 1 && req.httpVersionMinor === 0) {
    return ['WSHUB_ERR_BAD_HANDSHAKE', 'a handshake needs HTTP/1.1']
  }
  if (headers['sec-websocket-version'] !== '13') {
    return ['WSHUB_ERR_VERSION', 'Sec-WebSocket-Version must be 13']
  }
  if (!KEY.test(headers['sec-websocket-key'] ?? '')) {
    return ['WSHUB_ERR_BAD_HANDSHAKE', 'Sec-WebSocket-Key must be 16 bytes in base64']
  }
  return undefined
}

function wrongMethod({ method }: IncomingMessage): Flaw {
  return ['WSHUB_ERR_METHOD', `a handshake is a GET, not ${show(method)}`]
}

/** Returns whether `Upgrade` lists `websocket` and `Connection` lists `upgrade`, in any case and spacing. */
export function isWebSocketUpgrade(req: IncomingMessage): boolean {
  return listIncludes(req.headers.upgrade, 'websocket') && listIncludes(req.headers.connection, 'upgrade')
}

/** Returns whether a request announces a body. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return Number(headers['content-length'] ?? 0) !== 0 || headers['transfer-encoding'] !== undefined
}

/** Returns whether a comma-separated header lists a token, in any case. */
export function listIncludes(header: string | undefined, token: string): boolean {
  if (header === undefined) return false
  const list = header.toLowerCase()
  if (list === token) return true
  for (const item of list.split(',')) if (item.trim() === token) return true
  return false
}

/**
 * Returns the lines of more headers for the 101. Later sources replace headers of earlier ones, in any case;
 * cookies are added to those of earlier sources, equal ones once: Fastify's reply repeats those of Node's
 * response. Headers of the handshake itself are left out, and so are those about a body, such as the
 * `Content-Type` that a framework has set on the response.
 * @throws {HubError} WSHUB_ERR_INVALID_HEADER when a header is not one line of legal characters
 */
export function extraHeaderLines(...sources: (Headers | undefined)[]): string[] {
  let headers: Map<string, [name: string, value: Headers[string]]> | undefined
  for (const source of sources) {
    if (source === undefined) continue
    // Not `Object.entries`, which takes twice as long for the headers of a response: they have no prototype.
    for (const name of Object.keys(source)) {
      const value = source[name]
      headers ??= new Map()
      const key = name.toLowerCase()
      const before = key === 'set-cookie' ? headers.get(key)?.[1] : undefined
      headers.set(key, [name, before === undefined ? value : union(before, value)])
    }
  }
  if (headers === undefined) return []
  for (const name of headers.keys()) if (isReserved(name)) headers.delete(name)
  return headerLines(headers.values())
}

function union(before: Headers[string], value: Headers[string]): string[] {
  return [...new Set([before ?? [], value ?? []].flat().map(String))]
}

/**
 * Reads the headers that an application passes, once.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION when they are not a plain object, WSHUB_ERR_INVALID_HEADER for
 *   an illegal value, or a header that would be left out of the 101
 */
export function readHeaders(headers: HandshakeInit['headers']): Headers | undefined {
  if (headers === undefined) return undefined
  // The entries of a Headers, a Map or an array are not properties: they would be lost.
  if (typeof headers !== 'object' || headers === null || Symbol.iterator in headers) {
    throw invalid('headers', 'is a plain object of headers', headers)
  }
  const read = Object.entries(headers)
  for (const [name, value] of read) {
    if (value !== undefined && isReserved(name.toLowerCase())) {
      throw new HubError('WSHUB_ERR_INVALID_HEADER', `the header ${show(name)} cannot be added to the 101`)
    }
    const isValid = Array.isArray(value)
      ? [...value].every((item) => typeof item === 'string')
      : ['string', 'number', 'undefined'].includes(typeof value)
    if (isValid) continue
    throw new HubError(
      'WSHUB_ERR_INVALID_HEADER',
      `the header ${show(name)} is a string, a number or an array of strings, not ${show(value)}`,
    )
  }
  return Object.fromEntries(read)
}

/** Headers by name. */
export type Headers = Readonly<Record<string, number | string | readonly string[] | undefined>>

function headerLines(headers: Iterable<readonly [name: string, value: Headers[string]]>): string[] {
  const lines: string[] = []
  for (const [name, value] of headers) {
    if (value === undefined) continue
    for (const item of Array.isArray(value) ? value : [value]) {
      try {
        validateHeaderName(name)
        validateHeaderValue(name, String(item))
      } catch (cause) {
        throw new HubError('WSHUB_ERR_INVALID_HEADER', `the header ${show(name)} cannot be sent`, { cause })
      }
      lines.push(`${name}: ${item}`)
    }
  }
  return lines
}

function isReserved(name: string): boolean {
  return (
    name.startsWith('sec-websocket-') ||
    /^(connection|upgrade|keep-alive|transfer-encoding|content-(length|type|encoding)|trailer|etag)$/.test(
      name,
    )
  )
}
