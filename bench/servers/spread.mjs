import { setTimeout as sleep } from 'node:timers/promises'

const TICK_MS = 5

/** Does something `count` times, evenly within so many seconds. Delays are made up for. */
export async function spread(count, seconds, act) {
  const start = performance.now()
  for (let done = 0; done < count; await sleep(TICK_MS)) {
    const due = Math.min(count, Math.floor(((performance.now() - start) / 1_000 / seconds) * count))
    for (; done < due; done++) await act(done)
  }
}
