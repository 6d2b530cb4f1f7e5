/** Answers the calls of bench/subprocess.ts over IPC, and ends this process with the one that makes them. */
export function answerCalls(calls, check = () => {}) {
  process.on('message', async ({ id, call, options }) => {
    if (call === undefined) return // the channel has other uses
    try {
      check()
      process.send({ id, result: await calls[call](options) })
    } catch (error) {
      process.send({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
    }
  })
  process.on('disconnect', () => process.exit())
}
