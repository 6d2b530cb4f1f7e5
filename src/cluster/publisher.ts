import { HubError } from '../base/errors.ts'
import { runHandler } from '../base/run-handler.ts'
import { type Payload, payloadBytes, type SendOptions } from '../protocol/message.ts'
import { Checkpoints } from './checkpoints.ts'
import { type EarlyMessage, EarlyMessages } from './early-messages.ts'
import type { LinkParts } from './link-parts.ts'
import type { Recipients } from './local-hub.ts'
import { type OutgoingChannel, Sequences } from './sequences.ts'
import { EVERYONE } from './wire/channel-names.ts'
import { nodeOf } from './wire/connection-id.ts'
import { type Barrier, type Body, barrierCapacity, encodeEnvelope, isCounted } from './wire/envelope.ts'
import type { DirectBody, MessageBody } from './wire/message-body.ts'
import { isRead, type NodeRequest } from './wire/request.ts'
import type { NodeResponse } from './wire/response.ts'

/**
 * A message to the union of more rooms than this is published once, to everyone, and not once for each room.
 */
const MAX_UNION_CHANNELS = 32
/** Barriers are published in parts of about this size, together with the rest of the envelope. */
const BARRIERS_BYTES = 65_536
const BARRIERS_OVERHEAD_BYTES = 256
/** Sequences that were not used for this many beats are forgotten. */
const FORGET_BEATS = 240

/**
 * Publishes the messages, requests and responses of a node. Messages wait until the cluster is reached for
 * the first time.
 */
export class Publisher {
  readonly #parts: LinkParts
  readonly #node: string
  /** The beginning of the ids of this node's connections. */
  readonly #idPrefix: string
  readonly #early: EarlyMessages
  /** Whether the cluster has not been reached yet. */
  #isEarly = true
  readonly #checkpoints: Checkpoints
  #unions = 0
  #beats = 0
  /** The channels that this node publishes on. */
  readonly channels: Sequences

