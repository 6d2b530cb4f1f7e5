import { type Run, run } from './run.ts'
import type { Script } from './script.ts'
import type { Step } from './steps.ts'

/** Most runs that shrinking takes. */
const MAX_RUNS = 400

/** A script that breaks a rule, and its run. */
export interface Failure {
  readonly script: Script
  readonly run: Run
}

/** Drops steps, and pauses between them, as long as the same rule is broken. */
export async function shrink(failure: Failure): Promise<Failure> {
  let best = failure
  let left = MAX_RUNS
  const attempt = async (steps: readonly Step[]): Promise<boolean> => {
    if (left-- <= 0) return false
    const script = { ...best.script, steps }
    const result = await run(script)
    if (result.violation?.rule !== failure.run.violation?.rule) return false
    best = { script, run: result }
    return true
  }
  let size = Math.ceil(best.script.steps.length / 2)
  for (;;) {
    let hasShrunk = false
    for (let at = best.script.steps.length - size; at > -size; at -= size) {
      const { steps } = best.script
      const from = Math.max(0, at)
      hasShrunk = (await attempt(steps.toSpliced(from, at + size - from))) || hasShrunk
    }
    if (left <= 0) break
    if (size === 1 && !hasShrunk) break
    if (size > 1) size = Math.ceil(size / 2)
  }
  for (let i = 0; i < best.script.steps.length; i++) {
    const step = best.script.steps[i]
    if (step !== undefined && step.ms > 0) await attempt(best.script.steps.with(i, { ...step, ms: 0 }))
  }
  return best
}
