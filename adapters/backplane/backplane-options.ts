import { HubError } from 'wshub'

/** The default of `maxPendingBytes`. */
const MAX_PENDING_BYTES = 16_777_216

/** Bytes that each waiting message counts beside its own: small ones take memory, too. */
export const MESSAGE_OVERHEAD_BYTES = 256

interface Limits {
  // The documented one stands with the options of each backplane: a type that they share would be a file of
  // its own in the package.
  maxPendingBytes?: number | undefined
}

/** @throws {HubError} WSHUB_ERR_INVALID_OPTION */
export function readMaxPendingBytes({ maxPendingBytes = MAX_PENDING_BYTES }: Limits): number {
  if (Number.isInteger(maxPendingBytes) && maxPendingBytes >= 1) return maxPendingBytes
  throw invalidOption(`maxPendingBytes is an integer from 1, not ${String(maxPendingBytes)}`)
}

/** @throws {HubError} WSHUB_ERR_INVALID_OPTION for a key that does not exist, and for what is no object */
export function refuseUnknown(options: unknown, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw invalidOption('the options of a backplane are an object')
  }
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) throw HubError.unknownKey(key, known, 'an option of this backplane')
  }
}

export function invalidOption(message: string, cause?: unknown): HubError {
  return new HubError('WSHUB_ERR_INVALID_OPTION', message, { cause })
}
