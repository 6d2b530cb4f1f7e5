/**
 * Checks the keys of an options object.
 * @param known an object that has the known keys
 * @throws {TypeError} naming the first unknown key, and the known ones
 */
export function checkKeys(options: unknown, known: object, what: string): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new TypeError(`${what} are an object, not ${typeof options}`)
  }
  for (const key of Object.keys(options)) {
    if (Object.hasOwn(known, key)) continue
    throw new TypeError(`"${key}" is not one of ${what}: ${Object.keys(known).join(', ')}`)
  }
}
