import type { Backplane } from 'wshub'
import { checkKeys } from '../known-keys.ts'
import { CaseContext } from './case-context.ts'
import { LIFE_CASES } from './life-cases.ts'
import { MESSAGE_CASES } from './message-cases.ts'
import { OUTAGE_CASES } from './outage-cases.ts'
import { SUBSCRIPTION_CASES } from './subscription-cases.ts'

/** A running engine, and how to reach it. */
export interface BackplaneSetup {
  /** Makes a backplane that was not started. All backplanes of a setup use the same engine. */
  create(): Backplane
  /** Makes the engine unreachable for all of them. Without it, outages are not tested. */
  cut?: () => void | Promise<void>
  /** Undoes `cut`; also called when there is nothing to undo. */
  restore?: () => void | Promise<void>
  /**
   * Time, in ms, that each step may take; 1 or more. Default 5 000, the time in which a hub recovers from an
   * outage.
   */
  timeoutMs?: number
}

const DEFAULT_TIMEOUT_MS = 5_000

const SETUP: Record<keyof BackplaneSetup, undefined> = {
  create: undefined,
  cut: undefined,
  restore: undefined,
  timeoutMs: undefined,
}

/** One requirement of the contract. */
export interface BackplaneContractCase {
  readonly name: string
  /** Rejects when the backplane does not meet it. Run the cases of a setup one at a time. */
  run(): Promise<void>
}

/**
 * Returns the contract that a hub relies on, case by case, for any test runner:
 * `for (const { name, run } of backplaneContract(setup)) it(name, run)`.
 * @throws {TypeError} for an unknown key of the setup, and without `create`
 */
export function backplaneContract(setup: BackplaneSetup): BackplaneContractCase[] {
  checkKeys(setup, SETUP, 'the parts of a setup')
  if (typeof setup.create !== 'function')
    throw new TypeError('create must be a function that returns a backplane')
  const { cut, restore, timeoutMs = DEFAULT_TIMEOUT_MS } = setup
  const cases: Record<string, (context: CaseContext) => Promise<void>> = {
    ...LIFE_CASES,
    ...MESSAGE_CASES,
    ...SUBSCRIPTION_CASES,
  }
  if (cut !== undefined && restore !== undefined) {
    for (const [name, body] of Object.entries(OUTAGE_CASES)) {
      cases[name] = async (context) => {
        try {
          await body(context, { cut: async () => cut(), restore: async () => restore() })
        } finally {
          await restore()
        }
      }
    }
  }
  return Object.entries(cases).map(([name, body]) => ({
    name,
    async run() {
      const context = new CaseContext(() => setup.create(), timeoutMs)
      try {
        await body(context)
      } finally {
        await context.close()
      }
    },
  }))
}
