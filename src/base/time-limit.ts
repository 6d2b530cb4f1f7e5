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
 * Wraps the callback of a timer so that it runs after the turn's input has been read. When the process was
 * busy, timers fire first, and an answer that has arrived may still be unread.
 */
export function afterInput(run: () => void): () => void {
  return () => void setImmediate(run)
}
