import type { Hub } from 'wshub'

/** Time, in ms, for which no other error of the same code is reported: anyone may cause one. */
const QUIET_MS = 60_000

/** Reports errors of the application's code in an inspector to its hub, one a minute of each. */
export class OptionErrors {
  readonly #hub: Hub<object>
  readonly #reportedAt = new Map<string, number>()

  constructor(hub: Hub<object>) {
    this.#hub = hub
  }

  /** @param where names the code, and is one of a few names */
  report(error: unknown, where: string): void {
    const now = performance.now()
    const last = this.#reportedAt.get(where)
    if (last !== undefined && now - last < QUIET_MS) return
    this.#reportedAt.set(where, now)
    this.#hub.reportError(error, where)
  }
}
