import { HubError } from '../../base/errors.ts'
import type { SendOptions } from '../../protocol/message.ts'
import { malformed, textCapacity, textsCapacity, WireReader, WireWriter } from './codec.ts'
import { isNodeId } from './connection-id.ts'
import { type PresenceMessage, presenceCapacity, readPresence, writePresence } from './presence-message.ts'
import { type NodeRequest, readRequest, requestCapacity, writeRequest } from './request.ts'
import { type NodeResponse, readResponse, responseCapacity, writeResponse } from './response.ts'

/** The version of the envelopes that this package writes and reads. */
export const ENVELOPE_VERSION = 1

/** Header fields of an envelope after version and kind. */
export interface Stamp {
  /** The node that published it. */
  readonly node: string
  /**
   * The sequence of the publisher on this channel that the number belongs to; a later sequence has a higher
   * epoch.
   */
  readonly epoch: number
  /**
   * The number of envelopes that the publisher has counted in this epoch, this one included if its kind is
   * counted.
   */
  readonly sequence: number
}

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

/** The latest message of a node on a channel at the time of a call, which must not overtake it. */
export interface Barrier {
  readonly channel: string
  readonly epoch: number
  /** Its number. */
  readonly sequence: number
  /** Time, in whole ms, since it was published. */
  readonly ageMs: number
}

/** The content of an envelope. */
export type Body =
  | MessageBody
  | DirectBody
  /**
   * The node is alive. `isHello`: it has just connected, after `awayMs` without a connection, and asks for
   * heartbeats.
   */
  | { readonly kind: 'heartbeat'; readonly isHello: boolean; readonly awayMs: number }
  /** The node is closing. */
  | { readonly kind: 'leave' }
  /**
   * The sequence of the channel so far: shows a loss that no later message would show. A node that receives
   * its own, which it tells by `nonce`, knows that its messages come back. The first call after it publishes
   * all barriers again.
   */
  | { readonly kind: 'checkpoint'; readonly nonce: number }
  | { readonly kind: 'request'; readonly id: number; readonly request: NodeRequest }
  | {
      readonly kind: 'response'
      readonly id: number
      /** A long response is sent in parts, from 0. */
      readonly part: number
      readonly isLast: boolean
      readonly response: NodeResponse
    }
  /** Later requests of the publisher wait for these messages, on each node that receives it. */
  | { readonly kind: 'barriers'; readonly barriers: readonly Barrier[] }
  /** The members of rooms: on a room's channel, the control channel, or a node's. */
  | { readonly kind: 'presence'; readonly message: PresenceMessage }

// Positions are the numbers on the wire: append only.
const KINDS: readonly Body['kind'][] = [
  'message',
  'direct',
  'heartbeat',
  'leave',
  'checkpoint',
  'request',
  'response',
  'barriers',
  'presence',
]

const TEXT = 1
const EXCEPT = 2
const KEY = 4
const VOLATILE = 8
const UNION = 16
/** More than one id is excluded, or a room: a list of each. */
const EXCEPT_LISTS = 32
const ALL_FLAGS = 63
const HELLO = 1
const LAST = 1

/**
 * Returns whether an envelope of this kind has a number of its own. Every kind that is added later has one.
 */
export function isCounted(kind: Body['kind'] | undefined): boolean {
  return kind !== 'checkpoint' && kind !== 'heartbeat'
}

/** An envelope of which only the stamp has been read. */
export interface SealedEnvelope {
  readonly stamp: Stamp
  /** `undefined` for a kind that this version does not know. */
  readonly kind: Body['kind'] | undefined
  readonly reader: WireReader
}

/** Encodes one envelope. */
export function encodeEnvelope({ node, epoch, sequence }: Stamp, body: Body): Buffer {
  const writer = new WireWriter(20 + textCapacity(node) + bodyCapacity(body))
  writer.byte(ENVELOPE_VERSION)
  writer.byte(KINDS.indexOf(body.kind))
  writer.text(node)
  writer.varint(epoch)
  writer.varint(sequence)
  writeBody(writer, body)
  return writer.finish()
}

/**
 * Reads an envelope up to its body.
 * @throws {HubError} WSHUB_ERR_ENVELOPE when it is malformed, WSHUB_ERR_ENVELOPE_VERSION when another version
 *   wrote it
 */
export function openEnvelope(bytes: Buffer): SealedEnvelope {
  const reader = new WireReader(bytes)
  const version = reader.byte()
  if (version !== ENVELOPE_VERSION) throw unknown(`version ${version}`)
  const kind = KINDS[reader.byte()]
  const node = reader.text()
  if (!isNodeId(node)) throw malformed('invalid node id')
  return { stamp: { node, epoch: reader.varint(), sequence: reader.varint() }, kind, reader }
}

/**
 * Reads the body of an envelope.
 * @throws {HubError} WSHUB_ERR_ENVELOPE when it is malformed, WSHUB_ERR_ENVELOPE_VERSION when its kind, or
 *   something in it, is of a newer version
 */
export function readBody({ kind, reader }: SealedEnvelope): Body {
  switch (kind) {
    case undefined:
      throw unknown('an unknown kind')
    case 'message':
      return readMessage(reader)
    case 'direct': {
      const flags = readFlags(reader)
      const connectionId = reader.text()
      return { kind, connectionId, options: readOptions(reader, flags), data: readData(reader, flags) }
    }
    case 'heartbeat':
      return { kind, isHello: reader.byte() === HELLO, awayMs: reader.varint() }
    case 'leave':
      return { kind }
    case 'checkpoint':
      return { kind, nonce: reader.varint() }
    case 'request': {
      const id = reader.varint()
      const request = readRequest(reader)
      if (request === undefined) throw unknown('an unknown request')
      return { kind, id, request }
    }
    case 'response': {
      const [id, part, last] = [reader.varint(), reader.varint(), reader.byte()]
      const response = readResponse(reader)
      if (response === undefined) throw unknown('an unknown response')
      return { kind, id, part, isLast: last === LAST, response }
    }
    case 'barriers':
      return { kind, barriers: readBarriers(reader) }
    case 'presence': {
      const message = readPresence(reader)
      if (message === undefined) throw unknown('an unknown message about presence')
      return { kind, message }
    }
  }
}

