import { textCapacity, type WireReader, type WireWriter } from './codec.ts'

/** A connection as other nodes see it. */
export interface MemberRecord {
  readonly id: string
  /** The public part of its metadata as JSON; empty for none. */
  readonly metadata: string
}

/** The response of a node to a request. */
export type NodeResponse =
  | { readonly type: 'count'; readonly count: number }
  | { readonly type: 'members'; readonly members: readonly MemberRecord[] }
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
const TYPES: readonly NodeResponse['type'][] = [
  'count',
  'members',
  'node',
  'text',
  'binary',
  'nothing',
  'failed',
]

/** Returns the most bytes that {@link writeResponse} writes. */
export function responseCapacity(response: NodeResponse): number {
  switch (response.type) {
    case 'members': {
      let capacity = 16
      for (const member of response.members) capacity += memberCapacity(member)
      return capacity
    }
    case 'text':
    case 'binary':
      return 16 + Buffer.byteLength(response.value)
    case 'failed':
      return 16 + textCapacity(response.reason)
    default:
      return 32
  }
}

/** Returns the most bytes that a member takes in a response. */
export function memberCapacity({ id, metadata }: MemberRecord): number {
  return textCapacity(id) + textCapacity(metadata)
}

export function writeResponse(writer: WireWriter, response: NodeResponse): void {
  writer.byte(TYPES.indexOf(response.type))
  switch (response.type) {
    case 'count':
      writer.varint(response.count)
      return
    case 'members':
      writer.varint(response.members.length)
      for (const { id, metadata } of response.members) {
        writer.text(id)
        writer.text(metadata)
      }
      return
    case 'node':
      writer.varint(response.connections)
      writer.varint(response.rooms)
      writer.varint(response.uptimeMs)
      return
    case 'text':
    case 'binary':
      writer.rest(response.value)
      return
    case 'failed':
      writer.text(response.reason)
      return
  }
}

/** Reads a response. @returns `undefined` for one of a newer version @throws {HubError} WSHUB_ERR_ENVELOPE */
export function readResponse(reader: WireReader): NodeResponse | undefined {
  const type = TYPES[reader.byte()]
  switch (type) {
    case undefined:
      return undefined
    case 'count':
      return { type, count: reader.varint() }
    case 'members': {
      const count = reader.varint()
      const members: MemberRecord[] = []
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