  constructor(parts: LinkParts) {
    this.#parts = parts
    this.#node = parts.local.node
    this.#idPrefix = `${this.#node}.`
    this.#early = new EarlyMessages(parts.options.maxEarlyBytes)
    this.channels = new Sequences(parts.names)
    this.#checkpoints = new Checkpoints(this.channels, (channel) => {
      this.publish(channel, { kind: 'checkpoint', nonce: 0 })
    })
  }

  /** Whether messages wait until the cluster is reached for the first time. */
  get hasWaiting(): boolean {
    return this.#early.size > 0
  }

  /** Publishes a message to the members of rooms, or to all connections. */
  broadcast(
    { rooms, exceptIds, exceptRooms }: Recipients,
    data: Payload,
    options: SendOptions | undefined,
  ): void {
    const names = rooms !== undefined && rooms.length > 1 ? [...new Set(rooms)] : rooms
    const isUnion = names !== undefined && names.length > 1
    const isWide = isUnion && names.length > MAX_UNION_CHANNELS
    const body: MessageBody = {
      kind: 'message',
      data: typeof data === 'string' ? data : payloadBytes(data),
      rooms: isUnion ? names : undefined,
      union: isUnion && !isWide ? ++this.#unions : 0,
      exceptIds: exceptIds.filter((id) => !id.startsWith(this.#idPrefix)),
      exceptRooms,
      options,
    }
    if (names === undefined || isWide) this.#send(this.channels.room(EVERYONE), body)
    else for (const room of names) this.#send(this.channels.room(room), body)
  }

  /**
   * Publishes a message to one connection of another node.
   * @returns `false` when it certainly does not arrive
   */
  direct(connectionId: string, data: Payload, options: SendOptions | undefined): boolean {
    const node = nodeOf(connectionId)
    if (node === undefined || node === this.#node) return false
    const bytes = typeof data === 'string' ? data : payloadBytes(data)
    return this.#send(this.channels.node(node), { kind: 'direct', connectionId, data: bytes, options })
  }

  /** @see Link.ask */
  ask(node: string | undefined, id: number, request: NodeRequest): boolean {
    const channel = node === undefined ? this.channels.control : this.channels.node(node)
    if (!isRead(request.op) && !this.#publishBarriers(channel)) return false
    return this.publish(channel, { kind: 'request', id, request })
  }

  /** Answers a request, in as many parts as there are responses. */
  respond(node: string, id: number, responses: readonly NodeResponse[]): void {
    responses.forEach((response, part) => {
      const isLast = part === responses.length - 1
      this.publish(this.channels.node(node), { kind: 'response', id, part, isLast, response })
    })
  }

  /** Publishes something other than a message. @returns whether the backplane accepted it */
  publish(channel: OutgoingChannel, body: Body): boolean {
    if (this.#parts.membership.state === 'closed') return false
    const bytes = this.#encode(channel, body)
    if (bytes === undefined) return false
    if (!this.#handOver(channel, bytes)) {
      if (isCounted(body.kind)) this.#leftOut(channel)
      return false
    }
    if (body.kind === 'checkpoint') channel.barriersAt = 0 // receivers rely on it
    return true
  }

  /**
   * Publishes the latest numbers of the sequences that were used within that time, so that a node which
   * missed the last messages sees a gap.
   */
  publishCheckpoints(awayMs: number): void {
    this.#checkpoints.since(this.#beatBefore(awayMs))
  }

  /**
   * Publishes how far the sequences are that were used while this node was away. They count as used now: a
   * node that misses the checkpoints, since it is away itself, will ask for them.
   */
  reconnected(awayMs: number): void {
    for (const channel of this.channels.usedSince(this.#beatBefore(awayMs))) channel.usedAt = this.#beats
    this.publishCheckpoints(awayMs)
  }

  /** A node is back, which may have missed barriers: the next calls to it publish them again. */
  nodeReturned(node: string): void {
    this.channels.control.barriersAt = undefined
    this.channels.node(node).barriersAt = undefined
  }

  /** Publishes what waited for the cluster. */
  connected(): void {
    // Reporting an error may let the application publish more, which must not overtake what waits.
    while (this.hasWaiting) for (const message of this.#early.take()) this.#publishMessage(message)
    this.#isEarly = false
  }

  /** Publishes a heartbeat. */
  beat(): void {
    this.#beats++
    this.publish(this.channels.control, { kind: 'heartbeat', isHello: false, awayMs: 0 })
  }

  /** Forgets sequences that were not used for a long time. */
  forget(): void {
    this.channels.forget(this.#beats - FORGET_BEATS)
  }

  close(): void {
    this.#checkpoints.stop()
    const { length } = this.#early.take()
    if (length > 0) this.#notPublished(length, 'the cluster was left before it was reached')
  }

  /** Returns the beat at which something happened so many ms ago, or an earlier one. */
  #beatBefore(ms: number): number {
    return this.#beats - Math.ceil(ms / this.#parts.options.heartbeatIntervalMs) - 1
  }

  #send(channel: OutgoingChannel, body: MessageBody | DirectBody): boolean {
    if (this.#parts.membership.state === 'closed') {
      this.#notPublished(1, 'the cluster was left')
      return false
    }
    const bytes = this.#encode(channel, body)
    if (bytes === undefined) {
      this.#parts.stats.unpublished++
      return false
    }
    const message: EarlyMessage = { channel, sequence: channel.sequence, bytes }
    if (!this.#isEarly) return this.#publishMessage(message)
    if (this.#early.add(message)) return true
    this.#leftOut(channel)
    this.#notPublished(1, 'more than maxEarlyBytes would wait until the cluster is reached')
    return false
  }

  #publishMessage({ channel, sequence, bytes }: EarlyMessage): boolean {
    if (this.#handOver(channel, bytes)) {
      this.channels.accepted(channel, sequence)
      this.#parts.stats.published++
      return true
    }
    this.#leftOut(channel)
    this.#parts.stats.unpublished++
    return false
  }

  #notPublished(count: number, why: string): void {
    const { stats, faults } = this.#parts
    stats.unpublished += count
    const what = count === 1 ? '1 message was' : `${count} messages were`
    faults.add(new HubError('WSHUB_ERR_NOT_PUBLISHED', `${what} not published: ${why}`))
  }

  #publishBarriers(channel: OutgoingChannel): boolean {
    const isAnew = channel.barriersAt === undefined
    if (isAnew && !this.publish(channel, { kind: 'checkpoint', nonce: 0 })) return false
    const now = performance.now()
    const { maxEnvelopeBytes } = this.#parts.options
    const mostBytes = Math.min(BARRIERS_BYTES, maxEnvelopeBytes - BARRIERS_OVERHEAD_BYTES)
    let part: Barrier[] = []
    let bytes = 0
    const parts = [part]
    for (const barrier of this.channels.barriers(channel, now)) {
      const size = barrierCapacity(barrier)
      if (bytes + size > mostBytes) {
        part = []
        bytes = 0
        parts.push(part)
      }
      part.push(barrier)
      bytes += size
    }
    for (const barriers of parts) {
      if (barriers.length > 0 && !this.publish(channel, { kind: 'barriers', barriers })) return false
    }
    channel.barriersAt = now
    return true
  }

  /**
   * Encodes an envelope. One that is not published afterwards has its number in the sequence too, so that the
   * others see a gap.
   * @returns `undefined` when it is too long
   */
  #encode(channel: OutgoingChannel, body: Body): Buffer | undefined {
    if (isCounted(body.kind)) {
      channel.sequence++
      channel.usedAt = this.#beats
    }
    const { epoch, sequence } = channel
    const bytes = encodeEnvelope({ node: this.#node, epoch, sequence }, body)
    const { options, faults } = this.#parts
    if (bytes.length <= options.maxEnvelopeBytes) return bytes
    const message = `a message takes ${bytes.length} bytes in the cluster, more than maxEnvelopeBytes`
    faults.add(new HubError('WSHUB_ERR_ENVELOPE_TOO_BIG', message))
    this.#leftOut(channel)
    return undefined
  }

  /** An envelope with a number was not published: the others will miss it, and it may have barriers. */
  #leftOut(channel: OutgoingChannel): void {
    channel.barriersAt = undefined
  }

  #handOver(channel: OutgoingChannel, bytes: Buffer): boolean {
    const { backplane, faults, membership } = this.#parts
    let isAccepted: boolean | undefined
    const publish = () => {
      isAccepted = backplane.publish(channel.name, bytes)
      return isAccepted // an application's own backplane may be async by mistake
    }
    runHandler('backplane.publish', publish, {
      failed: (error) => faults.addBackplane('failed to publish a message', error),
    })
    if (isAccepted === false && membership.state === 'connected') {
      faults.addBackplane('rejected a message: its queue is full or it is disconnecting')
    }
    return isAccepted === true
  }
}
