import { malformed, textCapacity, tooNew, WireReader, WireWriter } from './codec.ts'
import { isNodeId } from './connection-id.ts'
import {
  type DirectBody,
  directCapacity,
  type MessageBody,
  messageCapacity,
  readDirect,
  readMessage,
  writeDirect,
  writeMessage,
} from './message-body.ts'
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
  if (version !== ENVELOPE_VERSION) throw tooNew(`version ${version}`)
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
      throw tooNew('an unknown kind')
    case 'message':
      return readMessage(reader)
    case 'direct':
      return readDirect(reader)
    case 'heartbeat':
      return { kind, isHello: reader.byte() === HELLO, awayMs: reader.varint() }
    case 'leave':
      return { kind }
    case 'checkpoint':
      return { kind, nonce: reader.varint() }
    case 'request': {
      const id = reader.varint()
      const request = readRequest(reader)
      if (request === undefined) throw tooNew('an unknown request')
      return { kind, id, request }
    }
    case 'response': {
      const [id, part, last] = [reader.varint(), reader.varint(), reader.byte()]
      const response = readResponse(reader)
      if (response === undefined) throw tooNew('an unknown response')
      return { kind, id, part, isLast: last === LAST, response }
    }
    case 'barriers':
      return { kind, barriers: readBarriers(reader) }
    case 'presence': {
      const message = readPresence(reader)
      if (message === undefined) throw tooNew('an unknown message about presence')
      return { kind, message }
    }
  }
}

function writeBody(writer: WireWriter, body: Body): void {
  switch (body.kind) {
    case 'message':
      writeMessage(writer, body)
      return
    case 'direct':
      writeDirect(writer, body)
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
    case 'message':
      return messageCapacity(body)
    case 'direct':
      return directCapacity(body)
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
