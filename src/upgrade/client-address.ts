import type { IncomingMessage } from 'node:http'
import { isIP, isIPv6 } from 'node:net'
import proxyaddr from 'proxy-addr'
import { HubError, show } from '../base/errors.ts'
import { asError } from '../base/thrown.ts'

/**
 * The proxies that may name the client's address: `true` (all: the first address in the header, which anyone
 * can write), how many stand in front, addresses and networks (`'10.0.0.0/8'`, `'loopback'`), or a function
 * of an address and its distance.
 */
export type TrustProxy = boolean | number | string | readonly string[] | TrustFunction

/** Whether a proxy of that address, so many hops away (0 = the TCP peer), is trusted. */
export type TrustFunction = (address: string, hop: number) => boolean

/**
 * The header in which trusted proxies name the client. The other one is never looked at: a client could have
 * written it.
 */
export type ProxyHeader = 'x-forwarded-for' | 'forwarded'

/** Whether a trusted proxy says that the client came by TLS. */
export type SecureRule = (req: IncomingMessage) => boolean

/** The address of the client that sent a request; `undefined` for a socket without one. */
export type AddressRule = (req: IncomingMessage) => string | undefined

/**
 * The rule for a choice of trusted proxies.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 * @see RFC 7239
 */
export function addressRule(trustProxy: TrustProxy, header: ProxyHeader): AddressRule {
  if (trustProxy === false) return (req) => req.socket.remoteAddress
  const isTrusted = trustFunction(trustProxy)
  const read = header === 'forwarded' ? forwardedFor : listItems
  return (req) => {
    const peer = req.socket.remoteAddress ?? ''
    if (!isTrusted(peer, 0)) return peer || undefined // and the header, which anyone can write, is not even read
    const hops = [peer, ...read(String(req.headers[header] ?? '')).reverse()]
    const client = hops.findIndex((address, hop) => hop > 0 && !isTrusted(address, hop))
    return hops.at(client) || undefined // -1, the last, when all are trusted; '' for a socket without an address
  }
}

/**
 * The rule for a choice of trusted proxies: `X-Forwarded-Proto` beside `X-Forwarded-For`, else the `proto` of
 * `Forwarded`. One proxy of several is enough: TLS often ends at the first.
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
 * Returns the key by which an address is counted: an IPv4 address as it is, also inside an IPv6 one; of an
 * IPv6 address the first 64 bits, because that is what one customer gets.
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

/** The eight groups of an IPv6 address, however it is written. */
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

/** A function of the application that throws only what a framework's error handling can read. */
function readable(isTrusted: TrustFunction): TrustFunction {
  return (address, hop) => {
    try {
      return isTrusted(address, hop)
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

/** The name in RFC 7239 of a hop with an undisclosed address. */
const UNKNOWN = 'unknown'

// One after the other, each from where the last one ended: in one expression the blanks before and after a
// pair that is missing would be tried in every split, which takes the square of their number.
const BLANKS = /[ \t]*/y
const PAIR = /([\w!#$%&'*+.^`|~-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))/y
const END = /[ \t]*([;,]|$)/y

interface ForwardedElement {
  readonly for: string
  readonly proto: string | undefined
}

/**
 * The `for` of each element. A header that cannot be read is one unknown hop: else a client that opens a
 * quote, and does not close it, would swallow what the proxy has added behind.
 */
function forwardedFor(text: string): string[] {
  return forwardedElements(text)?.map((element) => element.for) ?? [UNKNOWN]
}

/**
 * The elements of `Forwarded`; `undefined` where it cannot be read.
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
