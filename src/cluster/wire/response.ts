import { textCapacity, type WireReader, type WireWriter } from './codec.ts'

/** A connection as other nodes see it. */
export interface MemberReply {
  readonly id: string
  /** What the application makes public of its metadata, as JSON; empty for nothing. */
  readonly metadata: string
}

/** What a node answers to a question. */
export type Reply =
  | { readonly type: 'count'; readonly count: number }
  | { readonly type: 'members'; readonly members: readonly MemberReply[] }
  | {
      readonly type: 'node'
      readonly connections: number
      readonly rooms: number
      readonly uptimeMs: number
    }
  | { readonly type: 'text'; readonly value: string }
  | { readonly type: 'binary'; readonly value: Uint8Array }
  | { readonly type: 'nothing' }
  | { readonly type: 'failed'; readonly reason: string }

// Positions are the numbers on the wire: append only.
const TYPES: readonly Reply['type'][] = ['count', 'members', 'node', 'text', 'binary', 'nothing', 'failed']

/** Most bytes that {@link writeReply} writes. */
export function replyCapacity(reply: Reply): number {
  switch (reply.type) {
    case 'members': {
      let capacity = 16
      for (const member of reply.members) capacity += memberCapacity(member)
      return capacity
    }
    case 'text':
    case 'binary':
      return 16 + Buffer.byteLength(reply.value)
    case 'failed':
      return 16 + textCapacity(reply.reason)
    default:
      return 32
  }
}

/** Most bytes that one member takes in a reply. */
export function memberCapacity({ id, metadata }: MemberReply): number {
  return textCapacity(id) + textCapacity(metadata)
}

export function writeReply(writer: WireWriter, reply: Reply): void {
  writer.byte(TYPES.indexOf(reply.type))
  switch (reply.type) {
    case 'count':
      writer.varint(reply.count)
      return
    case 'members':
      writer.varint(reply.members.length)
      for (const { id, metadata } of reply.members) {
        writer.text(id)
        writer.text(metadata)
      }
      return
    case 'node':
      writer.varint(reply.connections)
      writer.varint(reply.rooms)
      writer.varint(reply.uptimeMs)
      return
    case 'text':
    case 'binary':
      writer.rest(reply.value)
      return
    case 'failed':
      writer.text(reply.reason)
      return
  }
}

/** @returns `undefined` for an answer of a newer version; @throws {HubError} WSHUB_ERR_ENVELOPE */
export function readReply(reader: WireReader): Reply | undefined {
  const type = TYPES[reader.byte()]
  switch (type) {
    case undefined:
      return undefined
    case 'count':
      return { type, count: reader.varint() }
    case 'members': {
      const count = reader.varint()
      const members: MemberReply[] = []
      while (members.length < count) members.push({ id: reader.text(), metadata: reader.text() })
      return { type, members }
    }
    case 'node':
      return { type, connections: reader.varint(), rooms: reader.varint(), uptimeMs: reader.varint() }
    case 'text':
      return { type, value: reader.rest().toString() }
    case 'binary':
      return { type, value: reader.rest() }
    case 'nothing':
      return { type }
    case 'failed':
      return { type, reason: reader.text() }
  }
}
