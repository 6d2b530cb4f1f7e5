/**
 * Time for whatever a test waits for: more than ten times what the slowest takes on quiet cores, which is an
 * engine that hangs and is given up after ten seconds. No test has a shorter limit of its own, since a busy
 * machine takes as long as it takes.
 */
export const WAIT_MS = 120_000
/** Time for a test or its set-up, several waits: so a wait that is too late ends it, and says what it saw. */
export const TEST_MS = 300_000

/** Taken here, so that a test may fake the timers of the server alone. */
const { setTimeout: startTimer, clearTimeout: stopTimer } = globalThis
const now = performance.now.bind(performance)

/** Rejects with what was seen so far when `promise` is too late. */
export async function inTime<T>(
  what: string,
  promise: Promise<T>,
  seen: () => unknown = () => '',
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = startTimer(() => reject(tooLate(what, seen)), WAIT_MS)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    stopTimer(timer)
  }
}

/** Asks every few milliseconds whether a condition holds that no event tells. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  seen: () => unknown = () => '',
): Promise<void> {
  const end = now() + WAIT_MS
  while (!(await holds())) {
    if (now() > end) throw tooLate(what, seen)
    await new Promise((resolve) => startTimer(resolve, 5))
  }
}

function tooLate(what: string, seen: () => unknown): Error {
  const shown = JSON.stringify(seen(), null, 2)?.slice(0, 4_000)
  return new Error(`Waited ${WAIT_MS} ms for ${what}, saw: ${shown}`)
}
