import { malformed, textCapacity, textsCapacity, type WireReader, type WireWriter } from './codec.ts'

/** The connections that a request is about. */
export interface Selection {
  readonly by: 'all' | 'room' | 'id'
  /** Ids or rooms; empty for `all`. */
  readonly names: readonly string[]
}

/** A request of one node to others. */
export type NodeRequest =
  | { readonly op: 'size' | 'members'; readonly rooms: readonly string[] }
  | { readonly op: 'connections' | 'node' }
  | { readonly op: 'join' | 'leave'; readonly selection: Selection; readonly rooms: readonly string[] }
  | {
      readonly op: 'disconnect'
      readonly selection: Selection
      readonly code: number
      readonly reason: string
    }
  | {
      readonly op: 'call'
      readonly name: string
      /** The time that the caller waits for the answer. */
      readonly timeoutMs: number
      readonly payload: string | Uint8Array
    }

// Positions are the numbers on the wire: append only.
const OPS: readonly NodeRequest['op'][] = [
  'size',
  'members',
  'connections',
  'node',
  'join',
  'leave',
  'disconnect',
  'call',
]
const SELECTIONS: readonly Selection['by'][] = ['all', 'room', 'id']
const BINARY = 0
const TEXT = 1

/** Returns whether the answer does not depend on what was published before, and nothing changes. */
export function isRead(op: NodeRequest['op']): boolean {
  return op === 'size' || op === 'members' || op === 'connections' || op === 'node'
}

/** Returns the most bytes that {@link writeRequest} writes. */
export function requestCapacity(request: NodeRequest): number {
  let capacity = 32
  if ('rooms' in request) capacity += textsCapacity(request.rooms)
  if ('selection' in request) capacity += textsCapacity(request.selection.names)
  if (request.op === 'disconnect') capacity += textCapacity(request.reason)
  if (request.op === 'call') capacity += textCapacity(request.name) + Buffer.byteLength(request.payload)
  return capacity
}

export function writeRequest(writer: WireWriter, request: NodeRequest): void {
  writer.byte(OPS.indexOf(request.op))
  switch (request.op) {
    case 'size':
    case 'members':
      writer.texts(request.rooms)
      return
    case 'join':
    case 'leave':
      writeSelection(writer, request.selection)
      writer.texts(request.rooms)
      return
    case 'disconnect':
      writeSelection(writer, request.selection)
      writer.varint(request.code)
      writer.text(request.reason)
      return
    case 'call':
      writer.text(request.name)
      writer.varint(request.timeoutMs)
      writer.byte(typeof request.payload === 'string' ? TEXT : BINARY)
      writer.rest(request.payload)
      return
  }
}

/** Reads a request. @returns `undefined` for one of a newer version @throws {HubError} WSHUB_ERR_ENVELOPE */
export function readRequest(reader: WireReader): NodeRequest | undefined {
  const op = OPS[reader.byte()]
  switch (op) {
    case undefined:
      return undefined
    case 'size':
    case 'members':
      return { op, rooms: reader.rooms() }
    case 'connections':
    case 'node':
      return { op }
    case 'join':
    case 'leave':
      return { op, selection: readSelection(reader), rooms: reader.rooms() }
    case 'disconnect':
      return { op, selection: readSelection(reader), code: reader.varint(), reason: reader.text() }
    case 'call': {
      const name = reader.text()
      const timeoutMs = reader.varint()
      const isText = reader.byte() === TEXT
      return { op, name, timeoutMs, payload: isText ? reader.rest().toString() : reader.rest() }
    }
  }
}

function writeSelection(writer: WireWriter, { by, names }: Selection): void {
  writer.byte(SELECTIONS.indexOf(by))
  writer.texts(names)
}

function readSelection(reader: WireReader): Selection {
  const by = SELECTIONS[reader.byte()]
  if (by === undefined) throw malformed('unknown selection of connections')
  return { by, names: reader.texts() }
}
