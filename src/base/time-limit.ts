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
