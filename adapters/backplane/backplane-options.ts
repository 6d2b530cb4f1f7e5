import { HubError } from 'wshub'

/** The default of `maxPendingBytes`. */
const MAX_PENDING_BYTES = 16_777_216

/** Bytes that each pending message counts in addition to its own: small messages take memory, too. */
export const MESSAGE_OVERHEAD_BYTES = 256

interface Limits {
  // Documented with the options of each backplane: a shared type would need a declaration file of its own in
  // the package.
  maxPendingBytes?: number | undefined
}

/** Returns the limit, or its default. @throws {HubError} WSHUB_ERR_INVALID_OPTION */
export function readMaxPendingBytes({ maxPendingBytes = MAX_PENDING_BYTES }: Limits): number {
  if (Number.isInteger(maxPendingBytes) && maxPendingBytes >= 1) return maxPendingBytes
  throw invalidOption(`maxPendingBytes is an integer from 1, not ${String(maxPendingBytes)}`)
}

/**
 * Checks the keys of an options object.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION for an unknown key, and for anything that is not an object
 */
export function refuseUnknown(options: unknown, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw invalidOption('the options of a backplane are an object')
  }
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) throw HubError.unknownKey(key, known, 'an option of this backplane')
  }
}

/** Returns the error for an option that has no valid value. */
export function invalidOption(message: string, cause?: unknown): HubError {
  return new HubError('WSHUB_ERR_INVALID_OPTION', message, { cause })
}
