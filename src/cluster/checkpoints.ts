import type { OutgoingChannel, Sequences } from './sequences.ts'

/** Nodes that reconnect at about the same time share one round of checkpoints. */
const DELAY_MS = 200
/** A round is published in batches, because every node publishes one when any node reconnects. */
const MAX_CHECKPOINTS = 10_000
const BATCH_SIZE = 100
const BATCH_INTERVAL_MS = 10

/**
 * Publishes the latest numbers of recently used channels when a node reconnects: a node that missed the last
 * messages of a channel then sees the gap, even if nothing more is published there.
 */
export class Checkpoints {
  readonly #sequences: Sequences
  readonly #publish: (channel: OutgoingChannel) => void
  #timer: NodeJS.Timeout | undefined
  /** The first beat of the next round; `undefined` when no further round was asked for. */
  #since: number | undefined
  /** The rest of this round. */
  #pending: OutgoingChannel[] = []

  constructor(sequences: Sequences, publish: (channel: OutgoingChannel) => void) {
    this.#sequences = sequences
    this.#publish = publish
  }

  /** Starts a round soon, for the channels on which something was published at that beat or later. */
  since(beat: number): void {
    this.#since = Math.min(this.#since ?? beat, beat)
    this.#timer ??= setTimeout(() => this.#next(), DELAY_MS).unref()
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #next(): void {
    this.#timer = undefined
    if (this.#pending.length === 0 && this.#since !== undefined) {
      this.#pending = this.#sequences.usedSince(this.#since).slice(-MAX_CHECKPOINTS)
      this.#since = undefined
    }
    for (const channel of this.#pending.splice(0, BATCH_SIZE)) this.#publish(channel)
    if (this.#pending.length === 0 && this.#since === undefined) return
    this.#timer = setTimeout(() => this.#next(), BATCH_INTERVAL_MS).unref()
  }
}
