import type { HistoryStore } from 'wshub'
import { checkKeys } from '../known-keys.ts'
import { Bench } from './bench.ts'
import { FEED_CASES } from './feed-cases.ts'
import { LOG_CASES } from './log-cases.ts'
import { OUTAGE_CASES } from './outage-cases.ts'
import { SHARED_CASES } from './shared-cases.ts'

/** A store whose engine is up, and how to reach it. */
export interface HistorySetup {
  /**
   * Makes a store that was not started. All of one setup share the same history, unless `isShared` is false.
   */
  create(): HistoryStore
  /** Makes the engine unreachable for all of them. Without it, what happens meanwhile is not tested. */
  cut?: () => void | Promise<void>
  /** Undoes `cut`; also called where there is nothing to undo. */
  restore?: () => void | Promise<void>
  /** Evicts what the engine keeps of all rooms, as it would when memory is short. Without it, not tested. */
  evict?: () => void | Promise<void>
  /** Time, in ms, that each step may take; 1 or more. Default 5 000. */
  timeoutMs?: number
}

const SETUP: Record<keyof HistorySetup, undefined> = {
  create: undefined,
  cut: undefined,
  restore: undefined,
  evict: undefined,
  timeoutMs: undefined,
}

/** One thing that a store has to do. */
export interface HistoryContractCase {
  readonly name: string
  /** Rejects when the store does not do it. Not to be run beside another case of the same setup. */
  run(): Promise<void>
}

/** The body of a case. */
export type Case = (bench: Bench) => Promise<void>

/**
 * Returns the contract that a hub relies on, case by case, for any test runner:
 * `for (const { name, run } of historyContract(setup)) it(name, run)`.
 * @throws {TypeError} for an unknown part of the setup, and without `create`
 */
export function historyContract(setup: HistorySetup): HistoryContractCase[] {
  checkKeys(setup, SETUP, 'the parts of a setup')
  if (typeof setup.create !== 'function') throw new TypeError('create is a function that makes a store')
  const cases: Record<string, Case> = { ...LOG_CASES, ...FEED_CASES }
  const sample = setup.create()
  if (sample.isShared) Object.assign(cases, SHARED_CASES)
  void sample.close()
  if (setup.cut !== undefined && setup.restore !== undefined) Object.assign(cases, OUTAGE_CASES)
  if (setup.evict !== undefined) {
    cases['shows an eviction as another epoch'] = async (bench) => {
      const store = await bench.started()
      const room = bench.room()
      await store.append(room, 'one')
      const mark = await store.append(room, 'two')
      await setup.evict?.()
      await store.expectIncomplete(room, mark)
      const next = await store.append(room, 'three')
      await store.expectTexts(room, { last: 10 }, ['three'])
      if (next.epoch === mark.epoch) throw new Error('the epoch is still the same')
    }
  }
  return Object.entries(cases).map(([name, body]) => ({
    name,
    async run() {
      const bench = new Bench(setup)
      try {
        await body(bench)
      } finally {
        await setup.restore?.()
        await bench.close()
      }
    },
  }))
}
