import { HubError } from '../base/errors.ts'

/** The first entries of the metadata, as they were read. */
export type MetadataEntries = readonly (readonly [key: string, value: unknown])[]

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
