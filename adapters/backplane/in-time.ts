/**
 * Returns what a promise resolves with, or rejects when it takes too long. An answer that arrived while
 * the process was busy is read first.
 * @param what begins the error message: `NATS did not answer`
 */
export async function inTime<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    const fail = () => reject(new Error(`${what} within ${ms} ms`))
    timer = setTimeout(() => setImmediate(fail), ms).unref()
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
