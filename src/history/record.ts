import { malformed, textCapacity, textsCapacity, WireReader, WireWriter } from '../cluster/wire/codec.ts'

/** The version of the records that this package writes and reads. */
const RECORD_VERSION = 1

const TEXT = 1
const KEY = 2
const UNION = 4
const EXCEPT = 8
const URGENT = 16
const ALL_FLAGS = 31

/** A message as it is stored. */
export interface HistoryRecord {
  readonly data: string | Uint8Array
  readonly key: string | undefined
  /** Whether it does not wait for others before it is written. */
  readonly urgent?: boolean | undefined
  /**
   * The rooms with history among those that the message went to, sorted; empty when it is only one. Each of
   * them has a copy; a connection in several of them receives one.
   */
  readonly union: readonly string[]
  /** Connections that do not receive it, and rooms whose members do not. */
  readonly exceptIds: readonly string[]
  readonly exceptRooms: readonly string[]
}

/** Returns the bytes of a record: two more than the data in the simplest case. */
export function encodeRecord({ data, key, urgent, union, exceptIds, exceptRooms }: HistoryRecord): Buffer {
  const hasExcept = exceptIds.length > 0 || exceptRooms.length > 0
  let capacity = 2 + Buffer.byteLength(data)
  if (key !== undefined) capacity += textCapacity(key)
  if (union.length > 0) capacity += textsCapacity(union)
  if (hasExcept) capacity += textsCapacity(exceptIds) + textsCapacity(exceptRooms)
  const writer = new WireWriter(capacity)
  writer.byte(RECORD_VERSION)
  writer.byte(
    (typeof data === 'string' ? TEXT : 0) |
      (key === undefined ? 0 : KEY) |
      (union.length === 0 ? 0 : UNION) |
      (hasExcept ? EXCEPT : 0) |
      (urgent === true ? URGENT : 0),
  )
  if (key !== undefined) writer.text(key)
  if (union.length > 0) writer.texts(union)
  if (hasExcept) {
    writer.texts(exceptIds)
    writer.texts(exceptRooms)
  }
  writer.rest(data)
  return writer.finish()
}

/**
 * Reads the bytes of a record. Invalid UTF-8 of a text becomes U+FFFD.
 * @throws {HubError} WSHUB_ERR_ENVELOPE when they are malformed, or of another version
 */
export function decodeRecord(bytes: Buffer): HistoryRecord & { readonly data: string | Buffer } {
  const reader = new WireReader(bytes)
  if (reader.byte() !== RECORD_VERSION) throw malformed('a record has an unknown version')
  const flags = reader.byte()
  if (flags > ALL_FLAGS) throw malformed('a record has an unknown flag')
  const key = (flags & KEY) === 0 ? undefined : reader.text()
  const union = (flags & UNION) === 0 ? [] : reader.rooms()
  const hasExcept = (flags & EXCEPT) !== 0
  const exceptIds = hasExcept ? reader.texts() : []
  const exceptRooms = hasExcept ? reader.rooms() : []
  const rest = reader.rest()
  const data = (flags & TEXT) === 0 ? rest : rest.toString()
  const urgent = (flags & URGENT) === 0 ? undefined : true
  return { data, key, urgent, union, exceptIds, exceptRooms }
}
