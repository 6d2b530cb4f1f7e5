import type { UpgradeInit } from 'wshub'

/** What a framework knows of a request and its response. */
type Known = Pick<UpgradeInit, 'remoteAddress' | 'isSecure' | 'headers'>

/**
 * Completes the `init` of a route with what the framework knows, where the route says nothing or `undefined`; headers of both are
 * joined. What is no object is returned as it is: the hub refuses it, and a spread would make an object of it.
 */
export function initDefaults(init: UpgradeInit | undefined, known: Known): UpgradeInit {
  if (init === undefined) return known
  if (!isObject(init)) return init
  // Each is read once, since a getter is user code.
  const { remoteAddress = known.remoteAddress, isSecure = known.isSecure, headers = {}, ...rest } = init
  return {
    ...rest,
    remoteAddress,
    isSecure,
    headers: isObject(headers) ? { ...known.headers, ...headers } : headers,
  }
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
