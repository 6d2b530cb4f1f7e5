import { HeldBuffers } from './held-buffers.ts'

/** Interval, in ms, at which clients over their limit are checked for progress. */
export const JUDGE_MS = 30_000

/**
 * The share of `maxTotalBufferedBytes` down to which clients are closed. Finding them requires a check of all
 * congested clients, which must not be repeated with the next message.
 */
const RELIEF = 7 / 8

/** The outbox of a client whose socket is congested. */
export interface CongestedOutbox {
  readonly bufferedBytes: number
  /** Closes the client when it is over its limit and has hardly read since the last check. */
  judge(): void
  /** Drops what the client is sent again when it reads. */
  dropReplayable(): void
  /** Closes the client. */
  giveUp(): void
}

/** The congested clients of a hub, and the messages that wait for all of them. */
export class Congestion {
  /** Buffers that wait for congested sockets. */
  readonly held = new HeldBuffers()
  readonly #maxTotalBufferedBytes: number
  /** Whether messages that wait may be dropped, since clients are sent them again. */
  readonly #mayReplay: boolean
  readonly #outboxes = new Set<CongestedOutbox>()
  #timer: NodeJS.Timeout | undefined

  constructor(maxTotalBufferedBytes: number, mayReplay: boolean) {
    this.#maxTotalBufferedBytes = maxTotalBufferedBytes
    this.#mayReplay = mayReplay
  }

  /** Whether half of what may wait in all does: replays wait then. */
  get isHalfFull(): boolean {
    return this.held.bytes > this.#maxTotalBufferedBytes / 2
  }

  /** Watches an outbox from now on: frames wait for its socket. */
  add(outbox: CongestedOutbox): void {
    this.#outboxes.add(outbox)
    this.#timer ??= setInterval(() => {
      for (const congested of this.#outboxes) congested.judge()
      if (this.#outboxes.size === 0) this.stop()
    }, JUDGE_MS).unref()
  }

  /** Ends the watch: no frames wait any more. */
  delete(outbox: CongestedOutbox): void {
    this.#outboxes.delete(outbox)
  }

  /**
   * While more than `maxTotalBufferedBytes` wait in total, drops what clients can be sent again, and closes
   * clients where that is not enough: those with the most waiting first.
   */
  relieve(): void {
    if (this.held.bytes <= this.#maxTotalBufferedBytes) return
    if (this.#mayReplay) this.#relieveBy((outbox) => outbox.dropReplayable())
    this.#relieveBy((outbox) => outbox.giveUp())
  }

  #relieveBy(act: (outbox: CongestedOutbox) => void): void {
    const byMost = [...this.#outboxes]
      .map((outbox) => ({ outbox, bytes: outbox.bufferedBytes }))
      .sort((a, b) => b.bytes - a.bytes)
    for (const { outbox } of byMost) {
      if (this.held.bytes <= this.#maxTotalBufferedBytes * RELIEF) return
      act(outbox)
    }
  }

  /** Stops the timer. */
  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#outboxes.clear()
  }
}