function writeBody(writer: WireWriter, body: Body): void {
  switch (body.kind) {
    case 'message': {
      const { rooms, exceptIds, exceptRooms } = body
      const except = exceptFlag(body)
      writer.byte(flagsOf(body) | except | (rooms === undefined ? 0 : UNION))
      if (rooms !== undefined) {
        writer.varint(body.union)
        writer.texts(rooms)
      }
      if (except === EXCEPT) writer.text(exceptIds[0] ?? '')
      if (except === EXCEPT_LISTS) {
        writer.texts(exceptIds)
        writer.texts(exceptRooms)
      }
      if (body.options?.key !== undefined) writer.text(body.options.key)
      writer.rest(body.data)
      return
    }
    case 'direct':
      writer.byte(flagsOf(body))
      writer.text(body.connectionId)
      if (body.options?.key !== undefined) writer.text(body.options.key)
      writer.rest(body.data)
      return
    case 'heartbeat':
      writer.byte(body.isHello ? HELLO : 0)
      writer.varint(body.awayMs)
      return
    case 'checkpoint':
      writer.varint(body.nonce)
      return
    case 'request':
      writer.varint(body.id)
      writeRequest(writer, body.request)
      return
    case 'response':
      writer.varint(body.id)
      writer.varint(body.part)
      writer.byte(body.isLast ? LAST : 0)
      writeResponse(writer, body.response)
      return
    case 'barriers':
      writer.varint(body.barriers.length)
      for (const { channel, epoch, sequence, ageMs } of body.barriers) {
        writer.text(channel)
        for (const value of [epoch, sequence, ageMs]) writer.varint(value)
      }
      return
    case 'presence':
      writePresence(writer, body.message)
      return
  }
}

function bodyCapacity(body: Body): number {
  switch (body.kind) {
    case 'message': {
      let capacity = 16 + Buffer.byteLength(body.data)
      if (body.rooms !== undefined) capacity += textsCapacity(body.rooms)
      capacity += textsCapacity(body.exceptIds) + textsCapacity(body.exceptRooms)
      return capacity + keyCapacity(body.options)
    }
    case 'direct':
      return 16 + Buffer.byteLength(body.data) + textCapacity(body.connectionId) + keyCapacity(body.options)
    case 'request':
      return 16 + requestCapacity(body.request)
    case 'response':
      return 24 + responseCapacity(body.response)
    case 'barriers':
      return body.barriers.reduce((sum, barrier) => sum + barrierCapacity(barrier), 16)
    case 'presence':
      return 16 + presenceCapacity(body.message)
    default:
      return 16
  }
}

/** Returns the most bytes that a barrier takes. */
export function barrierCapacity({ channel }: Pick<Barrier, 'channel'>): number {
  return 24 + textCapacity(channel)
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

function readMessage(reader: WireReader): MessageBody {
  const flags = readFlags(reader)
  const isUnion = (flags & UNION) !== 0
  return {
    kind: 'message',
    union: isUnion ? reader.varint() : 0,
    rooms: isUnion ? reader.rooms() : undefined,
    ...readExcept(reader, flags),
    options: readOptions(reader, flags),
    data: readData(reader, flags),
  }
}

/** A single excluded id is written without a list, for versions that do not know the lists. */
function exceptFlag({ exceptIds, exceptRooms }: MessageBody): number {
  if (exceptRooms.length > 0 || exceptIds.length > 1) return EXCEPT_LISTS
  return exceptIds.length === 1 ? EXCEPT : 0
}

function readExcept(reader: WireReader, flags: number): Pick<MessageBody, 'exceptIds' | 'exceptRooms'> {
  if ((flags & EXCEPT_LISTS) !== 0) return { exceptIds: reader.texts(), exceptRooms: reader.rooms() }
  return { exceptIds: (flags & EXCEPT) === 0 ? [] : [reader.text()], exceptRooms: [] }
}

function readFlags(reader: WireReader): number {
  const flags = reader.byte()
  if (flags > ALL_FLAGS) throw unknown('an unknown flag')
  return flags
}

function readOptions(reader: WireReader, flags: number): SendOptions | undefined {
  const volatile = (flags & VOLATILE) !== 0
  if ((flags & KEY) === 0) return volatile ? { volatile } : undefined
  const key = reader.text()
  if (key === '') throw malformed('empty key')
  return { key, volatile }
}

/** Reads barriers. Each takes some bytes, so a false count costs no more than the bytes that arrived. */
function readBarriers(reader: WireReader): Barrier[] {
  const count = reader.varint()
  const barriers: Barrier[] = []
  while (barriers.length < count) {
    const channel = reader.text()
    barriers.push({ channel, epoch: reader.varint(), sequence: reader.varint(), ageMs: reader.varint() })
  }
  return barriers
}

/** Replaces invalid UTF-8 by U+FFFD: a browser would close a connection that receives it as text. */
function readData(reader: WireReader, flags: number): string | Buffer {
  const bytes = reader.rest()
  return (flags & TEXT) === 0 ? bytes : bytes.toString()
}

function unknown(what: string): HubError {
  return new HubError('WSHUB_ERR_ENVELOPE_VERSION', `a message of the cluster has ${what}`)
}
