const EXTENSION = 'permessage-deflate'

/**
 * Returns the parameters that the hub negotiates. Clients never keep a context: it would take 32 KiB here for
 * each of them.
 * @param isWindowShared whether messages may refer to those before them
 */
export function deflateParameters(isWindowShared: boolean): object {
  return { serverNoContextTakeover: isWindowShared ? undefined : true, clientNoContextTakeover: true }
}

/** The largest window, in bits; also the one that applies when none was negotiated. */
export const FULL_WINDOW_BITS = 15

/** An extension parameter: a token, and perhaps a value, which may be quoted. @see RFC 6455 §9.1 */
const PARAMETER =
  /^([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s*=\s*(?:"([!#$%&'*+.^_`|~0-9A-Za-z-]+)"|([!#$%&'*+.^_`|~0-9A-Za-z-]+)))?$/

/** Returns whether a `Sec-WebSocket-Extensions` header may offer compression. */
export function mayOfferDeflate(header: string | undefined): boolean {
  return header?.includes(EXTENSION) ?? false
}

/**
 * Returns a `Sec-WebSocket-Extensions` header without the offers of permessage-deflate that a server must
 * decline: those with a parameter that is unknown, repeated or out of range. The rest stays as it is, even if
 * it is not an offer: `ws` refuses the handshake for that.
 * @returns `undefined` when no offer is left
 * @see RFC 7692 §7.1
 */
export function acceptableOffers(header: string): string | undefined {
  const offers = header.split(',').filter((offer) => !isDeclined(offer))
  return offers.length === 0 ? undefined : offers.join(',').trim()
}

/**
 * Returns the window, in bits, for outgoing messages according to the `Sec-WebSocket-Extensions` line of a
 * 101; 0 when permessage-deflate was not negotiated.
 * @see RFC 7692 §7.1.2.1
 */
export function negotiatedWindowBits(responseLines: readonly string[]): number {
  const line = deflateLine(responseLines)
  if (line === undefined) return 0
  return Number(/server_max_window_bits=(\d+)/.exec(line)?.[1] ?? FULL_WINDOW_BITS)
}

/**
 * Returns whether the hub may refer to earlier messages, according to the `Sec-WebSocket-Extensions` line of
 * a 101.
 * @see RFC 7692 §7.1.1.1
 */
export function mayKeepContext(responseLines: readonly string[]): boolean {
  const line = deflateLine(responseLines)
  return line !== undefined && !line.includes('server_no_context_takeover')
}

function deflateLine(responseLines: readonly string[]): string | undefined {
  return responseLines.find((header) => /^sec-websocket-extensions:.*permessage-deflate/i.test(header))
}

function isDeclined(offer: string): boolean {
  const [name, ...parameters] = offer.split(';').map((part) => part.trim())
  if (name !== EXTENSION) return false
  const parsed = parameters.map((parameter) => PARAMETER.exec(parameter))
  if (parsed.includes(null)) return false // violates the grammar: `ws` refuses the handshake
  const names = parsed.map((match) => match?.[1])
  if (new Set(names).size < names.length) return true
  return parsed.some((match) => !isAcceptable(match?.[1], match?.[2] ?? match?.[3]))
}

function isAcceptable(name: string | undefined, value: string | undefined): boolean {
  switch (name) {
    case 'server_no_context_takeover':
    case 'client_no_context_takeover':
      return value === undefined
    case 'server_max_window_bits':
      return isWindow(value)
    case 'client_max_window_bits':
      return value === undefined || isWindow(value)
    default:
      return false
  }
}

function isWindow(value: string | undefined): boolean {
  return /^([89]|1[0-5])$/.test(value ?? '')
}
