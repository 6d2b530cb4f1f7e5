/** The globals that a page or a worker has and Node lacks. */
interface Place {
  readonly document?: { readonly baseURI: string }
  readonly location?: { readonly href: string }
}

/**
 * Checks what is passed to a WebSocket that is made only later, when there is a token.
 * @throws {DOMException} SyntaxError where `new WebSocket` would throw one
 */
export function checkTarget(url: string, protocols: readonly string[]): void {
  const { document, location } = globalThis as Place // Node's types do not know them
  let address = ''
  try {
    address = new URL(url, document?.baseURI ?? location?.href).href
  } catch {} // as wrong as the address ''
  const isValid =
    /^(wss?|https?|ws\+unix):[^#]+$/.test(address) &&
    protocols.every((name, index) => /^[\w!#-'*+.^`|~-]+$/.test(name) && protocols.indexOf(name) === index)
  if (!isValid) throw new DOMException('the URL or a subprotocol is invalid', 'SyntaxError')
}
