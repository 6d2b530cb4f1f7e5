/** Whether the run only shows that each scenario comes to its end. */
export const IS_TRIAL = process.argv.includes('--try')

/** Returns the number of rounds, which is one in a trial. */
export function roundsOf(count: number): number {
  return IS_TRIAL ? 1 : count
}
