import { setTimeout as sleep } from 'node:timers/promises'

const TICK_MS = 5
/** The most that is done in one turn of the event loop. */
const MOST_A_TURN = 50

/**
 * Does something `count` times, evenly within so many seconds. Delays are made up for, in several turns: what
 * a process that waited for a core makes up for must not look like a long turn of what it measures.
 */
export async function spread(count, seconds, act) {
  const start = performance.now()
  for (let done = 0; done < count; await sleep(TICK_MS)) {
    const due = Math.min(count, Math.floor(((performance.now() - start) / 1_000 / seconds) * count))
    for (let inTurn = 0; done < due; done++) {
      if (++inTurn % MOST_A_TURN === 0) await new Promise((resolve) => setImmediate(resolve))
      await act(done)
    }
  }
}
