import { type Hub, HubError } from 'wshub'

/** Time, in ms, for which no other error of the same place is reported: anyone may cause one. */
const QUIET_MS = 60_000

/** Reports errors of the application's code in an inspector to its hub: one a minute for each place. */
export class OptionErrors {
  readonly #hub: Hub<object>
  readonly #reported = new Map<string, { readonly at: number; left: number }>()

  constructor(hub: Hub<object>) {
    this.#hub = hub
  }

  /** @param where names the code, and is one of a few names */
  report(error: unknown, where: string): void {
    const now = performance.now()
    const last = this.#reported.get(where)
    if (last !== undefined && now - last.at < QUIET_MS) {
      last.left++
      return
    }
    this.#reported.set(where, { at: now, left: 0 })
    if (last !== undefined && last.left > 0) {
      const text = `${where} has failed ${last.left} more times since the last report`
      this.#hub.reportError(new HubError('WSHUB_ERR_HANDLER_THREW', text), where)
    }
    this.#hub.reportError(error, where)
  }
}
