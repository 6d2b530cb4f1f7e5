/** Scenarios, and how each is run and reported. */
interface Run<Scenario, Result> {
  scenarios: readonly (readonly [name: string, scenario: Scenario])[]
  /** The time that a scenario may take, in ms. */
  deadlineMs: number
  run(name: string, scenario: Scenario): Promise<Result>
  /** Called with each result as soon as it is there. */
  onResult(result: Result, seconds: number): void
  /** Called with each scenario that fails or is late. */
  onFailure(name: string, reason: unknown): void
  /** Ends the processes of a scenario, so that nothing of it is left while the next one is measured. */
  endProcesses(): Promise<void>
}

/** Runs one scenario after the other, whatever becomes of each. */
export async function runAll<Scenario, Result>({
  scenarios,
  deadlineMs,
  run,
  onResult,
  onFailure,
  endProcesses,
}: Run<Scenario, Result>): Promise<void> {
  let fail: (reason: unknown) => void = () => {}
  const onUncaught = (reason: unknown) => fail(reason)
  process.on('uncaughtException', onUncaught) // and rejections that nobody handles
  try {
    for (const [name, scenario] of scenarios) {
      const start = performance.now()
      const failed = new Promise<never>((_, reject) => {
        fail = reject
      })
      const late = new Error(`not done within ${deadlineMs} ms; what it began in this process goes on`)
      const deadline = setTimeout(() => fail(late), deadlineMs)
      try {
        const result = await Promise.race([run(name, scenario), failed])
        onResult(result, (performance.now() - start) / 1_000)
      } catch (reason) {
        onFailure(name, reason)
      }
      clearTimeout(deadline)
      fail = (reason) => onFailure(name, reason) // an error of what still ends
      await endProcesses()
    }
  } finally {
    process.off('uncaughtException', onUncaught)
  }
}
