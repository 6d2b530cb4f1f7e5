import type { OutgoingChannel } from './sequences.ts'

/** Between two rounds of probes while not all have come back: at first, and at most. */
const FIRST_ROUND_MS = 250
const MAX_ROUND_MS = 1_000

/**
 * Proves by messages of a node to itself that what it publishes comes back: that the engine says it is connected is not
 * enough, when it hangs, or has forgotten a subscription.
 */
export class LoopbackTest {
  readonly #publish: (channel: OutgoingChannel, nonce: number) => void
  #timer: NodeJS.Timeout | undefined
  #nonce = 0
  /** Probes before this one were sent over a connection that has broken since. */
  #firstNonce = 1
  /** Channels from which nothing has come back, and those that are done since `start`. */
  #pending = new Set<string>()
  readonly #proven = new Set<string>()
  #watched: readonly OutgoingChannel[] = []
  #silentBeats = 0

  constructor(publish: (channel: OutgoingChannel, nonce: number) => void) {
    this.#publish = publish
  }

  /** Publishes probes, again and again, until one has come back from each channel, as they are at the time. */
  start(channels: () => readonly OutgoingChannel[]): void {
    this.#proven.clear()
    this.#round(channels, FIRST_ROUND_MS)
  }

  /** Publishes no more probes; those that are under way prove nothing any more. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#firstNonce = this.#nonce + 1
  }

  /** A probe, or something else that serves as one, has come back; `true` when it was the last that was missing. */
  heartbeatOf(channel: string, nonce = this.#nonce): boolean {
    if (nonce < this.#firstNonce || !this.#pending.delete(channel)) return false
    this.#proven.add(channel)
    if (this.#pending.size > 0) return false
    clearTimeout(this.#timer)
    this.#silentBeats = 0
    return true
  }

  /** The channel is not listened to any more. */
  forget(channel: string): void {
    this.#pending.delete(channel)
  }

  /**
   * One more beat has passed since the test was passed: probes some channels, and goes on to others only when all have come back.
   * @returns for how many beats something has been missing
   */
  beat(next: () => readonly OutgoingChannel[]): number {
    if (this.#pending.size > 0) {
      this.#silentBeats++
      this.#probe(this.#watched.filter(({ name: channel }) => this.#pending.has(channel)))
    } else {
      this.#silentBeats = 0
      this.#probe(next())
    }
    return this.#silentBeats
  }

  #round(channels: () => readonly OutgoingChannel[], ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#round(channels, Math.min(ms * 2, MAX_ROUND_MS)), ms).unref()
    this.#nonce++
    const all = channels()
    const open = all.filter(({ name: channel }) => !this.#proven.has(channel))
    // Where the last that was missing is not listened to any more, one of the others proves that the test is passed.
    this.#probe(open.length > 0 ? open : all.slice(0, 1))
  }

  #probe(channels: readonly OutgoingChannel[]): void {
    this.#watched = channels
    this.#pending = new Set(channels.map(({ name: channel }) => channel))
    for (const channel of channels) this.#publish(channel, this.#nonce)
  }
}
