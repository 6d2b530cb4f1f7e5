import type { HubError } from 'wshub'

/**
 * Returns an error if it is a {@link HubError} that a client may be answered with; `undefined` for any other.
 * A hub may come from another copy of the package, so this is no `instanceof`.
 */
export function asRefusal(error: unknown): HubError | undefined {
  if (!(error instanceof Error) || !('code' in error && 'expose' in error)) return undefined
  if (error.expose !== true || typeof error.code !== 'string') return undefined
  if (!error.code.startsWith('WSHUB_ERR_')) return undefined
  return error as HubError // the class that has such codes
}
