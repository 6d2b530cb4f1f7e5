import type { BackplaneState } from '../backplane/backplane.ts'
import { type Deferred, deferred } from '../base/deferred.ts'
import { HubError } from '../base/errors.ts'
import { textOf } from '../base/thrown.ts'
import { KnownNodes } from './known-nodes.ts'
import { LoopbackTest } from './loopback-test.ts'
import type { OutgoingChannel } from './sequences.ts'

/** The link of a membership. */
export interface MembershipHost {
  /** Returns the channels to be tested before this node is connected. */
  allChannels(): readonly OutgoingChannel[]
  /** Returns some of them, others with each call. */
  nextChannels(): readonly OutgoingChannel[]
  /** Publishes a probe. */
  probe(channel: OutgoingChannel, nonce: number): void
  /** This node is connected: after `awayMs` without a connection, or for the first time (0). */
  connected(awayMs: number): void
  /** Connection lost. @param why completes the sentence that begins with "the backplane" */
  disconnected(why: string): void
  /** Closed permanently. */
  closed(): void
  /** Another node has left, or has been silent for too long. */
  nodeGone(node: string): void
  /** A probe has come back, after so many ms. */
  probeTook(ms: number): void
  /** State changed. */
  stateChanged(state: BackplaneState): void
}

/** Time for unknown nodes to make themselves known after this node has connected; at most one heartbeat. */
const SETTLE_MS = 500

/** Whether this node is connected to the cluster, and which other nodes belong to it. */
export class Membership {
  readonly #host: MembershipHost
  readonly #heartbeatIntervalMs: number
  readonly #heartbeatTimeoutMs: number
  readonly #maxSilentBeats: number
  readonly #nodes: KnownNodes
  readonly #loopbackTest: LoopbackTest
  #state: BackplaneState = 'connecting'
  /** The promise that `ready` returns. */
  #ready: Deferred<void> | undefined
  #settledAt = 0
  #connectedAt = 0
  /**
   * When the loss of the connection was last noticed, in ms of `performance.now()`; 0 = never. Losses that
   * follow each other soon count as one.
   */
  #lostAt = 0
  /** Why the cluster can never be reached. */
  #refusal: unknown

  constructor(
    host: MembershipHost,
    options: { readonly heartbeatIntervalMs: number; readonly heartbeatTimeoutMs: number },
  ) {
    this.#host = host
    this.#heartbeatIntervalMs = options.heartbeatIntervalMs
    this.#heartbeatTimeoutMs = options.heartbeatTimeoutMs
    this.#maxSilentBeats = Math.ceil(options.heartbeatTimeoutMs / options.heartbeatIntervalMs)
    this.#nodes = new KnownNodes(this.#maxSilentBeats)
    this.#loopbackTest = new LoopbackTest(
      (channel, nonce) => host.probe(channel, nonce),
      (ms) => host.probeTook(ms),
    )
  }

  /** `connected` only while messages that this node publishes come back to it. */
  get state(): BackplaneState {
    return this.#state
  }

  /** The other nodes that are known to be alive. */
  get peers(): string[] {
    return this.#nodes.ids()
  }

  /**
   * Time, in ms, until every node that is alive has had the time to become known; 0 when that time is over.
   */
  get settlingMs(): number {
    return Math.max(0, Math.ceil(this.#settledAt - performance.now()))
  }

  /** Returns whether another node is known to be alive. */
  knows(node: string): boolean {
    return this.#nodes.has(node)
  }

  /** Resolves when connected. @throws {HubError} WSHUB_ERR_HUB_CLOSED, as a rejection */
  async ready(): Promise<void> {
    if (this.#state === 'connected') return
    if (this.#state === 'closed') throw this.#closedError()
    this.#ready ??= deferred()
    await this.#ready.promise
  }

  /** Records the state of the backplane. */
  backplaneMoved(state: BackplaneState): void {
    if (this.#state === 'closed') return
    if (state === 'connected') {
      if (this.#state !== 'connected') this.#loopbackTest.start(() => this.#host.allChannels())
      return
    }
    this.#loopbackTest.stop()
    if (state === 'closed') {
      this.#host.disconnected('was closed')
      this.close()
    } else if (this.#state === 'connected') {
      this.#disconnect('lost its engine')
    }
  }

  /** A probe of this node has come back. */
  probeReturned(channel: string, nonce: number): void {
    if (this.#loopbackTest.returned(channel, nonce) && this.#state !== 'connected') this.#connect()
  }

  /** A heartbeat of this node has come back. */
  heartbeatReturned(channel: string): void {
    if (this.#state === 'connected') this.#loopbackTest.returned(channel)
  }

  /** A heartbeat of another node has arrived. */
  heartbeatOf(node: string): void {
    this.#nodes.heartbeatOf(node)
  }

  /** Another node has left. */
  nodeLeft(node: string): void {
    this.#nodes.leave(node)
    this.#host.nodeGone(node)
  }

  /** The subscription of the channel has ended: its probes do not come back. */
  forget(channel: string): void {
    this.#loopbackTest.forget(channel)
  }

  /** Called every `heartbeatIntervalMs`. */
  beat(): void {
    if (this.#state !== 'connected') return
    const silentBeats = this.#loopbackTest.beat(() => this.#host.nextChannels())
    // A node that does not receive its own messages would not receive those of the others either.
    if (silentBeats === 0) for (const node of this.#nodes.beat()) this.#host.nodeGone(node)
    if (silentBeats <= this.#maxSilentBeats) return
    this.#loopbackTest.stop()
    this.#disconnect('does not deliver')
    this.backplaneMoved('connected')
  }

  /** @param refusal why the cluster can never be reached */
  close(refusal?: unknown): void {
    this.#refusal = refusal
    this.#become('closed')
    this.#loopbackTest.stop()
    this.#ready?.reject(this.#closedError())
    this.#ready = undefined
    for (const node of this.#nodes.ids()) this.#host.nodeGone(node)
    this.#host.closed()
  }

  #closedError(): HubError {
    const cause = this.#refusal
    const why = textOf(cause, 'message')
    const message = why === undefined ? 'the cluster was left' : `the cluster cannot be reached (${why})`
    return new HubError('WSHUB_ERR_HUB_CLOSED', message, { cause })
  }

  #become(state: BackplaneState): void {
    this.#state = state
    this.#host.stateChanged(state)
  }

  #disconnect(why: string): void {
    this.#become('reconnecting')
    const now = performance.now()
    // After a short connection, the checkpoints that were asked for may be lost as well.
    const isNew = this.#lostAt === 0 || now - this.#connectedAt > this.#heartbeatTimeoutMs
    if (isNew) this.#lostAt = now
    this.#host.disconnected(why)
  }

  #connect(): void {
    const now = performance.now()
    // A part of the engine may have been away for a while before it was noticed.
    const awayMs = this.#lostAt === 0 ? 0 : Math.ceil(now - this.#lostAt) + this.#heartbeatTimeoutMs
    this.#become('connected')
    this.#connectedAt = now
    this.#settledAt = now + Math.min(SETTLE_MS, this.#heartbeatIntervalMs)
    this.#nodes.resetSilence() // this node could not receive their heartbeats
    this.#host.connected(awayMs)
    this.#ready?.resolve()
    this.#ready = undefined
  }
}
