import { Meters, type Recorder } from '../base/meters.ts'
import { Batch } from './batch.ts'
import { FLUSH_BOUNDS, type FlushHistogram } from './flush-bounds.ts'

/**
 * Time, in ms, for which flushes may block the event loop. The rest follows in its next turn, so that a
 * broadcast to very many connections does not block the process (`npm run bench -- fanout` measures the
 * delay). Messages sent meanwhile join the batches that still wait.
 */
const MAX_FLUSH_MS = 2

/** The clock is read once for this many writes, each of which takes some 10 µs. */
const WRITES_PER_CLOCK_READ = 16

/** An outbox, as a {@link FlushLoop} uses it. */
export interface Flushable {
  flush(): void
  /** The time for which its frames may wait for others is over: it is scheduled now. */
  delayPassed(): void
}

/** Flushes the outboxes of a hub at the end of each turn of the event loop, or some time later. */
export class FlushLoop {
  /** The empty batch of this turn. */
  root = new Batch()
  /** Counts the turns in which something was written. */
  turn = 0
  /** Time, in ms, for which frames may wait for others; 0 = until the end of the turn. */
  readonly delayMs: number
  #dirty: Flushable[] = []
  #isEndDue = false
  readonly #delayed = new Set<Flushable>()
  /** One timer for all outboxes, so that their frames are shared, and leave together. */
  #timer: NodeJS.Timeout | undefined
  /** When the turn that is due was asked for, by the clock of `performance`. */
  #dueSince = 0
  /** When the first outbox was scheduled that still waits. */
  #waitingSince = 0
  readonly #meters: Recorder<FlushHistogram>

  constructor(delayMs = 0, meters: Recorder<FlushHistogram> = new Meters(FLUSH_BOUNDS)) {
    this.delayMs = delayMs
    this.#meters = meters
  }

  /** Has the outbox flushed when this turn of the event loop has done all its I/O. */
  schedule(outbox: Flushable): void {
    if (this.#delayed.size > 0) this.#delayed.delete(outbox)
    this.#endTurnSoon()
    if (this.#dirty.length === 0) this.#waitingSince = this.#dueSince
    this.#dirty.push(outbox)
  }

  /** Has the outbox scheduled within `delayMs`. */
  delay(outbox: Flushable): void {
    this.#delayed.add(outbox)
    this.#timer ??= setTimeout(this.#delayPassed, this.delayMs).unref()
  }

  /** Stops the timer. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#delayed.clear()
  }

  readonly #delayPassed = (): void => {
    this.#timer = undefined
    const delayed = [...this.#delayed]
    this.#delayed.clear()
    for (const outbox of delayed) outbox.delayPassed()
  }

  #endTurnSoon(): void {
    if (this.#isEndDue) return
    this.#isEndDue = true
    this.#dueSince = performance.now()
    setImmediate(this.#endTurn)
  }

  readonly #endTurn = (): void => {
    this.#isEndDue = false
    this.turn++
    this.root = new Batch()
    const dirty = this.#dirty
    const since = this.#waitingSince
    this.#dirty = []
    const start = performance.now()
    this.#meters.record('flushDelay', (start - this.#dueSince) / 1_000)
    const end = start + MAX_FLUSH_MS
    let count = 0
    for (const outbox of dirty) {
      outbox.flush()
      if (++count % WRITES_PER_CLOCK_READ === 0 && performance.now() >= end) break
    }
    if (count === dirty.length) {
      this.#meters.record('flushDuration', (performance.now() - since) / 1_000)
      return
    }
    this.#dirty = dirty.slice(count).concat(this.#dirty)
    this.#waitingSince = since
    this.#endTurnSoon()
  }
}
