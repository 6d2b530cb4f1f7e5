import { HubError, show } from './errors.ts'

/** The largest delay of a timer, and the largest `maxPayload` that `ws` does not read as something else. */
export const MAX_INT32 = 2_147_483_647

/**
 * @param known an object that has the known keys
 * @param what completes the sentence that the key is not …: `an option of a hub`
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION naming the first key that is not among the known ones, and when it is no object
 */
export function checkKeys(options: unknown, known: object, what: string): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new HubError(
      'WSHUB_ERR_INVALID_OPTION',
      `what stands for ${what} is an object, not ${show(options)}`,
    )
  }
  for (const key of Object.keys(options)) {
    if (!Object.hasOwn(known, key)) throw HubError.unknownKey(key, Object.keys(known), what)
  }
}

/** @throws {HubError} WSHUB_ERR_INVALID_OPTION when it is no integer within the range */
export function inRange(key: string, value: unknown, least: number, most: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    throw invalid(key, `is an integer from ${least} to ${most}`, value)
  }
  return value
}

/** A frozen copy. @throws {HubError} WSHUB_ERR_INVALID_OPTION when it is no array of strings that are not empty */
export function strings(key: string, value: unknown): readonly string[] {
  if (!Array.isArray(value)) throw invalid(key, 'is an array of strings', value)
  return Object.freeze(
    value.map((item: unknown) => {
      if (typeof item !== 'string' || item === '') throw invalid(key, 'is an array of strings', item)
      return item
    }),
  )
}

/** The error for an option that breaks its rule. */
export function invalid(key: string, rule: string, value: unknown): HubError {
  return new HubError('WSHUB_ERR_INVALID_OPTION', `${key} ${rule}, not ${show(value)}`)
}
