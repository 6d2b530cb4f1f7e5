import type { IncomingMessage } from 'node:http'
import { isIP, isIPv6 } from 'node:net'
import proxyaddr from 'proxy-addr'
import { HubError, show } from '../base/errors.ts'
import { syncResult } from '../base/sync-result.ts'
import { asError } from '../base/thrown.ts'

/**
 * The proxies that may name the client's address: `true` (all: the first address in the header, which anyone
 * can write), the number of proxies in front, addresses and networks (`'10.0.0.0/8'`, `'loopback'`), or a
 * function of an address and its distance.
 */
export type TrustProxy = boolean | number | string | readonly string[] | TrustFunction

/** Returns whether a proxy with that address, that many hops away (0 = the TCP peer), is trusted. */
export type TrustFunction = (address: string, hop: number) => boolean

/**
 * The header in which trusted proxies name the client. The other one is never read: a client could have
 * written it.
 */
export type ProxyHeader = 'x-forwarded-for' | 'forwarded'

/** Returns whether a trusted proxy says that the client used TLS. */
export type SecureRule = (req: IncomingMessage) => boolean

/** Returns the address of the client that sent a request; `undefined` for a socket without one. */
export type AddressRule = (req: IncomingMessage) => string | undefined

/**
 * Returns the rule for a choice of trusted proxies.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 * @see RFC 7239
 */
export function addressRule(trustProxy: TrustProxy, header: ProxyHeader): AddressRule {
  if (trustProxy === false) return (req) => req.socket.remoteAddress
  const isTrusted = trustFunction(trustProxy)
  const read = header === 'forwarded' ? forwardedFor : listItems
  return (req) => {
    const peer = req.socket.remoteAddress ?? ''
    if (!isTrusted(peer, 0)) return peer || undefined // then the header, which anyone can write, is not even read
    const hops = [peer, ...read(String(req.headers[header] ?? '')).reverse()]
    const client = hops.findIndex((address, hop) => hop > 0 && !isTrusted(address, hop))
    return hops.at(client) || undefined // -1, the last, when all are trusted; '' for a socket without an address
  }
}

/**
 * Returns the rule for a choice of trusted proxies. It reads `X-Forwarded-Proto` together with
 * `X-Forwarded-For`, or the `proto` of `Forwarded`. If there are several proxies, one is enough: TLS often
 * ends at the first.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function secureRule(trustProxy: TrustProxy, header: ProxyHeader): SecureRule {
  if (trustProxy === false) return () => false
  const isTrusted = trustFunction(trustProxy)
  return ({ socket, headers }) => {
    if (!isTrusted(socket.remoteAddress ?? '', 0)) return false
    const schemes =
      header === 'forwarded'
        ? (forwardedElements(String(headers.forwarded ?? '')) ?? []).map(({ proto }) => proto)
        : listItems(String(headers['x-forwarded-proto'] ?? ''))
    return schemes.some((scheme) => scheme !== undefined && /^(https|wss)$/i.test(scheme))
  }
}

/**
 * Returns the key by which an address is counted: an IPv4 address as it is, also inside an IPv6 one; the
 * first 64 bits of an IPv6 address, because one customer usually gets that many addresses.
 */
export function addressKey(address: string): string {
  if (!isIPv6(address)) return address
  const groups = groupsOf(address)
  const [, , , , , marker, high = 0, low = 0] = groups
  if (marker === 0xffff && groups.slice(0, 5).every((group) => group === 0)) {
    return [high >> 8, high & 255, low >> 8, low & 255].join('.')
  }
  const network = groups.slice(0, 4).map((group) => group.toString(16))
  return `${network.join(':')}::/64`
}

/** Returns the eight groups of an IPv6 address in any notation. */
function groupsOf(address: string): number[] {
  const [head = [], tail = []] = (address.split('%')[0] ?? '').split('::').map((half) =>
    half
      .split(':')
      .filter((group) => group !== '')
      .flatMap((group) => {
        if (!group.includes('.')) return [Number.parseInt(group, 16)]
        const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number)
        return [a * 256 + b, c * 256 + d]
      }),
  )
  return [...head, ...Array<number>(8 - head.length - tail.length).fill(0), ...tail]
}

/** Wraps a function of the application so that it throws only errors that a framework can read. */
function readable(isTrusted: TrustFunction): TrustFunction {
  return (address, hop) => {
    try {
      return syncResult('the option trustProxy', isTrusted(address, hop))
    } catch (thrown) {
      throw asError(thrown, 'the option trustProxy')
    }
  }
}

function trustFunction(trustProxy: Exclude<TrustProxy, false>): TrustFunction {
  if (typeof trustProxy === 'function') return readable(trustProxy)
  if (trustProxy === true) return () => true
  if (typeof trustProxy === 'number') return (_address, hop) => hop < trustProxy
  try {
    return proxyaddr.compile(typeof trustProxy === 'string' ? listItems(trustProxy) : [...trustProxy])
  } catch (cause) {
    throw new HubError(
      'WSHUB_ERR_INVALID_OPTION',
      `trustProxy takes addresses and networks, not ${show(trustProxy)}`,
      { cause },
    )
  }
}

function listItems(text: string): string[] {
  return text
    .split(',')
    .map((item) => withoutPort(item.trim()))
    .filter((item) => item !== '')
}

/** The name in RFC 7239 for a hop with an undisclosed address. */
const UNKNOWN = 'unknown'

// Pairs are matched one after the other, each from the end of the last. In a single expression, the blanks
// around a missing pair would be tried in every split, in quadratic time.
const BLANKS = /[ \t]*/y
const PAIR = /([\w!#$%&'*+.^`|~-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))/y
const END = /[ \t]*([;,]|$)/y

interface ForwardedElement {
  readonly for: string
  readonly proto: string | undefined
}

/**
 * Returns the `for` of each element. A malformed header is one unknown hop: otherwise a client that opens a
 * quote and does not close it would hide the elements that the proxy has added after it.
 */
function forwardedFor(text: string): string[] {
  return forwardedElements(text)?.map((element) => element.for) ?? [UNKNOWN]
}

/**
 * Returns the elements of `Forwarded`; `undefined` when it is malformed.
 * @see RFC 7239 §4
 */
function forwardedElements(text: string): ForwardedElement[] | undefined {
  const elements: ForwardedElement[] = []
  let at = 0
  const next = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at
    const match = pattern.exec(text)
    at += match?.[0].length ?? 0
    return match
  }
  let pairs: Record<string, string> | undefined
  while (at < text.length) {
    next(BLANKS)
    const [, name, quoted, plain] = next(PAIR) ?? []
    const end = next(END)?.[1]
    if (end === undefined) return undefined
    if (name !== undefined) {
      pairs ??= {}
      pairs[name.toLowerCase()] = quoted ?? plain ?? ''
    }
    if (end === ';' && at < text.length) continue
    if (pairs !== undefined) {
      elements.push({ for: withoutPort(pairs.for || UNKNOWN), proto: pairs.proto })
    }
    pairs = undefined
  }
  return elements
}

function withoutPort(text: string): string {
  if (isIP(text) !== 0) return text
  const [, v6, v4] = /^(?:\[([^\]]+)\](?::\d+)?|([\d.]+):\d+)$/.exec(text) ?? []
  return v6 ?? v4 ?? text
}
