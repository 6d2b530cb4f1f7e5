import type { BackplaneState } from '../backplane/backplane.ts'
import { type Deferred, deferred } from '../base/deferred.ts'
import { HubError } from '../base/errors.ts'
import { KnownNodes } from './known-nodes.ts'
import { LoopbackTest } from './loopback-test.ts'
import type { OutgoingChannel } from './sequences.ts'

/** What a presence does in its link. */
export interface MembershipHost {
  /** The channels that are to be proved before this node is connected. */
  allChannels(): readonly OutgoingChannel[]
  /** Some of them, with each call others. */
  nextChannels(): readonly OutgoingChannel[]
  probe(channel: OutgoingChannel, nonce: number): void
  /** This node is connected, after `awayMs`, or for the first time (0). */
  connected(awayMs: number): void
  /** It is not any more. */
  disconnected(why: string): void
  /** It never will be again. */
  closed(): void
  /** Another node has left, or its time is over. */
  nodeGone(node: string): void
  /** It is in another state now. */
  stateChanged(state: BackplaneState): void
}

/** After coming or coming back: time in which nodes that are not known yet say who they are; a heartbeat at most. */
const SETTLE_MS = 500

/** Whether this node is connected, and which others are there. */
export class Membership {
  readonly #host: MembershipHost
  readonly #heartbeatIntervalMs: number
  readonly #heartbeatTimeoutMs: number
  readonly #maxSilentBeats: number
  readonly #peers: KnownNodes
  readonly #loopbackTest: LoopbackTest
  #state: BackplaneState = 'connecting'
  /** What `ready` waits for. */
  #waiting: Deferred<void> | undefined
  #settledAt = 0
  /** When it was last noticed that the engine is away, in ms; 0 = never. */
  #lostAt = 0

  constructor(
    host: MembershipHost,
    options: { readonly heartbeatIntervalMs: number; readonly heartbeatTimeoutMs: number },
  ) {
    this.#host = host
    this.#heartbeatIntervalMs = options.heartbeatIntervalMs
    this.#heartbeatTimeoutMs = options.heartbeatTimeoutMs
    this.#maxSilentBeats = Math.ceil(options.heartbeatTimeoutMs / options.heartbeatIntervalMs)
    this.#peers = new KnownNodes(this.#maxSilentBeats)
    this.#loopbackTest = new LoopbackTest((channel, nonce) => host.probe(channel, nonce))
  }

  /** `connected` only while what this node publishes comes back to it. */
  get state(): BackplaneState {
    return this.#state
  }

  /** Other nodes that are known to live. */
  get peers(): string[] {
    return this.#peers.ids()
  }

  /** Time, in ms, until all nodes that live have had the time to be known; 0 when it is over. */
  get settlingMs(): number {
    return Math.max(0, Math.ceil(this.#settledAt - performance.now()))
  }

  /** Whether another node is known to live. */
  knows(node: string): boolean {
    return this.#peers.has(node)
  }

  /** Resolves when connected. @throws {HubError} WSHUB_ERR_HUB_CLOSED */
  async ready(): Promise<void> {
    if (this.#state === 'connected') return
    if (this.#state === 'closed') throw closed()
    this.#waiting ??= deferred()
    await this.#waiting.promise
  }

  /** The backplane is in this state now. */
  backplaneMoved(state: BackplaneState): void {
    if (this.#state === 'closed') return
    if (state === 'connected') {
      if (this.#state !== 'connected') this.#loopbackTest.start(() => this.#host.allChannels())
      return
    }
    this.#loopbackTest.stop()
    if (state === 'closed') {
      this.#host.disconnected('it was closed')
      this.close()
    } else if (this.#state === 'connected') {
      this.#lose('its engine is away')
    }
  }

  /** A probe of this node has come back. */
  probeReturned(channel: string, nonce: number): void {
    if (this.#loopbackTest.heartbeatOf(channel, nonce) && this.#state !== 'connected') this.#proved()
  }

  /** A heartbeat of this node has come back. */
  heartbeatReturned(channel: string): void {
    if (this.#state === 'connected') this.#loopbackTest.heartbeatOf(channel)
  }

  /** Another node has shown that it lives. */
  heard(node: string): void {
    this.#peers.heartbeatOf(node)
  }

  /** Another node has said that it goes. */
  nodeLeft(node: string): void {
    this.#peers.leave(node)
    this.#host.nodeGone(node)
  }

  /** The channel is not listened to any more. */
  forget(channel: string): void {
    this.#loopbackTest.forget(channel)
  }

  /** `heartbeatIntervalMs` have passed. */
  beat(): void {
    if (this.#state !== 'connected') return
    const silentBeats = this.#loopbackTest.beat(() => this.#host.nextChannels())
    // A node that does not hear itself would not hear the others either.
    if (silentBeats === 0) for (const node of this.#peers.beat()) this.#host.nodeGone(node)
    if (silentBeats <= this.#maxSilentBeats) return
    this.#loopbackTest.stop()
    this.#lose('its engine does not deliver')
    this.backplaneMoved('connected')
  }

  close(): void {
    this.#become('closed')
    this.#loopbackTest.stop()
    this.#waiting?.reject(closed())
    this.#waiting = undefined
    for (const node of this.#peers.ids()) this.#host.nodeGone(node)
    this.#host.closed()
  }

  #become(state: BackplaneState): void {
    this.#state = state
    this.#host.stateChanged(state)
  }

  #lose(why: string): void {
    this.#become('reconnecting')
    this.#lostAt = performance.now()
    this.#host.disconnected(why)
  }

  #proved(): void {
    const now = performance.now()
    // A part of the engine may have been away for some time before anybody noticed.
    const awayMs = this.#lostAt === 0 ? 0 : Math.ceil(now - this.#lostAt) + this.#heartbeatTimeoutMs
    this.#become('connected')
    this.#settledAt = now + Math.min(SETTLE_MS, this.#heartbeatIntervalMs)
    this.#peers.resetSilence() // this node could not hear them
    this.#host.connected(awayMs)
    this.#waiting?.resolve()
    this.#waiting = undefined
  }
}

function closed(): HubError {
  return new HubError('WSHUB_ERR_HUB_CLOSED', 'the cluster was left')
}
