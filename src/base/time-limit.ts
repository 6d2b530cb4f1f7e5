/**
 * Waits until a promise settles, either way, and for `ms` at most. The timer keeps the process alive: the
 * application awaits the end of this, and nothing else may be left to do.
 * @returns whether the promise settled in time
 */
export async function settlesWithin(ms: number, promise: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, ms, false)
  })
  const settled = promise.then(
    () => true,
    () => true,
  )
  const isInTime = await Promise.race([settled, timeout])
  clearTimeout(timer)
  return isInTime
}

/**
 * Returns what a timer calls to do something when the input of that turn was read: after a time in which the
 * process was busy, timers come first, and an answer may be there, unread.
 */
export function afterInput(run: () => void): () => void {
  return () => void setImmediate(run)
}
