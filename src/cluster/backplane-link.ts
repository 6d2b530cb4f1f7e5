import type { Backplane, BackplaneState } from '../backplane/backplane.ts'
import { HubError } from '../base/errors.ts'
import { runHandler } from '../base/run-handler.ts'
import { textOf } from '../base/thrown.ts'
import { settlesWithin } from '../base/time-limit.ts'
import { type Payload, payloadBytes, type SendOptions } from '../protocol/message.ts'
import type { ResolvedClusterOptions } from './cluster-options.ts'
import { type EarlyMessage, EarlyMessages } from './early-messages.ts'
import { FaultDigest } from './fault-digest.ts'
import { Gaps } from './gaps.ts'
import { HeldRequests } from './held-requests.ts'
import { type Link, type LinkListener, type LinkStats, newLinkStats } from './link.ts'
import type { LocalHub, Recipients } from './local-hub.ts'
import { Membership } from './membership.ts'
import { ReplayWindow } from './replay-window.ts'
import { type OutgoingChannel, Sequences } from './sequences.ts'
import { type Subscription, Subscriptions } from './subscriptions.ts'
import { ChannelNames, EVERYONE } from './wire/channel-names.ts'
import { malformed } from './wire/codec.ts'
import {
  type Barrier,
  type Body,
  barrierCapacity,
  type DirectBody,
  encodeEnvelope,
  isCounted,
  type MessageBody,
  nodeOf,
  openEnvelope,
  readBody,
  type SealedEnvelope,
  type Stamp,
} from './wire/envelope.ts'
import type { NodeRequest } from './wire/request.ts'
import type { NodeResponse } from './wire/response.ts'

/** A union of more rooms than this is published once, for everyone's nodes, and not once for each room. */
const MAX_UNION_CHANNELS = 32
/** Most rooms whose channels are probed when the engine is back. */
const MAX_PROBED_ROOMS = 16
/** Nodes that come back together are told once how far the counts are. */
const CHECKPOINT_DELAY_MS = 200
/** Most counts that are told then, and how many of them at a time: all nodes do so when one comes back. */
const MAX_CHECKPOINTS = 10_000
const CHECKPOINTS_A_BATCH = 100
/** Between two batches. */
const CHECKPOINTS_EVERY_MS = 10
/** What has not been used for so many beats is forgotten; looked for once in so many. */
const FORGET_BEATS = 240
const SWEEP_BEATS = 12
/** Publishers of unions that are remembered, a kilobyte each. */
const MAX_WINDOWS = 10_000
/** Barriers are published in parts of about so many bytes, with the rest of the envelope. */
const BARRIERS_BYTES = 65_536
const BARRIERS_OVERHEAD_BYTES = 256
/** A request does not wait for messages until nobody waits for its answer. */
const HOLD_SHARE = 1 / 2
/** How long a backplane may take to close. */
const CLOSE_TIMEOUT_MS = 5_000

/**
 * A node's part in a cluster, over one backplane: publishes and receives envelopes, listens to the channels of the rooms
 * that have a member here, knows the other nodes, notices what is lost, and proves by a message to itself that it is connected.
 */
export class BackplaneLink implements Link {
  readonly #backplane: Backplane
  readonly #node: string
  /** What the ids of this node's connections begin with. */
  readonly #prefix: string
  readonly #options: ResolvedClusterOptions
  readonly #local: LocalHub
  readonly #listener: LinkListener
  readonly #channels: ChannelNames
  readonly #sequences: Sequences
  readonly #subscriptions: Subscriptions
  readonly #membership: Membership
  readonly #faults: FaultDigest
  readonly #gaps = new Gaps()
  readonly #held: HeldRequests
  readonly #early: EarlyMessages
  /** Whether the node was never connected. */
  #isEarly = true
  /** Unions of rooms that have come, by their publisher. */
  readonly #windows = new Map<string, ReplayWindow>()
  readonly stats: LinkStats = newLinkStats()
  /** Whether this node's own channels are subscribed. */
  #isListening = false
  #unions = 0
  #beats = 0
  readonly #heartbeat: NodeJS.Timeout
  #checkpointTimer: NodeJS.Timeout | undefined
  /** The beat from which on counts are to be told; `undefined` when those that were wanted are in `#checkpoints`. */
  #checkpointsFrom: number | undefined
  /** Counts that are still to be told. */
  #checkpoints: OutgoingChannel[] = []

