import { Batch } from './batch.ts'
import type { SlowConsumerPolicy } from './options.ts'

/**
 * Time, in ms, that a flush takes of the event loop at once. Then the loop goes on, and the rest follows in its next turn:
 * a broadcast to very many connections does not hold up what else the process does. `npm run bench -- fanout` measures
 * the delay. What is sent meanwhile joins the batches that still wait.
 */
const MAX_FLUSH_MS = 2

/** The clock is asked after so many writes, each of which takes some 10 µs. */
const WRITES_PER_LOOK = 16

/** How often, in ms, a client is looked at that a burst has taken over its limit. */
const JUDGE_MS = 2_000

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
  flush(): void
  /** Looks at a client that is over its limit by a burst; `false` when it need not be looked at again. */
  judge(): boolean
}

/** What the outboxes of one hub share: the limit, the policy, the turn that they all end together, and the count of drops. */
export class Delivery {
  readonly maxBufferedBytes: number
  readonly slowConsumer: SlowConsumerPolicy
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
  readonly #watched = new Set<Flushable>()
  #judging: NodeJS.Timeout | undefined

  constructor(options: { readonly maxBufferedBytes: number; readonly slowConsumer: SlowConsumerPolicy }) {
    this.maxBufferedBytes = options.maxBufferedBytes
    this.slowConsumer = options.slowConsumer
  }

  /** Has the outbox flushed when this turn of the event loop has done all its I/O. */
  schedule(outbox: Flushable): void {
    this.#dirty.push(outbox)
    this.#endTurnSoon()
  }

  /** Has the outbox judged in a while. */
  watch(outbox: Flushable): void {
    this.#watched.add(outbox)
    this.#judging ??= setInterval(() => {
      for (const watched of this.#watched) if (!watched.judge()) this.#watched.delete(watched)
      if (this.#watched.size === 0) this.stop()
    }, JUDGE_MS).unref()
  }

  /** Stops the timer. */
  stop(): void {
    clearInterval(this.#judging)
    this.#judging = undefined
    this.#watched.clear()
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
