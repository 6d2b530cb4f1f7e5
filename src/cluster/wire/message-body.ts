import type { SendOptions } from '../../protocol/message.ts'
import { malformed, textCapacity, textsCapacity, tooNew, type WireReader, type WireWriter } from './codec.ts'

/** A message for the members of a room, or for all connections. */
export interface MessageBody {
  readonly kind: 'message'
  readonly data: string | Uint8Array
  /**
   * The rooms, when the message goes to the union of several: it is published on the channel of each, and
   * `union` is its number among the unions of its publisher. `undefined` when the channel says it all; then
   * `union` is 0.
   */
  readonly rooms: readonly string[] | undefined
  readonly union: number
  /** Connections that do not receive it, and rooms whose members do not. */
  readonly exceptIds: readonly string[]
  readonly exceptRooms: readonly string[]
  readonly options: SendOptions | undefined
}

/** A message for one connection. */
export interface DirectBody {
  readonly kind: 'direct'
  readonly connectionId: string
  readonly data: string | Uint8Array
  readonly options: SendOptions | undefined
}

const TEXT = 1
const EXCEPT = 2
const KEY = 4
const VOLATILE = 8
const UNION = 16
/** More than one id is excluded, or a room: a list of each. */
const EXCEPT_LISTS = 32
const ALL_FLAGS = 63

/**
 * An urgent message for many excludes this id, which no connection has, and one for a single connection has
 * the flag of an excluded id. Versions that do not know urgent messages exclude nobody then.
 */
const URGENT_ID = ''

/** Returns the most bytes that a message for many takes. */
export function messageCapacity({ data, rooms, exceptIds, exceptRooms, options }: MessageBody): number {
  let capacity = 16 + Buffer.byteLength(data) + keyCapacity(options)
  if (rooms !== undefined) capacity += textsCapacity(rooms)
  return capacity + textsCapacity(exceptIds) + textCapacity(URGENT_ID) + textsCapacity(exceptRooms)
}

/** Returns the most bytes that a message for one connection takes. */
export function directCapacity({ data, connectionId, options }: DirectBody): number {
  return 16 + Buffer.byteLength(data) + textCapacity(connectionId) + keyCapacity(options)
}

/** Writes a message for many. */
export function writeMessage(writer: WireWriter, body: MessageBody): void {
  const { rooms, union, exceptRooms, options, data } = body
  const exceptIds = options?.urgent === true ? [...body.exceptIds, URGENT_ID] : body.exceptIds
  const except = exceptFlag(exceptIds, exceptRooms)
  writer.byte(flagsOf(body) | except | (rooms === undefined ? 0 : UNION))
  if (rooms !== undefined) {
    writer.varint(union)
    writer.texts(rooms)
  }
  if (except === EXCEPT) writer.text(exceptIds[0] ?? '')
  if (except === EXCEPT_LISTS) {
    writer.texts(exceptIds)
    writer.texts(exceptRooms)
  }
  if (options?.key !== undefined) writer.text(options.key)
  writer.rest(data)
}

/** Writes a message for one connection. */
export function writeDirect(writer: WireWriter, body: DirectBody): void {
  writer.byte(flagsOf(body) | (body.options?.urgent === true ? EXCEPT : 0))
  writer.text(body.connectionId)
  if (body.options?.key !== undefined) writer.text(body.options.key)
  writer.rest(body.data)
}

/** Reads a message for many. */
export function readMessage(reader: WireReader): MessageBody {
  const flags = readFlags(reader)
  const isUnion = (flags & UNION) !== 0
  const union = isUnion ? reader.varint() : 0
  const rooms = isUnion ? reader.rooms() : undefined
  const { exceptIds: ids, exceptRooms } = readExcept(reader, flags)
  const isUrgent = ids.includes(URGENT_ID)
  return {
    kind: 'message',
    union,
    rooms,
    exceptIds: isUrgent ? ids.filter((id) => id !== URGENT_ID) : ids,
    exceptRooms,
    options: readOptions(reader, flags, isUrgent),
    data: readData(reader, flags),
  }
}

/** Reads a message for one connection. */
export function readDirect(reader: WireReader): DirectBody {
  const flags = readFlags(reader)
  const connectionId = reader.text()
  return {
    kind: 'direct',
    connectionId,
    options: readOptions(reader, flags, (flags & EXCEPT) !== 0),
    data: readData(reader, flags),
  }
}

function keyCapacity(options: SendOptions | undefined): number {
  return options?.key === undefined ? 0 : textCapacity(options.key)
}

function flagsOf({ data, options }: MessageBody | DirectBody): number {
  return (
    (typeof data === 'string' ? TEXT : 0) |
    (options?.key === undefined ? 0 : KEY) |
    (options?.volatile === true ? VOLATILE : 0)
  )
}

/** A single excluded id is written without a list, for versions that do not know the lists. */
function exceptFlag(exceptIds: readonly string[], exceptRooms: readonly string[]): number {
  if (exceptRooms.length > 0 || exceptIds.length > 1) return EXCEPT_LISTS
  return exceptIds.length === 1 ? EXCEPT : 0
}

function readExcept(reader: WireReader, flags: number): Pick<MessageBody, 'exceptIds' | 'exceptRooms'> {
  if ((flags & EXCEPT_LISTS) !== 0) return { exceptIds: reader.texts(), exceptRooms: reader.rooms() }
  return { exceptIds: (flags & EXCEPT) === 0 ? [] : [reader.text()], exceptRooms: [] }
}

function readFlags(reader: WireReader): number {
  const flags = reader.byte()
  if (flags > ALL_FLAGS) throw tooNew('an unknown flag')
  return flags
}

function readOptions(reader: WireReader, flags: number, isUrgent: boolean): SendOptions | undefined {
  const volatile = (flags & VOLATILE) !== 0
  const urgent = isUrgent || undefined
  if ((flags & KEY) === 0) return volatile || isUrgent ? { volatile, urgent } : undefined
  const key = reader.text()
  if (key === '') throw malformed('empty key')
  return { key, volatile, urgent }
}

/** Replaces invalid UTF-8 by U+FFFD: a browser would close a connection that receives it as text. */
function readData(reader: WireReader, flags: number): string | Buffer {
  const bytes = reader.rest()
  return (flags & TEXT) === 0 ? bytes : bytes.toString()
}
