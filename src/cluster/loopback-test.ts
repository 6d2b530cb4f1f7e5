import type { OutgoingChannel } from './sequences.ts'

/** Time between two rounds of probes while some have not come back: at first, and at most. */
const FIRST_ROUND_MS = 250
const MAX_ROUND_MS = 1_000

/**
 * Shows by probes of a node to itself that its messages come back. An engine that reports a connection may
 * hang, or may have forgotten a subscription.
 *
 * The adapters test their connections too, and replace a connection that hangs, which this test cannot. It
 * covers the channels of the hub, over any backplane, and so the state that the hub reports.
 */
export class LoopbackTest {
  readonly #publish: (channel: OutgoingChannel, nonce: number) => void
  #timer: NodeJS.Timeout | undefined
  readonly #returned: (ms: number) => void
  /** When the probes were published that have not come back, by the clock of `performance`. */
  #probedAt = 0
  #nonce = 0
  /** Probes with a lower nonce were sent over a connection that was lost since. */
  #firstNonce = 1
  /** Channels whose probe has not come back. */
  #pending = new Set<string>()
  /** Channels whose probe has come back since `start`. */
  readonly #proven = new Set<string>()
  #probed: readonly OutgoingChannel[] = []
  #silentBeats = 0

  /** @param returned is told how many ms a probe took */
  constructor(
    publish: (channel: OutgoingChannel, nonce: number) => void,
    returned: (ms: number) => void = () => {},
  ) {
    this.#publish = publish
    this.#returned = returned
  }

  /**
   * Publishes rounds of probes until one has come back from each channel; asks for the channels in each
   * round.
   */
  start(channels: () => readonly OutgoingChannel[]): void {
    this.#proven.clear()
    this.#round(channels, FIRST_ROUND_MS)
  }

  /** Publishes no more probes. Those on their way prove nothing when they come back. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#firstNonce = this.#nonce + 1
  }

  /**
   * Records a probe, or another message of this node, that has come back.
   * @returns whether it was the last one that was missing
   */
  returned(channel: string, nonce = this.#nonce): boolean {
    if (nonce < this.#firstNonce || !this.#pending.delete(channel)) return false
    this.#returned(performance.now() - this.#probedAt)
    this.#proven.add(channel)
    if (this.#pending.size > 0) return false
    clearTimeout(this.#timer)
    this.#silentBeats = 0
    return true
  }

  /** Stops waiting for a channel whose subscription has ended. */
  forget(channel: string): void {
    this.#pending.delete(channel)
  }

  /**
   * Called with each heartbeat while the test is passed. Probes some channels, and other ones only when all
   * probes have come back.
   * @returns for how many beats a probe has been missing
   */
  beat(next: () => readonly OutgoingChannel[]): number {
    if (this.#pending.size > 0) {
      this.#silentBeats++
      this.#probe(this.#probed.filter(({ name }) => this.#pending.has(name)))
    } else {
      this.#silentBeats = 0
      this.#probedAt = performance.now()
      this.#probe(next())
    }
    return this.#silentBeats
  }

  #round(channels: () => readonly OutgoingChannel[], ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#round(channels, Math.min(ms * 2, MAX_ROUND_MS)), ms).unref()
    this.#nonce++
    this.#probedAt = performance.now()
    const all = channels()
    const open = all.filter(({ name }) => !this.#proven.has(name))
    // When the subscription of the last missing channel has ended, one of the others proves that the test is
    // passed.
    this.#probe(open.length > 0 ? open : all.slice(0, 1))
  }

  #probe(channels: readonly OutgoingChannel[]): void {
    this.#probed = channels
    this.#pending = new Set(channels.map(({ name }) => name))
    for (const channel of channels) this.#publish(channel, this.#nonce)
  }
}
