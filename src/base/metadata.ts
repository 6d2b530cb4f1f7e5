/**
 * The metadata of an application that does not describe it: any string is a key, and its value is unknown.
 * The type is `object` and not a `Record`, because an interface is not a `Record`. So a `Hub<User>` is a
 * `Hub`, whatever `User` is.
 */
export type Metadata = object

/** The keys of the metadata and their values: those of `Meta`, or any key when `Meta` names none. */
export type MetadataOf<Meta extends object> = [keyof Meta] extends [never] ? Record<string, unknown> : Meta

/** A key of the metadata. */
export type MetadataKey<Meta extends object> = keyof MetadataOf<Meta> & string

/**
 * A `Map` whose values are typed by their keys. Iterating it gives any string and any value: a
 * `Connection<User>` that is used as a `Connection<Named>` has more keys than `Named`.
 */
export interface MetadataMap<out Meta extends object> extends Map<string, unknown> {
  get<Key extends MetadataKey<Meta>>(key: Key): MetadataOf<Meta>[Key] | undefined
  /**
   * @throws {HubError} WSHUB_ERR_TOO_MUCH_METADATA when it would have more than `limits.maxMetadataEntries`
   */
  set<Key extends MetadataKey<Meta>>(key: Key, value: MetadataOf<Meta>[Key]): this
}
