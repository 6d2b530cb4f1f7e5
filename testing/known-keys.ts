/**
 * @param known an object that has the known keys
 * @throws {TypeError} naming the first key that is not among them, and all that are
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
