import type { NodeSettings } from './node.ts'
import { Random } from './random.ts'
import { STEPS, type Step, type StepName } from './steps.ts'

/** A simulation, ready to run: the same script gives the same run. */
export interface Script {
  readonly seed: number
  readonly places: number
  readonly clients: number
  readonly settings: NodeSettings
  readonly steps: readonly Step[]
}

const PICK = 1_000
/** The share of the kinds of steps that a script uses; those that it lacks let the others go further. */
const KINDS_SHARE = 0.6
/** The share of scripts in which the engine loses nothing, so that nothing may be reported as lost. */
const LOSSLESS_SHARE = 0.25
/** The share of nodes that cannot reach the engine at first. */
const LATE_SHARE = 0.15
const LOSSES: readonly StepName[] = ['cut', 'hang', 'forget', 'storm']
/** Kinds without which nothing would happen. */
const ALWAYS: readonly StepName[] = ['start', 'connect', 'join', 'send', 'wait', 'restore', 'resume']

/** Returns the script of a seed. */
export function scriptOf(seed: number): Script {
  const random = new Random(seed)
  const places = random.between(2, 4)
  const clients = random.between(3, 8)
  const settings: NodeSettings = {
    slowConsumer: random.chance(0.5) ? 'close' : random.chance(0.5) ? 'dropOldest' : 'dropNewest',
    maxBufferedBytes: random.chance(0.5) ? 1_048_576 : 1_500,
    roomGraceMs: random.chance(0.3) ? 0 : random.between(10, 300),
  }
  const step = (kind: StepName, picks: Step['picks'], ms: number): Step => ({ kind, picks, ms })
  const steps: Step[] = []
  const isLossless = random.chance(LOSSLESS_SHARE)
  for (let i = 0; i < places; i++) {
    steps.push(step('start', [i, 0, 0], 0))
    // It is restored by a later step: messages wait until then.
    if (!isLossless && random.chance(LATE_SHARE)) steps.push(step('cut', [i, 0, 0], random.below(10)))
  }
  if (random.chance(0.8)) steps.push(step('wait', [0, 0, 0], 300))
  for (let i = 0; i < clients; i++) steps.push(step('connect', [i, random.below(PICK), 0], random.below(4)))
  steps.push(step('wait', [0, 0, 0], 20))
  const names = Object.keys(STEPS) as StepName[] // its keys are all that there are
  const kinds = names.filter((name) => {
    if (isLossless && LOSSES.includes(name)) return false
    return ALWAYS.includes(name) || random.chance(KINDS_SHARE)
  })
  for (let left = random.between(20, 60); left > 0; left--) {
    const picks = [random.below(PICK), random.below(PICK), random.below(PICK)] as const
    steps.push(step(kindOf(kinds, random), picks, pauseMs(random)))
  }
  return { seed, places, clients, settings, steps }
}

function kindOf(kinds: readonly StepName[], random: Random): StepName {
  let left = random.below(kinds.reduce((sum, kind) => sum + STEPS[kind].weight, 0))
  for (const kind of kinds) {
    left -= STEPS[kind].weight
    if (left < 0) return kind
  }
  return 'wait'
}

function pauseMs(random: Random): number {
  const roll = random.next()
  if (roll < 0.35) return 0
  if (roll < 0.75) return random.between(1, 6)
  if (roll < 0.95) return random.between(7, 40)
  return random.between(100, 500)
}
