/**
 * The time limit for every wait of a test: more than ten times as long as the slowest wait on idle cores,
 * which is for an engine that hangs and is abandoned after ten seconds. No test has a shorter limit of its
 * own, because a busy machine can delay anything.
 */
export const WAIT_MS = 120_000
/**
 * The time limit for a test or its set-up, longer than several waits, so that a wait that is too late ends it
 * and prints what it saw.
 */
export const TEST_MS = 300_000

/** Read here, so that a test may replace only the timers of the server. */
const { setTimeout: startTimer, clearTimeout: stopTimer } = globalThis
const now = performance.now.bind(performance)

/** Rejects with what was seen so far if `promise` is too late. */
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

/** Checks every few milliseconds whether a condition without an event holds. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  seen: () => unknown = () => '',
): Promise<void> {
  const end = now() + WAIT_MS
  while (!(await holds())) {
    if (now() > end) throw tooLate(what, seen)
    await pause(5)
  }
}

/** Resolves after that many ms of real time. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => startTimer(resolve, ms))
}

function tooLate(what: string, seen: () => unknown): Error {
  const shown = JSON.stringify(seen(), null, 2)?.slice(0, 4_000)
  return new Error(`Waited ${WAIT_MS} ms for ${what}, saw: ${shown}`)
}