  constructor(
    backplane: Backplane,
    local: LocalHub,
    options: ResolvedClusterOptions,
    listener: LinkListener,
  ) {
    const { node } = local
    this.#backplane = backplane
    this.#node = node
    this.#prefix = `${node}.`
    this.#options = options
    this.#local = local
    this.#listener = listener
    this.#channels = new ChannelNames(options.namespace)
    this.#sequences = new Sequences(this.#channels)
    this.#early = new EarlyMessages(options.maxEarlyBytes)
    this.#faults = new FaultDigest((error) => local.report(error))
    this.#membership = new Membership(
      {
        allChannels: () => this.#channelsOf(this.#subscriptions.live(MAX_PROBED_ROOMS)),
        nextChannels: () => {
          const room = this.#subscriptions.nextLive()
          return this.#channelsOf(room === undefined ? [] : [room])
        },
        probe: (channel, nonce) => this.#probe(channel, nonce),
        connected: (awayMs) => this.#connected(awayMs),
        disconnected: (why) =>
          this.#backplaneFailed(`${why}, and messages reach the connections of this node only`),
        closed: () => this.#closed(),
        nodeGone: (other) => listener.nodeGone(other),
        stateChanged: (state) => local.stateChanged(state),
      },
      options,
    )
    this.#subscriptions = new Subscriptions(
      {
        subscribe: async (channel) => backplane.subscribe(channel),
        unsubscribe: (channel) => {
          runHandler('backplane.unsubscribe', () => backplane.unsubscribe(channel), {
            failed: (error) => this.#backplaneFailed('it does not end a subscription', error),
          })
        },
        failed: (error) => this.#backplaneFailed('it refused a subscription', error),
        left: (channel) => {
          this.#gaps.leave(channel)
          this.#membership.forget(channel)
        },
      },
      (room) => this.#channels.room(room),
      options.roomGraceMs,
    )
    this.#held = new HeldRequests(
      {
        isPassed: (from, barrier) => this.#isPassed(from, barrier),
        expired: (from, barrier) => this.#expired(from, barrier),
        ask: (from, id, request) => listener.asked(from, id, request),
        refuse: (from, id) => {
          this.respond(from, id, [{ type: 'failed', reason: 'the node is busy with other calls' }])
        },
      },
      options.callTimeoutMs * HOLD_SHARE,
    )
    this.#heartbeat = setInterval(() => this.#beat(), options.heartbeatIntervalMs).unref()
    void this.#start()
    const own = [this.#channels.node(node), this.#channels.control]
    void Promise.all(own.map((channel) => this.#subscriptions.pin(channel).settled)).then(() => {
      this.#isListening = true
      this.#moved()
    })
  }

  /** `connected` only while what this node publishes comes back to it. */
  get state(): BackplaneState {
    return this.#membership.state
  }

  /** Other nodes that are known to live. */
  get peers(): string[] {
    return this.#membership.peers
  }

  /** Whether the cluster was never reached, and may be yet. */
  get isStarting(): boolean {
    return this.state === 'connecting'
  }

  /** Whether the node is known to live. */
  knows(node: string): boolean {
    return this.#membership.knows(node)
  }

  /** Rooms that are listened to. */
  get rooms(): number {
    return this.#subscriptions.rooms
  }

  /** Time, in ms, until all nodes that live have had the time to be known; 0 when it is over. */
  get settlingMs(): number {
    return this.#membership.settlingMs
  }

  /** Resolves when connected. @throws {HubError} WSHUB_ERR_HUB_CLOSED */
  ready(): Promise<void> {
    return this.#membership.ready()
  }

  /** A room has its first member here, or the hub its first connection ({@link EVERYONE}). */
  occupied(room: string): void {
    if (this.state !== 'closed') this.#subscriptions.occupied(room)
  }

  /** It has lost its last. */
  vacated(room: string): void {
    this.#subscriptions.vacated(room)
  }

  /** Resolves when messages to these rooms come, at once while the engine is away. */
  async listening(rooms: readonly string[]): Promise<void> {
    if (this.state === 'connected') await this.#subscriptions.settled(rooms)
  }

  /** Publishes to the members of rooms, or to all connections, on the other nodes. */
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
      exceptIds: exceptIds.filter((id) => !id.startsWith(this.#prefix)),
      exceptRooms,
      options,
    }
    if (names === undefined || isWide) this.#send(this.#sequences.room(EVERYONE), body)
    else for (const room of names) this.#send(this.#sequences.room(room), body)
  }

  /** Publishes to one connection of another node; `false` when it surely does not arrive. */
  direct(connectionId: string, data: Payload, options: SendOptions | undefined): boolean {
    const node = nodeOf(connectionId)
    if (node === undefined || node === this.#node) return false
    const bytes = typeof data === 'string' ? data : payloadBytes(data)
    return this.#send(this.#sequences.node(node), { kind: 'direct', connectionId, data: bytes, options })
  }

  /**
   * Asks all nodes, or one; `false` when it surely does not arrive. What changes something there, or may, happens behind the
   * messages that were published before.
   */
  ask(node: string | undefined, id: number, request: NodeRequest): boolean {
    const channel = node === undefined ? this.#sequences.control : this.#sequences.node(node)
    if (!isRead(request) && !this.#publishBarriers(channel)) return false
    return this.#publish(channel, { kind: 'request', id, request })
  }

  /** Answers a request, in as many parts as there are responses. */
  respond(node: string, id: number, responses: readonly NodeResponse[]): void {
    responses.forEach((response, part) => {
      const isLast = part === responses.length - 1
      this.#publish(this.#sequences.node(node), { kind: 'response', id, part, isLast, response })
    })
  }

  /**
   * Says goodbye, and closes the backplane.
   * @param timeoutMs how long to wait for the cluster where messages wait for it
   */
  async close(timeoutMs: number): Promise<void> {
    if (this.#early.size > 0) await settlesWithin(timeoutMs, this.ready())
    if (this.state === 'closed') return this.#closeBackplane()
    this.#publish(this.#sequences.control, { kind: 'leave' })
    this.#membership.close()
    await this.#closeBackplane()
  }

  async #start(): Promise<void> {
    try {
      await this.#backplane.start({
        onMessage: (channel, bytes) => this.#received(channel, bytes),
        onStateChange: () => this.#moved(),
        onError: (error) => this.#backplaneFailed('it recovers from an error', error),
      })
      this.#moved()
    } catch (error) {
      if (this.state === 'closed') return
      this.#backplaneFailed('it cannot start', error)
      this.#membership.close()
    }
  }

  async #closeBackplane(): Promise<void> {
    const close = async () => {
      try {
        await this.#backplane.close()
      } catch (error) {
        this.#backplaneFailed('it does not close', error)
      }
    }
    await settlesWithin(CLOSE_TIMEOUT_MS, close())
  }

  // What goes out.

  #send(channel: OutgoingChannel, body: MessageBody | DirectBody): boolean {
    if (this.state === 'closed') {
      this.#notPublished(1, 'the cluster was left')
      return false
    }
    const bytes = this.#encode(channel, body)
    const { sequence } = channel
    if (bytes === undefined) {
      this.stats.unpublished++
      return false
    }
    if (!this.#isEarly) return this.#hand({ channel, sequence, bytes })
    if (this.#early.add({ channel, sequence, bytes })) return true
    this.#notPublished(1, 'more than maxEarlyBytes would wait until the cluster is reached')
    return false
  }

  #hand({ channel, sequence, bytes }: EarlyMessage): boolean {
    if (this.#carry(channel, bytes)) {
      this.#sequences.accepted(channel, sequence)
      this.stats.published++
      return true
    }
    this.stats.unpublished++
    return false
  }

  #notPublished(count: number, why: string): void {
    this.stats.unpublished += count
    const what = count === 1 ? '1 message was' : `${count} messages were`
    this.#faults.add(new HubError('WSHUB_ERR_NOT_PUBLISHED', `${what} not published: ${why}`))
  }

  #publishBarriers(channel: OutgoingChannel): boolean {
    const now = performance.now()
    const mostBytes = Math.min(BARRIERS_BYTES, this.#options.maxEnvelopeBytes - BARRIERS_OVERHEAD_BYTES)
    let part: Barrier[] = []
    let bytes = 0
    const parts = [part]
    for (const barrier of this.#sequences.barriers(channel, now)) {
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
      if (barriers.length > 0 && !this.#publish(channel, { kind: 'barriers', barriers })) return false
    }
    channel.barriersAt = now
    return true
  }

  #publish(channel: OutgoingChannel, body: Body): boolean {
    if (this.state === 'closed') return false
    const bytes = this.#encode(channel, body)
    return bytes !== undefined && this.#carry(channel, bytes)
  }

  /** What is not published has its number too: the others see a gap. @returns `undefined` when it is too long */
  #encode(channel: OutgoingChannel, body: Body): Buffer | undefined {
    if (isCounted(body.kind)) {
      channel.sequence++
      channel.usedAt = this.#beats
    }
    const { epoch, sequence } = channel
    const bytes = encodeEnvelope({ node: this.#node, epoch, sequence }, body)
    if (bytes.length <= this.#options.maxEnvelopeBytes) return bytes
    const message = `a message takes ${bytes.length} bytes in the cluster, more than maxEnvelopeBytes`
    this.#faults.add(new HubError('WSHUB_ERR_ENVELOPE_TOO_BIG', message))
    return undefined
  }

  #carry(channel: OutgoingChannel, bytes: Buffer): boolean {
    let isAccepted: boolean | undefined
    const publish = () => {
      isAccepted = this.#backplane.publish(channel.name, bytes)
      return isAccepted // an application's own may have been made async
    }
    runHandler('backplane.publish', publish, {
      failed: (error) => this.#backplaneFailed('it does not take a message', error),
    })
    if (isAccepted === false && this.state === 'connected') {
      this.#backplaneFailed('it does not take a message: too much is waiting, or it is just going away')
    }
    return isAccepted === true
  }

  // What comes in.

  #received(channel: string, bytes: Buffer): void {
    try {
      if (this.state !== 'closed') this.#take(channel, openEnvelope(bytes), bytes.length)
    } catch (cause) {
      const error = cause instanceof HubError ? cause : malformed('it cannot be handled', cause)
      if (error.code === 'WSHUB_ERR_ENVELOPE_VERSION') this.stats.unknown++
      else this.stats.malformed++
      this.#faults.add(error)
    }
  }

  #take(channel: string, envelope: SealedEnvelope, size: number): void {
    const { stamp } = envelope
    if (stamp.node === this.#node) {
      this.#heardSelf(channel, envelope)
      return
    }
    const subscription = this.#subscriptions.find(channel)
    if (subscription === undefined) return // a message of a channel that was left came late
    // Before the engine has confirmed, messages may still come from an earlier subscription: they set no count.
    if (subscription.isLive) {
      const missing = this.#gaps.follow(channel, stamp, isCounted(envelope.kind), this.#beats)
      if (missing === 'repeated') {
        this.stats.repeated++
        return
      }
      if (missing > 0) this.#lost(subscription, stamp, missing)
    }
    try {
      this.#open(subscription, stamp, readBody(envelope), size)
    } finally {
      this.#held.progressed(stamp.node, channel) // also where it makes no sense: it has come
    }
  }

  #open(subscription: Subscription, { node }: Stamp, body: Body, size: number): void {
    switch (body.kind) {
      case 'message':
        this.#deliver(subscription, node, body)
        return
      case 'direct':
        this.stats.received++
        this.#local.sendTo(body.connectionId, body.data, body.options)
        return
      case 'heartbeat':
        this.#membership.heard(node)
        if (!body.isHello) return
        this.#publish(this.#sequences.node(node), { kind: 'heartbeat', isHello: false, awayMs: 0 })
        if (body.awayMs > 0) this.#checkpointsSince(body.awayMs)
        return
      case 'leave':
        this.#windows.delete(node)
        this.#membership.nodeLeft(node)
        return
      case 'request':
        this.#held.ask(node, body.id, body.request, size)
        return
      case 'barriers':
        this.#held.add(node, body.barriers, size)
        return
      case 'response':
        this.#listener.responded(node, body.id, body.part, body.isLast, body.response)
        return
    }
  }

  #deliver(subscription: Subscription, node: string, body: MessageBody): void {
    const { room } = subscription
    if (room === undefined) return // such a message has no business on a node's own channel
    if (body.union > 0) {
      const verdict = this.#window(node).add(body.union, this.#beats)
      if (verdict === 'late') this.#lost(subscription, { node }, 1)
      if (verdict !== 'new') return
    }
    this.stats.received++
    const { exceptIds, exceptRooms, data, options } = body
    const rooms = body.rooms ?? (room === EVERYONE ? undefined : [room])
    this.#local.broadcast({ rooms, exceptIds, exceptRooms }, data, options)
  }

  /** Whether a message that was published before a request has come, or is not for this node. */
  #isPassed(node: string, { channel, epoch, sequence, ageMs }: Barrier): boolean {
    const subscription = this.#subscriptions.find(channel)
    if (subscription === undefined || !subscription.isLive) return true
    // Where nothing of that node has come yet, it matters whether the message is older than the subscription.
    return (
      this.#gaps.has(channel, { node, epoch, sequence }) ?? ageMs > performance.now() - subscription.liveAt
    )
  }

  /** Reports a message that was published before a request, and has not come in time, as missing: it will not be delivered. */
  #expired(node: string, { channel, epoch, sequence }: Barrier): void {
    const subscription = this.#subscriptions.find(channel)
    if (subscription === undefined || !subscription.isLive) return
    const missing = this.#gaps.follow(channel, { node, epoch, sequence }, false, this.#beats)
    if (missing !== 'repeated' && missing > 0) this.#lost(subscription, { node }, missing)
  }

  #window(node: string): ReplayWindow {
    const known = this.#windows.get(node)
    if (known !== undefined) return known
    const window = new ReplayWindow()
    const [oldest] = this.#windows.keys()
    if (oldest !== undefined && this.#windows.size >= MAX_WINDOWS) this.#windows.delete(oldest)
    this.#windows.set(node, window)
    return window
  }

  #lost({ room, channel, isIdle }: Subscription, { node }: Pick<Stamp, 'node'>, count: number): void {
    if (channel === this.#channels.control || isIdle) return // nobody missed it
    this.stats.lost += count
    const scope = room === undefined ? 'direct' : room === EVERYONE ? 'everyone' : 'room'
    this.#local.gapFound({ node, scope, room: scope === 'room' ? room : undefined, count })
  }

  // Being connected, and knowing it.

  #moved(): void {
    // Before its own channels are subscribed, a node could not hear what it probes.
    let state: BackplaneState
    try {
      state = this.#backplane.state
    } catch (error) {
      this.#backplaneFailed('it does not say its state', error)
      return
    }
    if (this.#isListening || state !== 'connected') this.#membership.backplaneMoved(state)
  }

  /** The channels of this node, and those of rooms, which may live on other servers of the engine. */
  #channelsOf(rooms: readonly string[]): readonly OutgoingChannel[] {
    const own = [this.#sequences.node(this.#node), this.#sequences.control]
    return [...own, ...rooms.map((room) => this.#sequences.room(room))]
  }

  #probe(channel: OutgoingChannel, nonce: number): void {
    // While connected, the heartbeat is the probe of its channel.
    if (channel === this.#sequences.control && this.state === 'connected') return
    this.#publish(channel, { kind: 'checkpoint', nonce })
  }

  #heardSelf(channel: string, envelope: SealedEnvelope): void {
    if (envelope.kind === 'heartbeat') this.#membership.heartbeatReturned(channel)
    if (envelope.kind !== 'checkpoint') return
    const body = readBody(envelope)
    if (body.kind === 'checkpoint') this.#membership.probeReturned(channel, body.nonce)
  }

  #connected(awayMs: number): void {
    this.#publish(this.#sequences.control, { kind: 'heartbeat', isHello: true, awayMs })
    for (const message of this.#early.take()) this.#hand(message)
    if (this.#isEarly) {
      this.#isEarly = false
      this.#listener.started()
    }
    if (awayMs > 0) this.#checkpointsSince(awayMs)
  }

  #closed(): void {
    clearInterval(this.#heartbeat)
    clearTimeout(this.#checkpointTimer)
    this.#subscriptions.close()
    this.#held.close()
    if (this.#isEarly) this.#listener.started()
    const { length } = this.#early.take()
    if (length > 0) this.#notPublished(length, 'the cluster was left before it was reached')
    this.#faults.flush()
  }

  #beat(): void {
    this.#beats++
    this.#publish(this.#sequences.control, { kind: 'heartbeat', isHello: false, awayMs: 0 })
    this.#subscriptions.retry()
    this.#faults.flush()
    if (this.#beats % SWEEP_BEATS === 0) this.#forget()
    this.#membership.beat()
  }

  #forget(): void {
    const before = this.#beats - FORGET_BEATS
    this.#sequences.forget(before)
    this.#gaps.forget((node, at) => at < before && !this.#membership.knows(node))
    for (const [node, { usedAt }] of this.#windows) {
      if (usedAt < before && !this.#membership.knows(node)) this.#windows.delete(node)
    }
  }

  /** Soon tells how far the counts are of what was used in the latest so many ms: those who missed the end see a gap. */
  #checkpointsSince(awayMs: number): void {
    const from = this.#beats - Math.ceil(awayMs / this.#options.heartbeatIntervalMs) - 1
    this.#checkpointsFrom = Math.min(this.#checkpointsFrom ?? from, from)
    this.#checkpointTimer ??= setTimeout(() => this.#publishCheckpoints(), CHECKPOINT_DELAY_MS).unref()
  }

  /** Tells some counts, and the others later. */
  #publishCheckpoints(): void {
    this.#checkpointTimer = undefined
    if (this.#checkpoints.length === 0 && this.#checkpointsFrom !== undefined) {
      this.#checkpoints = this.#sequences.usedSince(this.#checkpointsFrom).slice(-MAX_CHECKPOINTS)
      this.#checkpointsFrom = undefined
    }
    for (const channel of this.#checkpoints.splice(0, CHECKPOINTS_A_BATCH)) {
      this.#publish(channel, { kind: 'checkpoint', nonce: 0 })
    }
    if (this.#checkpoints.length === 0 && this.#checkpointsFrom === undefined) return
    this.#checkpointTimer = setTimeout(() => this.#publishCheckpoints(), CHECKPOINTS_EVERY_MS).unref()
  }

  #backplaneFailed(what: string, cause?: unknown): void {
    const message = textOf(cause, 'message') // a backplane may be the application's own
    const detail = message === undefined ? '' : ` (${message})`
    const error = new HubError('WSHUB_ERR_BACKPLANE', `the backplane: ${what}${detail}`, { cause })
    this.#faults.add(error)
  }
}

/** Whether nothing on the nodes that answer depends on what was published before. */
function isRead({ op }: NodeRequest): boolean {
  return op === 'size' || op === 'members' || op === 'connections' || op === 'node'
}
