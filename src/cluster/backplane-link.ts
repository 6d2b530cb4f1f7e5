import type { Backplane, BackplaneState } from '../backplane/backplane.ts'
import { HubError } from '../base/errors.ts'
import { FaultDigest } from '../base/fault-digest.ts'
import { textOf } from '../base/thrown.ts'
import { settlesWithin } from '../base/time-limit.ts'
import type { Payload, SendOptions } from '../protocol/message.ts'
import type { ResolvedClusterOptions } from './cluster-options.ts'
import { type Link, type LinkListener, type LinkStats, type LinkWatcher, newLinkStats } from './link.ts'
import type { LinkParts } from './link-parts.ts'
import type { LocalHub, Recipients } from './local-hub.ts'
import { Membership } from './membership.ts'
import { Publisher } from './publisher.ts'
import { Receiver } from './receiver.ts'
import type { OutgoingChannel } from './sequences.ts'
import { ChannelNames } from './wire/channel-names.ts'
import type { PresenceMessage } from './wire/presence-message.ts'
import type { NodeRequest } from './wire/request.ts'
import type { NodeResponse } from './wire/response.ts'

/** The most rooms whose channels are probed when the engine is back. */
const MAX_PROBED_ROOMS = 16
/** The number of beats between two searches for unused sequences and silent publishers. */
const SWEEP_BEATS = 12
/** The time, in ms, that a backplane has left to close once `timeoutMs` is over. */
const CLOSE_TIMEOUT_MS = 5_000

/**
 * The link of a hub with a backplane: keeps the backplane, the heartbeat, the publisher and the receiver of
 * one node together.
 */
export class BackplaneLink implements Link {
  readonly #backplane: Backplane
  readonly #listener: LinkListener
  readonly #faults: FaultDigest
  readonly #membership: Membership
  readonly #publisher: Publisher
  readonly #receiver: Receiver
  /** Whether the subscriptions of this node's own channels are confirmed. */
  #isSubscribed = false
  /** Whether the `start` of the backplane is pending. */
  #isBackplaneStarting = true
  /** Whether the cluster has been reached, or never will be. */
  #hasStarted = false
  #beats = 0
  #watcher: LinkWatcher | undefined
  readonly #heartbeat: NodeJS.Timeout
  readonly #node: string
  readonly stats: LinkStats = newLinkStats()

  constructor(
    backplane: Backplane,
    local: LocalHub,
    options: ResolvedClusterOptions,
    listener: LinkListener,
  ) {
    this.#backplane = backplane
    this.#node = local.node
    this.#listener = listener
    this.#faults = new FaultDigest((error) => local.report(error))
    this.#membership = this.#newMembership(local, options)
    const parts: LinkParts = {
      backplane,
      local,
      options,
      names: new ChannelNames(options.namespace),
      membership: this.#membership,
      faults: this.#faults,
      stats: this.stats,
    }
    this.#publisher = new Publisher(parts)
    this.#receiver = new Receiver(parts, this.#publisher, listener)
    this.#heartbeat = setInterval(() => this.#beat(), options.heartbeatIntervalMs).unref()
    void this.#start()
    void this.#subscribeOwn(parts.names)
  }

  get state(): BackplaneState {
    return this.#membership.state
  }

  get peers(): readonly string[] {
    return this.#membership.peers
  }

  get rooms(): number {
    return this.#receiver.subscriptions.rooms
  }

  get isStarting(): boolean {
    return this.state === 'connecting'
  }

  get settlingMs(): number {
    return this.#membership.settlingMs
  }

  knows(node: string): boolean {
    return this.#membership.knows(node)
  }

  ready(): Promise<void> {
    return this.#membership.ready()
  }

  occupied(room: string): void {
    if (this.state !== 'closed') this.#receiver.subscriptions.occupied(room)
  }

  vacated(room: string): void {
    this.#receiver.subscriptions.vacated(room)
  }

  async listening(rooms: readonly string[]): Promise<void> {
    if (this.state === 'connected') await this.#receiver.subscriptions.settled(rooms)
  }

  broadcast(recipients: Recipients, data: Payload, options: SendOptions | undefined): void {
    this.#publisher.broadcast(recipients, data, options)
  }

  direct(connectionId: string, data: Payload, options: SendOptions | undefined): boolean {
    return this.#publisher.direct(connectionId, data, options)
  }

  ask(node: string | undefined, id: number, request: NodeRequest): boolean {
    return this.#publisher.ask(node, id, request)
  }

  /** @see Link.tell */
  tell(
    to: { readonly node: string } | { readonly room: string } | undefined,
    message: PresenceMessage,
  ): boolean {
    const { channels } = this.#publisher
    if (this.state !== 'connected') return false // earlier messages may still wait for the cluster
    const channel =
      to === undefined ? channels.control : 'node' in to ? channels.node(to.node) : channels.room(to.room)
    return this.#publisher.publish(channel, { kind: 'presence', message })
  }

  watch(watcher: LinkWatcher): void {
    this.#watcher = watcher
    this.#receiver.watcher = watcher
  }

  /** @see Link.reportUnasked */
  reportUnasked(): void {
    const message = 'a call was answered by this node alone: the cluster was not reached'
    this.#faults.add(new HubError('WSHUB_ERR_NOT_PUBLISHED', message))
  }

