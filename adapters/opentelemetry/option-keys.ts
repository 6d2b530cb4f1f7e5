import { HubError } from 'wshub'

/** @throws {HubError} WSHUB_ERR_INVALID_OPTION for a key that is not known */
export function checkKeys(options: object, known: readonly string[], what: string): void {
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) throw HubError.unknownKey(key, known, what)
  }
}
