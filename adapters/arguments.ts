import { type Hub, HubError } from 'wshub'

/** @throws {HubError} WSHUB_ERR_INVALID_OPTION for anything but a hub */
export function checkHub(hub: Hub<object>, where: string): void {
  // A hub may come from another copy of the package: no instanceof.
  if (typeof hub?.toJSON === 'function' && typeof hub.stats === 'function') return
  throw new HubError('WSHUB_ERR_INVALID_OPTION', `${where} takes a hub, not ${show(hub)}`)
}

/** @throws {HubError} WSHUB_ERR_INVALID_OPTION for what is no object, or has a key that is not known */
export function checkOptions(options: object, known: readonly string[], where: string): void {
  if (typeof options !== 'object' || options === null) {
    throw new HubError(
      'WSHUB_ERR_INVALID_OPTION',
      `the options of ${where} are an object, not ${show(options)}`,
    )
  }
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) throw HubError.unknownKey(key, known, `an option of ${where}`)
  }
}

/** @throws {HubError} WSHUB_ERR_INVALID_OPTION for one of these options that is set, and not to a function */
export function checkFunctions(options: object): void {
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined || typeof value === 'function') continue
    throw new HubError('WSHUB_ERR_INVALID_OPTION', `${key} is a function, not ${show(value)}`)
  }
}

/** @throws {HubError} WSHUB_ERR_INVALID_OPTION for an object without a method that is needed */
export function checkMethods(object: unknown, methods: readonly string[], what: string): void {
  const given = object as Record<string, unknown> | null | undefined // whatever JavaScript passes
  for (const method of methods) {
    if (typeof given?.[method] === 'function') continue
    throw new HubError('WSHUB_ERR_INVALID_OPTION', `${what} has no method ${method}`)
  }
}

/** Returns a short description of a value for an error message. Never throws, as `String` may. */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 60))
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'object' && value !== null) return 'an object'
  return String(value)
}
