import { HubError } from '../base/errors.ts'

/** The initial entries of the metadata. */
export type MetadataEntries = readonly (readonly [key: string, value: unknown])[]

/** A `Map` with a limited number of entries. */
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

/** Checks the number of entries. @throws {HubError} WSHUB_ERR_TOO_MUCH_METADATA when there are too many */
export function checkMetadataSize(entries: number, maxEntries: number): void {
  if (entries <= maxEntries) return
  throw new HubError(
    'WSHUB_ERR_TOO_MUCH_METADATA',
    `a connection has at most ${maxEntries} entries of metadata`,
  )
}
