import type { UpgradeInit } from 'wshub'

/** Returns the entries of a `Headers` of the Fetch API, each cookie by itself. */
export function plainHeaders(headers: Headers): NonNullable<UpgradeInit['headers']> {
  return { ...Object.fromEntries(headers), 'set-cookie': headers.getSetCookie() }
}
