import { HubError, show } from './errors.ts'
import { isThenable } from './run-handler.ts'

/** The longest delay of a timer, and the largest `maxPayload` that `ws` does not misread. */
export const MAX_INT32 = 2_147_483_647

/** Options with every default in place. The keys of `Unset` have no default: they may be `undefined`. */
export type Resolved<Options extends object, Unset extends keyof Options = never> = {
  readonly [Key in keyof Options]-?: Key extends Unset ? Options[Key] : Exclude<Options[Key], undefined>
}

/**
 * Checks that options are an object with known keys only.
 * @param known an object that has the known keys
 * @param what completes the sentence "… is not …": `an option of a hub`
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION, which names the first unknown key
 */
export function checkKeys(options: unknown, known: object, what: string): void {
  if (!isRecord(options)) {
    throw new HubError('WSHUB_ERR_INVALID_OPTION', `expected an object of options, not ${show(options)}`)
  }
  for (const key of Object.keys(options)) {
    if (!Object.hasOwn(known, key)) throw HubError.unknownKey(key, Object.keys(known), what)
  }
}

/**
 * Returns whether a value is an object whose properties are read. The entries of a Map, or the result of a
 * promise, are no properties: they would be ignored.
 */
function isRecord(value: unknown): value is object {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || isThenable(value)) return false
  return !(Symbol.iterator in value)
}

/** Returns the default in place of `undefined` alone: `null` is a value, and of the wrong type. */
export function orDefault<Value, Default>(value: Value | undefined, byDefault: Default): Value | Default {
  return value === undefined ? byDefault : value
}

/**
 * Returns the value of an option.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION unless it is an integer in the range
 */
export function inRange(key: string, value: unknown, least: number, most = MAX_INT32): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    throw invalid(key, `is an integer from ${least} to ${most}`, value)
  }
  return value
}

/** The options whose default is a number. */
type NumericKey<Defaults extends object> = {
  [Key in keyof Defaults & string]: Defaults[Key] extends number ? Key : never
}[keyof Defaults & string]

/**
 * Returns a function that reads one integer of the options, or its default, within a range. The function
 * throws WSHUB_ERR_INVALID_OPTION.
 * @param prefix comes before the key in the message of the error
 */
export function integersOf<Defaults extends object>(
  options: { readonly [Key in NumericKey<Defaults>]?: unknown },
  defaults: Defaults,
  prefix = '',
): (key: NumericKey<Defaults>, least: number, most?: number) => number {
  return (key, least, most) => inRange(prefix + key, orDefault(options[key], defaults[key]), least, most)
}

/**
 * Returns a frozen copy.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION unless it is an array of non-empty strings
 */
export function strings(key: string, value: unknown): readonly string[] {
  if (!Array.isArray(value)) throw invalid(key, 'is an array of non-empty strings', value)
  return Object.freeze(
    Array.from(value, (item: unknown) => {
      if (typeof item !== 'string' || item === '')
        throw invalid(key, 'is an array of non-empty strings', item)
      return item
    }),
  )
}

/** Returns the error for an option that breaks its rule. */
export function invalid(key: string, rule: string, value: unknown): HubError {
  return new HubError('WSHUB_ERR_INVALID_OPTION', `${key} ${rule}, not ${show(value)}`)
}
