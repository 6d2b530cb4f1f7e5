import { run } from './run.ts'
import { scriptOf } from './script.ts'
import type { Failure } from './shrink.ts'

/** The results of a number of seeds. */
export interface Report {
  /** How many were run. */
  readonly seeds: number
  /** How many messages were published. */
  readonly messages: number
  /** The first seed that broke a rule. */
  readonly failure: Failure | undefined
}

/**
 * Runs seeds until one breaks a rule.
 * @param isMeant which seeds to run; the others count as run
 */
export async function runSeeds(
  first: number,
  count: number,
  onProgress: (seeds: number) => void = () => {},
  isMeant: (seed: number) => boolean = () => true,
): Promise<Report> {
  let messages = 0
  for (let seeds = 1; seeds <= count; seeds++) {
    const seed = first + seeds - 1
    if (!isMeant(seed)) continue
    const script = scriptOf(seed)
    const result = await run(script)
    messages += result.messages
    if (result.violation !== undefined) return { seeds, messages, failure: { script, run: result } }
    onProgress(seeds)
  }
  return { seeds: count, messages, failure: undefined }
}

/** Describes a failure: its seed, the rule, the steps, and the trace of its run. */
export function describeFailure({ script, run: { violation, trace } }: Failure): string {
  const steps = script.steps.map(({ kind, picks, ms }) => `  ${kind} ${picks.join(' ')}, then ${ms} ms`)
  const head = `seed ${script.seed} breaks the rule ${violation?.rule}: ${violation?.what}`
  const settings = `${script.places} nodes, ${script.clients} clients, ${JSON.stringify(script.settings)}`
  return [head, settings, ...steps, 'trace:', ...trace.map((line) => `  ${line}`)].join('\n')
}