  respond(node: string, id: number, responses: readonly NodeResponse[]): void {
    this.#publisher.respond(node, id, responses)
  }

  async close(timeoutMs: number): Promise<void> {
    const endsAt = performance.now() + timeoutMs
    if (this.#publisher.hasWaiting) await settlesWithin(timeoutMs, this.ready())
    if (this.state !== 'closed') {
      this.#publisher.publish(this.#publisher.channels.control, { kind: 'leave' })
      this.#membership.close()
    }
    const leftMs = Math.max(0, Math.ceil(endsAt - performance.now()))
    const closed = this.#closeBackplane(leftMs)
    if (!(await settlesWithin(leftMs, closed))) await settlesWithin(CLOSE_TIMEOUT_MS, closed)
  }

  #newMembership(local: LocalHub, options: ResolvedClusterOptions): Membership {
    return new Membership(
      {
        allChannels: () => this.#channelsOf(this.#receiver.subscriptions.live(MAX_PROBED_ROOMS)),
        nextChannels: () => {
          const room = this.#receiver.subscriptions.nextLive()
          return this.#channelsOf(room === undefined ? [] : [room])
        },
        probe: (channel, nonce) => this.#probe(channel, nonce),
        connected: (awayMs) => this.#connected(awayMs),
        disconnected: (why) => {
          this.#faults.addBackplane(`${why}: messages reach the connections of this node only`)
        },
        closed: () => this.#closed(),
        nodeGone: (node) => {
          this.#listener.nodeGone(node)
          this.#watcher?.nodeGone(node)
        },
        probeTook: (ms) => local.probeTook(ms),
        stateChanged: (state) => local.stateChanged(state),
      },
      options,
    )
  }

  async #start(): Promise<void> {
    try {
      await this.#backplane.start({
        onMessage: this.#receiver.onMessage,
        onStateChange: () => this.#backplaneMoved(),
        onError: (error) => this.#backplaneFailed(error),
      })
      this.#isBackplaneStarting = false
      this.#backplaneMoved()
    } catch (error) {
      this.#isBackplaneStarting = false
      if (this.state === 'closed') return
      this.#faults.addBackplane('cannot start', error)
      this.#membership.close(error)
    }
  }

  async #subscribeOwn(names: ChannelNames): Promise<void> {
    const { subscriptions } = this.#receiver
    const own = [names.node(this.#node), names.control]
    await Promise.all(own.map((channel) => subscriptions.pin(channel).settled))
    this.#isSubscribed = true
    this.#backplaneMoved()
  }

  async #closeBackplane(timeoutMs: number): Promise<void> {
    try {
      await this.#backplane.close(timeoutMs)
    } catch (error) {
      this.#faults.addBackplane('failed to close', error)
    }
  }

  #backplaneFailed(error: Error): void {
    if (textOf(error, 'code') === 'WSHUB_ERR_NOT_PUBLISHED') {
      this.#faults.add(new HubError('WSHUB_ERR_NOT_PUBLISHED', error.message, { cause: error }))
    } else {
      this.#faults.addBackplane('recovers from an error', error)
    }
  }

  #backplaneMoved(): void {
    let state: BackplaneState
    try {
      state = this.#backplane.state
    } catch (error) {
      this.#faults.addBackplane('does not tell its state', error)
      return
    }
    if (state === 'closed' && this.#isBackplaneStarting) return // `start` is about to reject, and tells why
    // Before its own channels are subscribed, the probes of a node could not come back.
    if (this.#isSubscribed || state !== 'connected') this.#membership.backplaneMoved(state)
  }

  /** Returns the channels of this node, and those of rooms, which may be on other servers of the engine. */
  #channelsOf(rooms: readonly string[]): readonly OutgoingChannel[] {
    const { channels } = this.#publisher
    return [channels.node(this.#node), channels.control, ...rooms.map((room) => channels.room(room))]
  }

  #probe(channel: OutgoingChannel, nonce: number): void {
    // While connected, the heartbeat is the probe of its channel.
    if (channel === this.#publisher.channels.control && this.state === 'connected') return
    this.#publisher.publish(channel, { kind: 'checkpoint', nonce })
  }

  #connected(awayMs: number): void {
    const publisher = this.#publisher
    publisher.publish(publisher.channels.control, { kind: 'heartbeat', isHello: true, awayMs })
    publisher.connected()
    this.#reportStarted()
    if (awayMs > 0) publisher.reconnected(awayMs)
    this.#watcher?.connected(awayMs)
  }

  #closed(): void {
    clearInterval(this.#heartbeat)
    this.#receiver.close()
    this.#reportStarted()
    this.#publisher.close()
    this.#faults.flush()
  }

  #reportStarted(): void {
    if (this.#hasStarted) return
    this.#hasStarted = true
    this.#listener.started()
  }

  #beat(): void {
    this.#beats++
    if (this.state === 'connected') this.#watcher?.beat()
    this.#publisher.beat()
    this.#receiver.beat()
    this.#faults.flush()
    if (this.#beats % SWEEP_BEATS === 0) {
      this.#publisher.forget()
      this.#receiver.forget()
    }
    this.#membership.beat()
  }
}
