import { HubError } from '../base/errors.ts'
import { runHandler } from '../base/run-handler.ts'
import { Gaps } from './gaps.ts'
import { HeldRequests } from './held-requests.ts'
import type { LinkListener, LinkWatcher } from './link.ts'
import type { LinkParts } from './link-parts.ts'
import type { Publisher } from './publisher.ts'
import { ReplayWindows } from './replay-window.ts'
import { type Subscription, Subscriptions } from './subscriptions.ts'
import { EVERYONE } from './wire/channel-names.ts'
import { malformed } from './wire/codec.ts'
import {
  type Barrier,
  type Body,
  isCounted,
  openEnvelope,
  readBody,
  type SealedEnvelope,
} from './wire/envelope.ts'
import type { MessageBody } from './wire/message-body.ts'

/** A request waits at most this share of `callTimeoutMs` for messages, so that its answer is not too late. */
const HOLD_SHARE = 1 / 2
/** Publishers that were silent for this many beats are forgotten. */
const FORGET_BEATS = 240

/**
 * Receives the envelopes of the other nodes: subscribes to the channels of the rooms that have a member here,
 * finds missing and repeated messages, and passes the others to the hub.
 */
export class Receiver {
  readonly #parts: LinkParts
  readonly #publisher: Publisher
  readonly #listener: LinkListener
  readonly #gaps = new Gaps()
  readonly #held: HeldRequests
  /** Messages to unions of rooms that have arrived. */
  readonly #windows = new ReplayWindows()
  readonly #ownChannel: string
  #beats = 0
  readonly subscriptions: Subscriptions
  watcher: LinkWatcher | undefined

