import { HubError } from 'wshub'
import { show } from '../arguments.ts'

/** The default of `maxPendingBytes`. */
const MAX_PENDING_BYTES = 16_777_216

/** The longest time, in ms, that a timer of Node.js takes: a longer one ends at once. */
const MAX_TIMER_MS = 2_147_483_647

/** Bytes that each pending message counts in addition to its own: small messages take memory, too. */
export const MESSAGE_OVERHEAD_BYTES = 256

interface Limits {
  // Documented with the options of each backplane: a shared type would need a declaration file of its own in
  // the package.
  maxPendingBytes?: number | undefined
}

/** Returns the limit, or its default. @throws {HubError} WSHUB_ERR_INVALID_OPTION */
export function readMaxPendingBytes({ maxPendingBytes = MAX_PENDING_BYTES }: Limits): number {
  return readInteger('maxPendingBytes', maxPendingBytes)
}

/** Returns a whole number. @throws {HubError} WSHUB_ERR_INVALID_OPTION for anything else */
export function readInteger(
  key: string,
  value: unknown,
  least = 1,
  most: number = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most)
    return value
  const range = most === Number.MAX_SAFE_INTEGER ? `from ${least}` : `from ${least} to ${most}`
  throw invalidOption(`${key} is an integer ${range}, not ${show(value)}`)
}

/** Returns a time limit in ms. @throws {HubError} WSHUB_ERR_INVALID_OPTION */
export function readTimeout(key: string, value: unknown): number {
  return readInteger(key, value, 1, MAX_TIMER_MS)
}

/** Returns a name that engines can have in theirs. @throws {HubError} WSHUB_ERR_INVALID_OPTION */
export function readName(key: string, value: unknown): string {
  if (typeof value === 'string' && /^[A-Za-z0-9_-]{1,64}$/.test(value)) return value
  throw invalidOption(`${key} has 1 to 64 characters, A–Z a–z 0–9 _ - only`)
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
