/** The place of a message, as `stamp` receives it. */
export interface StampPlace {
  readonly room: string
  /** The position of the message, of the characters `A–Z a–z 0–9 _ - .` only. */
  readonly position: string
}

/** The beginning and the end of the text of a JSON object. */
const OBJECT = /^(\s*\{\s*)("[\s\S]*\}\s*$|\}\s*$)/

/**
 * Returns a message with its position: adds `"at"` as the first key to the text of a JSON object. Everything
 * else, such as an array or bytes, is returned as it is. If the object has an `at` already, that one comes
 * last, and `JSON.parse` returns it. For the option `stamp`.
 */
export function stampJson<Data extends string | Uint8Array>(
  data: Data,
  { position }: Pick<StampPlace, 'position'>,
): Data | string {
  if (typeof data !== 'string') return data
  const [, open, rest] = OBJECT.exec(data) ?? []
  if (open === undefined || rest === undefined) return data
  return `${open}"at":"${position}"${rest.startsWith('}') ? '' : ','}${rest}`
}
