import type { NodeSettings } from './node.ts'
import { PRESENCE_STEPS } from './presence-steps.ts'
import { Random } from './random.ts'
import { CLUSTER_STEPS, STEPS, type Step, type StepName } from './steps.ts'

/** A simulation, ready to run: the same script gives the same run. */
export interface Script {
  readonly seed: number
  readonly places: number
  readonly clients: number
  readonly settings: NodeSettings
  readonly steps: readonly Step[]
}

const PICK = 1_000
/** The share of the kinds of steps that a script uses. With fewer kinds, the others occur more often. */
const KINDS_SHARE = 0.6
/** The same for kinds that are not about histories, in a script whose rooms have them. */
const KINDS_BESIDE_SHARE = 0.3
/** One script of so many has rooms with a history. */
const SEEDS_PER_HISTORY = 3
/** The share of scripts in which the engine loses nothing, so that no loss may be reported. */
const LOSSLESS_SHARE = 0.25
/** The share of nodes that cannot reach the engine at first. */
const LATE_SHARE = 0.15
const LOSSES: readonly StepName[] = [
  'cut',
  'hang',
  'forget',
  'storm',
  'failStore',
  'failShortly',
  'evict',
  'loseUnseen',
]
/**
 * The share of scripts in which some rooms have presence. Its changes count as messages where messages are
 * missing.
 */
const PRESENCE_SHARE = 0.3
/** The share of scripts in which messages wait for others, and how long, in ms, at most. */
const DELAYED_SHARE = 0.3
const MAX_WRITE_DELAY_MS = 12
/** Kinds that every script has: without them, nothing would happen. */
const ALWAYS: readonly StepName[] = ['start', 'connect', 'join', 'send', 'wait', 'restore', 'resume']
/** The same where rooms have a history. */
const ALWAYS_WITH_HISTORY: readonly StepName[] = [
  'resumeRoom',
  'comeBack',
  'publish',
  'burstHistory',
  'restoreStore',
]

/** Returns whether rooms have a history in the script of a seed. */
export function hasHistory(seed: number): boolean {
  return seed % SEEDS_PER_HISTORY === 0
}

/** Returns the script of a seed. */
export function scriptOf(seed: number): Script {
  const random = new Random(seed)
  const places = random.between(2, 4)
  const clients = random.between(3, 8)
  const hasPresence = random.chance(PRESENCE_SHARE)
  const plain: NodeSettings = {
    slowConsumer: random.chance(0.5) ? 'close' : random.chance(0.5) ? 'dropOldest' : 'dropNewest',
    maxBufferedBytes: random.chance(0.5) ? 1_048_576 : 1_500,
    maxTotalBufferedBytes: 268_435_456,
    // The end of a subscription shows that a node does not follow the presence of a room any more.
    roomGraceMs: hasPresence || random.chance(0.3) ? 0 : random.between(10, 300),
    history: undefined,
    hasPresence,
    writeDelayMs: 0,
  }
  const settings = hasHistory(seed) ? withHistory(plain, random) : plain
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
  // Object.keys returns strings; these are the names of STEPS.
  const names = (Object.keys(STEPS) as StepName[]).filter((name) => {
    if (name in PRESENCE_STEPS) return settings.hasPresence
    return hasHistory(seed) || name in CLUSTER_STEPS
  })
  const kinds = names.filter((name) => {
    if (isLossless && LOSSES.includes(name)) return false
    if (name in PRESENCE_STEPS) return true
    if ((hasHistory(seed) || settings.hasPresence) && name in CLUSTER_STEPS && !ALWAYS.includes(name))
      return random.chance(KINDS_BESIDE_SHARE)
    return [...ALWAYS, ...ALWAYS_WITH_HISTORY].includes(name) || random.chance(KINDS_SHARE)
  })
  for (let left = random.between(20, 60); left > 0; left--) {
    const picks = [random.below(PICK), random.below(PICK), random.below(PICK)] as const
    steps.push(step(kindOf(kinds, random), picks, pauseMs(random)))
  }
  // The last draw, so that the steps of a seed are those that it had without.
  const writeDelayMs = random.chance(DELAYED_SHARE) ? random.between(1, MAX_WRITE_DELAY_MS) : 0
  return { seed, places, clients, settings: { ...settings, writeDelayMs }, steps }
}

/** Returns settings of nodes whose rooms have a history. */
function withHistory(plain: NodeSettings, random: Random): NodeSettings {
  return {
    ...plain,
    slowConsumer: random.chance(0.7) ? 'resync' : 'close',
    maxBufferedBytes: random.chance(0.3) ? 1_048_576 : 1_500,
    maxTotalBufferedBytes: random.chance(0.2) ? 6_000 : 268_435_456,
    history: {
      maxMessages: [3, 10, 1_000][random.below(3)] ?? 1_000,
      maxAgeMs: random.chance(0.2) ? 300 : 3_600_000,
      maxCachedBytes: [0, 3_000, 1_000_000][random.below(3)] ?? 0,
      tellsPrevious: random.chance(0.6),
    },
  }
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
