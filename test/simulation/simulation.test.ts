import { describe, expect, it } from 'vitest'
import { run } from './run.ts'
import { scriptOf } from './script.ts'
import { describeFailure, runSeeds } from './seeds.ts'
import { shrink } from './shrink.ts'

/** The first seed of each test: together, they run 500. */
const FIRSTS = [1, 101, 201, 301, 401]
const SEEDS = 100

describe('The simulation', () => {
  it('gives the same trace for the same seed, byte for byte', async () => {
    for (const seed of [1, 2, 3, 5, 8]) {
      const [first, second] = [await run(scriptOf(seed)), await run(scriptOf(seed))]
      expect(first.trace.length).toBeGreaterThan(100)
      expect(second.trace.join('\n')).toBe(first.trace.join('\n'))
    }
  })

  it('gives other traces for other seeds', async () => {
    const [first, second] = [await run(scriptOf(1)), await run(scriptOf(2))]
    expect(second.trace.join('\n')).not.toBe(first.trace.join('\n'))
  })

  // `npm run simulate` does the same with 100,000 seeds.
  it.each(FIRSTS)(`finds that every rule holds for ${SEEDS} seeds from %i on`, async (first) => {
    const { messages, failure } = await runSeeds(first, SEEDS)
    if (failure !== undefined) expect.fail(describeFailure(await shrink(failure)))
    expect(messages).toBeGreaterThan(10 * SEEDS)
  })
})
