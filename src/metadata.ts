import { HubError } from './errors.ts'

/** What an application keeps with a connection when it does not say more precisely. */
export type Metadata = Record<string, unknown>

/** A `Map` whose values are typed by their keys. */
export interface MetadataMap<Meta extends object> extends Map<keyof Meta, Meta[keyof Meta]> {
  get<Key extends keyof Meta>(key: Key): Meta[Key] | undefined
  /** @throws {HubError} WSHUB_ERR_TOO_MUCH_METADATA when it would have more than `limits.maxMetadataEntries` */
  set<Key extends keyof Meta>(key: Key, value: Meta[Key]): this
}

/** A `Map` of at most so many entries. */
export class BoundedMap<Key, Value> extends Map<Key, Value> {
  readonly #maxEntries: number

  constructor(maxEntries: number) {
    super()
    this.#maxEntries = maxEntries
  }

  override set(key: Key, value: Value): this {
    if (!this.has(key)) checkMetadataSize(this.size + 1, this.#maxEntries)
    return super.set(key, value)
  }
}

/** @throws {HubError} WSHUB_ERR_TOO_MUCH_METADATA when that is too many */
export function checkMetadataSize(entries: number, maxEntries: number): void {
  if (entries <= maxEntries) return
  throw new HubError(
    'WSHUB_ERR_TOO_MUCH_METADATA',
    `a connection has at most ${maxEntries} entries of metadata`,
  )
}
