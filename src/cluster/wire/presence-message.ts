import { malformed, textBytes, textCapacity, type WireReader, type WireWriter } from './codec.ts'

/** A user in a room, as one node says. */
export interface MemberState {
  readonly user: string
  /** The number of the user's connections on that node; 0 = none any more. */
  readonly connections: number
  /**
   * A time in ms, at most {@link MAX_STAMP}. Of two infos of a user, the one with the higher stamp is the
   * later one.
   */
  readonly stamp: number
  /** JSON; empty = no info; `undefined` = the same as before. */
  readonly info: string | undefined
}

/** The counts of a room on one node. */
export interface RoomCounts {
  /** Users who have a connection there; 0 in a room that is only counted. */
  readonly users: number
  /** Connections without a user; all of a room that is only counted. */
  readonly anonymous: number
  /** Whether the node names its users. It does not while it has more than `maxMembersPerRoom`. */
  readonly isListed: boolean
}

/** Changes of a room on one node, from one version of it to another. */
export interface RoomDelta extends RoomCounts {
  /** The version that the changes follow; 0 = there was nobody. */
  readonly base: number
  readonly version: number
  readonly members: readonly MemberState[]
}

/** The members of a room on one node. */
export interface RoomSnapshot extends RoomCounts {
  readonly version: number
  readonly members: readonly MemberState[]
}

/** A room that a node asks others about. */
export interface AskedRoom {
  readonly room: string
  /** The version of the room on the node that asks. */
  readonly version: number
  /** Whether that node has nobody there. */
  readonly isEmpty: boolean
}

/** An answer about a room, or a part of one. */
export interface AnsweredRoom extends RoomSnapshot {
  readonly room: string
  readonly isFirst: boolean
  readonly isLast: boolean
  /** Whether there are more members than such an answer names: ask this node alone. */
  readonly isBrief: boolean
}

/** The version of a room, for those who know it. */
export interface RoomDigest {
  /** A hash of the name, 48 bits. */
  readonly hash: number
  readonly version: number
}

/** A message between nodes about the members of rooms. */
export type PresenceMessage =
  /** On the channel of the room. */
  | { readonly op: 'delta'; readonly delta: RoomDelta }
  /** `isFull`: all members are wanted, however many. */
  | {
      readonly op: 'ask'
      readonly id: number
      readonly isFull: boolean
      readonly rooms: readonly AskedRoom[]
    }
  /** In rooms that were asked for and are not named, nobody was there at the version `clock`. */
  | {
      readonly op: 'answer'
      readonly id: number
      readonly clock: number
      /** From 0. */
      readonly part: number
      readonly isLast: boolean
      readonly rooms: readonly AnsweredRoom[]
    }
  | { readonly op: 'digest'; readonly rooms: readonly RoomDigest[] }

// Positions are the numbers on the wire: append only.
const OPS: readonly PresenceMessage['op'][] = ['delta', 'ask', 'answer', 'digest']

const LISTED = 1
const FIRST = 2
const LAST = 4
const BRIEF = 8
const WITH_INFO = 1
/** The bytes that numbers and flags of a part take at most. */
const NUMBERS_CAPACITY = 48

/** The highest stamp: far in the future, and twice a difference of stamps is a safe integer. */
export const MAX_STAMP = 2 ** 48

/** The most bytes of a room in a digest. */
export const DIGEST_BYTES = 16

/** Returns about how many bytes a room takes in a question, and no fewer than it does. */
export function askedBytes(room: string): number {
  return textBytes(room) + 10
}

/** Returns about how many bytes a room takes in an answer besides its members, and no fewer than it does. */
export function answeredBytes(room: string): number {
  return textBytes(room) + 24
}

/** Returns about how many bytes a member takes, and no fewer than it does. */
export function memberBytes({ user, info = '' }: MemberState): number {
  return textBytes(user) + textBytes(info) + 14
}

/** Returns the most bytes that {@link writePresence} writes. */
export function presenceCapacity(message: PresenceMessage): number {
  switch (message.op) {
    case 'delta':
      return NUMBERS_CAPACITY + membersCapacity(message.delta.members)
    case 'ask':
      return message.rooms.reduce((sum, { room }) => sum + textCapacity(room) + 10, NUMBERS_CAPACITY)
    case 'answer':
      return message.rooms.reduce(
        (sum, { room, members }) => sum + textCapacity(room) + NUMBERS_CAPACITY + membersCapacity(members),
        NUMBERS_CAPACITY,
      )
    case 'digest':
      return NUMBERS_CAPACITY + message.rooms.length * DIGEST_BYTES
  }
}

export function writePresence(writer: WireWriter, message: PresenceMessage): void {
  writer.byte(OPS.indexOf(message.op))
  switch (message.op) {
    case 'delta': {
      const { delta } = message
      writer.byte(delta.isListed ? LISTED : 0)
      writer.varint(delta.base)
      writeState(writer, delta)
      return
    }
    case 'ask':
      writer.varint(message.id)
      writer.byte(message.isFull ? 1 : 0)
      writer.varint(message.rooms.length)
      for (const { room, version, isEmpty } of message.rooms) {
        writer.text(room)
        writer.varint(version)
        writer.byte(isEmpty ? 1 : 0)
      }
      return
    case 'answer':
      writer.varint(message.id)
      writer.varint(message.clock)
      writer.varint(message.part)
      writer.byte(message.isLast ? 1 : 0)
      writer.varint(message.rooms.length)
      for (const part of message.rooms) {
        writer.text(part.room)
        writer.byte(
          (part.isListed ? LISTED : 0) |
            (part.isFirst ? FIRST : 0) |
            (part.isLast ? LAST : 0) |
            (part.isBrief ? BRIEF : 0),
        )
        writeState(writer, part)
      }
      return
    case 'digest':
      writer.varint(message.rooms.length)
      for (const { hash, version } of message.rooms) {
        writer.varint(hash)
        writer.varint(version)
      }
      return
  }
}

