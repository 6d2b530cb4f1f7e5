import { Batch } from './batch.ts'
import type { DeliveryOptions, SlowConsumerPolicy } from './delivery-options.ts'
import { HeldBuffers } from './held-buffers.ts'

/**
 * Time, in ms, that a flush takes of the event loop at once. Then the loop goes on, and the rest follows in
 * its next turn: a broadcast to very many connections does not hold up what else the process does. `npm run
 * bench -- fanout` measures the delay. What is sent meanwhile joins the batches that still wait.
 */
const MAX_FLUSH_MS = 2

/** The clock is asked after so many writes, each of which takes some 10 µs. */
const WRITES_PER_LOOK = 16

/** How often, in ms, it is looked whether clients over their limit go on reading. */
export const JUDGE_MS = 30_000

/**
 * Of `maxTotalBufferedBytes`, what may be left when clients have been given up for it: more are not due with
 * the next message, since to find them all are looked at.
 */
const RELIEF = 7 / 8

/** Why a message was dropped: by a slow-consumer policy, because it was volatile, or with its connection. */
export type DropReason = 'dropNewest' | 'dropOldest' | 'conflate' | 'volatile' | 'overflow' | 'closed'

/** How much was dropped. */
export interface DropCount {
  messages: number
  /** Bytes of their frames. */
  bytes: number
}

/** What a handler's `onDrop` is told. */
export interface Dropped extends Readonly<DropCount> {
  readonly reason: DropReason
}

/** What {@link Delivery} does with an outbox. */
export interface Flushable {
  readonly bufferedBytes: number
  flush(): void
  /** Gives the client up when it is over its limit and has hardly read since the last look. */
  judge(): void
  /** Gives the client up. */
  giveUp(): void
}

/**
 * What the outboxes of one hub share: the limit, the policy, the turn that they all end together, and the
 * count of drops.
 */
export class Delivery {
  readonly maxBufferedBytes: number
  readonly maxTotalBufferedBytes: number
  readonly slowConsumer: SlowConsumerPolicy
  /** What waits for all clients whose sockets are congested. */
  readonly held = new HeldBuffers()
  readonly dropped: Readonly<Record<DropReason, DropCount>> = {
    dropNewest: { messages: 0, bytes: 0 },
    dropOldest: { messages: 0, bytes: 0 },
    conflate: { messages: 0, bytes: 0 },
    volatile: { messages: 0, bytes: 0 },
    overflow: { messages: 0, bytes: 0 },
    closed: { messages: 0, bytes: 0 },
  }
  /** The empty batch of this turn. */
  root = new Batch()
  /** Counts the turns in which something was written. */
  turn = 0
  #dirty: Flushable[] = []
  #isEndDue = false
  readonly #congested = new Set<Flushable>()
  #judging: NodeJS.Timeout | undefined

  constructor(options: DeliveryOptions) {
    this.maxBufferedBytes = options.maxBufferedBytes
    this.maxTotalBufferedBytes = options.maxTotalBufferedBytes
    this.slowConsumer = options.slowConsumer
  }

  /** Has the outbox flushed when this turn of the event loop has done all its I/O. */
  schedule(outbox: Flushable): void {
    this.#dirty.push(outbox)
    this.#endTurnSoon()
  }

  /** Frames wait for the socket of that outbox, which is looked at from now on. */
  congested(outbox: Flushable): void {
    this.#congested.add(outbox)
    this.#judging ??= setInterval(() => {
      for (const congested of this.#congested) congested.judge()
      if (this.#congested.size === 0) this.stop()
    }, JUDGE_MS).unref()
  }

  /** None waits any more. */
  uncongested(outbox: Flushable): void {
    this.#congested.delete(outbox)
  }

  /**
   * Gives clients up when all together have more than `maxTotalBufferedBytes` waiting: those with the most
   * first.
   */
  relieve(): void {
    if (this.held.bytes <= this.maxTotalBufferedBytes) return
    const byMost = [...this.#congested]
      .map((outbox) => ({ outbox, bytes: outbox.bufferedBytes }))
      .sort((a, b) => b.bytes - a.bytes)
    for (const { outbox } of byMost) {
      if (this.held.bytes <= this.maxTotalBufferedBytes * RELIEF) return
      outbox.giveUp()
    }
  }

  /** Stops the timer. */
  stop(): void {
    clearInterval(this.#judging)
    this.#judging = undefined
    this.#congested.clear()
  }

  #endTurnSoon(): void {
    if (this.#isEndDue) return
    this.#isEndDue = true
    setImmediate(this.#endTurn)
  }

  readonly #endTurn = (): void => {
    this.#isEndDue = false
    this.turn++
    this.root = new Batch()
    const dirty = this.#dirty
    this.#dirty = []
    const end = performance.now() + MAX_FLUSH_MS
    let count = 0
    for (const outbox of dirty) {
      outbox.flush()
      if (++count % WRITES_PER_LOOK === 0 && performance.now() >= end) break
    }
    if (count === dirty.length) return
    this.#dirty = dirty.slice(count).concat(this.#dirty)
    this.#endTurnSoon()
  }
}
