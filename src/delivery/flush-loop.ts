import { Batch } from './batch.ts'

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
}

/** Flushes the outboxes of a hub at the end of each turn of the event loop. */
export class FlushLoop {
  /** The empty batch of this turn. */
  root = new Batch()
  /** Counts the turns in which something was written. */
  turn = 0
  #dirty: Flushable[] = []
  #isEndDue = false

  /** Has the outbox flushed when this turn of the event loop has done all its I/O. */
  schedule(outbox: Flushable): void {
    this.#dirty.push(outbox)
    this.#endTurnSoon()
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
      if (++count % WRITES_PER_CLOCK_READ === 0 && performance.now() >= end) break
    }
    if (count === dirty.length) return
    this.#dirty = dirty.slice(count).concat(this.#dirty)
    this.#endTurnSoon()
  }
}