  constructor(parts: LinkParts, publisher: Publisher, listener: LinkListener) {
    this.#parts = parts
    this.#publisher = publisher
    this.#listener = listener
    const { backplane, faults, membership, names, options } = parts
    this.#ownChannel = names.node(parts.local.node)
    this.subscriptions = new Subscriptions(
      {
        subscribe: async (channel) => backplane.subscribe(channel),
        unsubscribe: (channel) => {
          runHandler('backplane.unsubscribe', () => backplane.unsubscribe(channel), {
            failed: (error) => faults.addBackplane('failed to end a subscription', error),
          })
        },
        failed: (error) => faults.addBackplane('refused a subscription', error),
        ended: (channel) => {
          this.#gaps.leave(channel)
          membership.forget(channel)
        },
      },
      (room) => names.room(room),
      options.roomGraceMs,
    )
    this.#held = new HeldRequests(
      {
        isPassed: (node, barrier) => this.#isPassed(node, barrier),
        expired: (node, barrier, cameAt) => this.#expired(node, barrier, cameAt),
        ask: (node, id, request) => listener.asked(node, id, request),
        refuse: (node, id, reason) => publisher.respond(node, id, [{ type: 'failed', reason }]),
      },
      options.callTimeoutMs * HOLD_SHARE,
    )
  }

  /** Receives a message of the backplane. A property, since the backplane is given it as it is. */
  readonly onMessage = (channel: string, bytes: Buffer): void => {
    const { membership, stats, faults } = this.#parts
    try {
      if (membership.state !== 'closed') this.#receive(channel, openEnvelope(bytes), bytes.length)
    } catch (cause) {
      const error = cause instanceof HubError ? cause : malformed('it cannot be handled', cause)
      if (error.code === 'WSHUB_ERR_ENVELOPE_VERSION') stats.unknown++
      else stats.malformed++
      faults.add(error)
    }
  }

  /** Repeats the subscriptions that the engine refused. */
  beat(): void {
    this.#beats++
    this.subscriptions.retry()
  }

  /** Forgets publishers that have left, and were silent for a long time. */
  forget(): void {
    const before = this.#beats - FORGET_BEATS
    const isGone = (node: string, beat: number) => beat < before && !this.#parts.membership.knows(node)
    this.#gaps.forget(isGone)
    this.#windows.forget(isGone)
  }

  close(): void {
    this.subscriptions.close()
    this.#held.close()
  }

  #receive(channel: string, envelope: SealedEnvelope, bytes: number): void {
    const { stamp } = envelope
    if (stamp.node === this.#parts.local.node) {
      this.#receiveOwn(channel, envelope)
      return
    }
    const subscription = this.subscriptions.find(channel)
    if (subscription === undefined) return // a late message of a channel whose subscription has ended
    // Until the engine has confirmed, messages of an earlier subscription may arrive: they do not begin a
    // sequence.
    if (!subscription.isLive) {
      const hasArrived = this.#gaps.has(channel, stamp) === true
      if (hasArrived && isCounted(envelope.kind)) {
        this.#parts.stats.repeated++
        return
      }
      if (!hasArrived) this.#gaps.assume(channel, stamp, this.#beats)
    } else {
      // Nothing was published on this node's own channel before it was subscribed.
      const isFirstMissing =
        channel === this.#ownChannel && stamp.sequence > 1 && this.#gaps.has(channel, stamp) === undefined
      const missing = this.#gaps.follow(channel, stamp, isCounted(envelope.kind), this.#beats)
      if (missing === 'repeated') {
        this.#parts.stats.repeated++
        return
      }
      if (missing > 0) this.#lost(subscription, stamp.node, missing)
      if (this.#carriesRequests(channel)) {
        if (envelope.kind === 'checkpoint') this.#held.begunAnew(stamp.node, channel)
        else if (missing > 0 || isFirstMissing) this.#held.missed(stamp.node, channel)
      }
    }
    try {
      this.#open(subscription, stamp.node, readBody(envelope), bytes)
    } finally {
      this.#held.progressed(stamp.node, channel) // also when it is malformed: it has arrived
    }
  }

  #receiveOwn(channel: string, envelope: SealedEnvelope): void {
    const { membership } = this.#parts
    if (envelope.kind === 'heartbeat') membership.heartbeatReturned(channel)
    if (envelope.kind !== 'checkpoint') return
    const body = readBody(envelope)
    if (body.kind === 'checkpoint') membership.probeReturned(channel, body.nonce)
  }

  #open(subscription: Subscription, node: string, body: Body, bytes: number): void {
    const { local, membership, stats } = this.#parts
    switch (body.kind) {
      case 'message':
        this.#deliver(subscription, node, body)
        return
      case 'direct':
        stats.received++
        local.sendTo(body.connectionId, body.data, body.options)
        return
      case 'heartbeat':
        membership.heartbeatOf(node)
        // Those on its own channel answer the hello of this node, which was published before its calls.
        if (subscription.channel === this.#ownChannel) this.#listener.nodeFound(node)
        if (body.isHello) this.#answerHello(node, body.awayMs)
        return
      case 'leave':
        this.#windows.delete(node)
        membership.nodeLeft(node)
        return
      case 'request':
        this.#held.ask({ node, channel: subscription.channel, bytes }, body.id, body.request)
        return
      case 'barriers':
        this.#held.add({ node, channel: subscription.channel, bytes }, body.barriers)
        return
      case 'presence':
        this.watcher?.told(node, subscription.room, body.message)
        return
      case 'response':
        this.#listener.responded(node, body.id, body.part, body.isLast, body.response)
        return
    }
  }

  #carriesRequests(channel: string): boolean {
    return channel === this.#ownChannel || channel === this.#parts.names.control
  }

  #answerHello(node: string, awayMs: number): void {
    const publisher = this.#publisher
    // A newcomer has to follow this node's calls before any is made: it could not tell that the first is
    // missing.
    if (awayMs === 0) publisher.publish(publisher.channels.control, { kind: 'checkpoint', nonce: 0 })
    else publisher.nodeReturned(node)
    publisher.publish(publisher.channels.node(node), { kind: 'heartbeat', isHello: false, awayMs: 0 })
    if (awayMs > 0) publisher.publishCheckpoints(awayMs)
    this.watcher?.nodeConnected(node)
  }

  #deliver(subscription: Subscription, node: string, body: MessageBody): void {
    const { room } = subscription
    if (room === undefined) return // broadcasts are never sent on a node's own channel
    if (body.union > 0) {
      const verdict = this.#windows.add(node, body.union, this.#beats)
      if (verdict === 'late') this.#lost(subscription, node, 1)
      if (verdict !== 'new') return
    }
    const { local, stats } = this.#parts
    stats.received++
    const { exceptIds, exceptRooms, data, options } = body
    const rooms = body.rooms ?? (room === EVERYONE ? undefined : [room])
    local.broadcast({ rooms, exceptIds, exceptRooms }, data, options)
  }

  /** Returns whether a message that was published before a request has arrived, or is not for this node. */
  #isPassed(node: string, { channel, epoch, sequence, ageMs }: Barrier): boolean {
    const subscription = this.subscriptions.find(channel)
    if (subscription === undefined || !subscription.isLive) return true
    // If nothing of that node has arrived yet, it matters whether the message is older than the subscription.
    const hasArrived = this.#gaps.has(channel, { node, epoch, sequence })
    return hasArrived ?? ageMs > performance.now() - subscription.liveAt
  }

  /**
   * Reports a message that was published before a request and did not arrive in time: it will not be
   * delivered.
   */
  #expired(node: string, { channel, epoch, sequence }: Barrier, cameAt: number): void {
    const subscription = this.subscriptions.find(channel)
    if (subscription === undefined || !subscription.isLive) return
    if (subscription.liveAt > cameAt) return // the room was left meanwhile, and entered again
    const stamp = { node, epoch, sequence }
    // Of a publisher that is not followed yet, only this message is known to be missing.
    const isFollowed = this.#gaps.has(channel, stamp) !== undefined
    if (!isFollowed) this.#gaps.assume(channel, stamp, this.#beats)
    const count = isFollowed ? this.#gaps.follow(channel, stamp, false, this.#beats) : 1
    if (count !== 'repeated' && count > 0) this.#lost(subscription, node, count)
  }

  #lost({ room, channel, isIdle }: Subscription, node: string, count: number): void {
    const { local, names, stats } = this.#parts
    if (room !== undefined || channel === names.control) this.watcher?.missed(node, room)
    if (channel === names.control || isIdle) return // it was for no connection of this node
    stats.lost += count
    const scope = room === undefined ? 'direct' : room === EVERYONE ? 'everyone' : 'room'
    local.gapFound({ node, scope, room: scope === 'room' ? room : undefined, count })
  }
}
