import { HubError, show } from '../base/errors.ts'
import { invalid } from '../base/option-rules.ts'

/**
 * `scheme://host[:port]`, as a browser serializes an origin (RFC 6454 §6.2); the host may be a `*.` pattern.
 */
const ORIGIN = /^([a-z][a-z0-9+.-]*):\/\/(\*\.)?((?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d+)?)$/

/** `host[:port]`, as in the header `Host`; the host may be a `*.` pattern. */
const HOST = /^(\*\.)?(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d+)?$/

const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: ':80', https: ':443', ws: ':80', wss: ':443' }

/**
 * Decides on the `Origin` of a handshake; both headers may be missing.
 * @param isSecure whether the client is known to use TLS
 */
export type OriginRule = (origin: string | undefined, host: string | undefined, isSecure: boolean) => boolean

/** Decides on the `Host` of a request. */
export type HostRule = (host: string | undefined) => boolean

/**
 * Returns the rule for a list of allowed origins. It is needed because a page of another site can open a
 * WebSocket with the visitor's cookies, and CORS does not stop it. So a browser is admitted from the site's
 * own origin or from one in the list. A client that sends no `Origin` is not a browser and is admitted.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION when an entry is not an origin
 * @see RFC 6455 §10.2
 */
export function originRule(allowed: readonly string[]): OriginRule {
  if (allowed.includes('*')) return () => true
  const exact = new Set<string>()
  const suffixes: { scheme: string; suffix: string }[] = []
  for (const entry of allowed) {
    const origin = entry === 'null' ? null : parseOrigin(entry)
    if (origin === undefined) {
      throw new HubError(
        'WSHUB_ERR_INVALID_OPTION',
        `allowedOrigins takes origins like "https://app.example.com" or "https://*.example.com", "null" or "*", not ${show(entry)}`,
      )
    }
    if (origin === null) exact.add('null')
    else if (origin.wildcard) suffixes.push({ scheme: origin.scheme, suffix: `.${origin.host}` })
    else exact.add(`${origin.scheme}://${origin.host}`)
  }
  return (header, host, isSecure) => {
    if (header === undefined) return true
    if (header === 'null') return exact.has('null')
    const origin = parseOrigin(header)
    if (origin === undefined || origin.wildcard) return false
    const { scheme } = origin
    // Over TLS, a page that the same site served without TLS is foreign: anyone on the network may have
    // altered it. The reverse is normal behind a proxy that ends TLS.
    const isOwnScheme = scheme === 'https' || (scheme === 'http' && !isSecure)
    return (
      (isOwnScheme && origin.host === withoutDefaultPort(scheme, host?.toLowerCase() ?? '')) ||
      exact.has(`${scheme}://${origin.host}`) ||
      suffixes.some((listed) => listed.scheme === scheme && origin.host.endsWith(listed.suffix))
    )
  }
}

/**
 * Returns the rule for a list of the application's hosts, `*.` patterns among them; an entry without a port
 * admits every port. An empty list admits all. If the owner of a domain points its name at this server (DNS
 * rebinding), its page passes as the own origin; its `Host` does not pass here.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION when an entry is not a host
 */
export function hostRule(allowed: readonly string[]): HostRule {
  if (allowed.length === 0) return () => true
  const exact = new Set<string>()
  const suffixes: { suffix: string; port: string | undefined }[] = []
  for (const entry of allowed) {
    const [, wildcard, name, port] = HOST.exec(entry.toLowerCase()) ?? []
    if (name === undefined) {
      throw invalid(
        'allowedHosts',
        'takes hosts like "app.example.com", "*.example.com" or "localhost:8080"',
        entry,
      )
    }
    if (wildcard === undefined) exact.add(name + (port ?? ''))
    else suffixes.push({ suffix: `.${name}`, port })
  }
  return (header) => {
    const [, wildcard, name, port] = HOST.exec(header?.toLowerCase() ?? '') ?? []
    if (name === undefined || wildcard !== undefined) return false
    // Without a port, the port is one of the defaults. If a proxy has ended TLS, only the proxy may know
    // which.
    const ports = port === undefined ? [':80', ':443'] : [port]
    return (
      exact.has(name) ||
      ports.some((one) => exact.has(name + one)) ||
      suffixes.some(
        (listed) =>
          name.endsWith(listed.suffix) && (listed.port === undefined || ports.includes(listed.port)),
      )
    )
  }
}

function parseOrigin(text: string): { scheme: string; wildcard: boolean; host: string } | undefined {
  const [, scheme, wildcard, host] = ORIGIN.exec(text.toLowerCase()) ?? []
  if (scheme === undefined || host === undefined) return undefined
  return { scheme, wildcard: wildcard !== undefined, host: withoutDefaultPort(scheme, host) }
}

function withoutDefaultPort(scheme: string, host: string): string {
  const port = DEFAULT_PORTS[scheme]
  return port !== undefined && host.endsWith(port) ? host.slice(0, -port.length) : host
}
