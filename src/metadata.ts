/** What an application keeps with a connection when it does not say more precisely. */
export type Metadata = Record<string, unknown>

/** A `Map` whose values are typed by their keys. */
export interface MetadataMap<Meta extends object> extends Map<keyof Meta, Meta[keyof Meta]> {
  get<Key extends keyof Meta>(key: Key): Meta[Key] | undefined
  set<Key extends keyof Meta>(key: Key, value: Meta[Key]): this
}