/** Reads a message. @returns `undefined` for one of a newer version @throws {HubError} WSHUB_ERR_ENVELOPE */
export function readPresence(reader: WireReader): PresenceMessage | undefined {
  const op = OPS[reader.byte()]
  switch (op) {
    case undefined:
      return undefined
    case 'delta': {
      const flags = reader.byte()
      const base = reader.varint()
      return { op, delta: { base, ...readState(reader, flags) } }
    }
    case 'ask': {
      const [id, isFull] = [reader.varint(), reader.byte() === 1]
      const rooms = list(reader, () => {
        const room = readRoom(reader)
        return { room, version: reader.varint(), isEmpty: reader.byte() === 1 }
      })
      return { op, id, isFull, rooms }
    }
    case 'answer': {
      const [id, clock, part] = [reader.varint(), reader.varint(), reader.varint()]
      const isLast = reader.byte() === 1
      const rooms = list(reader, () => {
        const room = readRoom(reader)
        const flags = reader.byte()
        return {
          room,
          isFirst: (flags & FIRST) !== 0,
          isLast: (flags & LAST) !== 0,
          isBrief: (flags & BRIEF) !== 0,
          ...readState(reader, flags),
        }
      })
      return { op, id, clock, part, isLast, rooms }
    }
    case 'digest':
      return { op, rooms: list(reader, () => ({ hash: reader.varint(), version: reader.varint() })) }
  }
}

function writeState(writer: WireWriter, { version, users, anonymous, members }: RoomSnapshot): void {
  for (const value of [version, users, anonymous, members.length]) writer.varint(value)
  let before: number | undefined
  let previous: string | undefined
  for (const { user, connections, stamp, info } of members) {
    writeUser(writer, user, previous)
    previous = user
    writer.varint(connections)
    if (connections === 0) continue
    // Those that follow are hardly earlier or later than the first, and so take a byte or two, not six.
    const written = before === undefined ? stamp : zigzag(stamp - before)
    before = stamp
    writer.varint(written * 2 + (info === undefined ? 0 : WITH_INFO))
    if (info !== undefined) writer.text(info)
  }
}

function readState(reader: WireReader, flags: number): RoomSnapshot {
  const [version, users, anonymous] = [reader.varint(), reader.varint(), reader.varint()]
  let before: number | undefined
  let previous: string | undefined
  const members = list(reader, (): MemberState => {
    const user = readUser(reader, previous)
    previous = user
    const connections = reader.varint()
    if (connections === 0) return { user, connections, stamp: 0, info: undefined }
    const written = reader.varint()
    const value = Math.floor(written / 2)
    const stamp = before === undefined ? value : before + unzigzag(value)
    if (stamp < 0 || stamp > MAX_STAMP) throw malformed('invalid stamp')
    before = stamp
    const info = written % 2 === WITH_INFO ? reader.text() : undefined
    return { user, connections, stamp, info }
  })
  return { version, users, anonymous, isListed: (flags & LISTED) !== 0, members }
}

/** Writes an id: after the first, how much of its beginning is that of the previous one, and its end. */
function writeUser(writer: WireWriter, user: string, previous: string | undefined): void {
  if (previous === undefined) {
    writer.text(user)
    return
  }
  const most = Math.min(user.length, previous.length)
  let shared = 0
  while (shared < most && user.charCodeAt(shared) === previous.charCodeAt(shared)) shared++
  writer.varint(shared)
  writer.text(user.slice(shared))
}

function readUser(reader: WireReader, previous: string | undefined): string {
  const shared = previous === undefined ? 0 : reader.varint()
  if (previous !== undefined && shared > previous.length) throw malformed('a user shares too much')
  const user = (previous ?? '').slice(0, shared) + reader.text()
  if (user === '') throw malformed('empty user')
  return user
}

/** Returns an integer of 0 or more for any integer: small ones, of either sign, stay small. */
function zigzag(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value
}

function unzigzag(value: number): number {
  return value % 2 === 1 ? -(value + 1) / 2 : value / 2
}

/** Reads items, each of which takes some bytes: a false count costs no more than the bytes that arrived. */
function list<Item>(reader: WireReader, read: () => Item): Item[] {
  const count = reader.varint()
  const items: Item[] = []
  while (items.length < count) items.push(read())
  return items
}

function readRoom(reader: WireReader): string {
  const room = reader.text()
  if (room === '') throw malformed('empty room name')
  return room
}

function membersCapacity(members: readonly MemberState[]): number {
  return members.reduce((sum, { user, info = '' }) => sum + textCapacity(user) + textCapacity(info) + 28, 0)
}
