import { HubError, type HubErrorCode } from '../base/errors.ts'

/**
 * Reports faults that may come by the thousand: the first of a kind at once, the others as a count when `flush` is called.
 */
export class FaultDigest {
  readonly #report: (error: HubError) => void
  readonly #repeated = new Map<HubErrorCode, { last: HubError; count: number }>()

  constructor(report: (error: HubError) => void) {
    this.#report = report
  }

  add(error: HubError): void {
    const repeated = this.#repeated.get(error.code)
    if (repeated === undefined) {
      this.#repeated.set(error.code, { last: error, count: 0 })
      this.#report(error)
    } else {
      repeated.last = error
      repeated.count++
    }
  }

  flush(): void {
    const repeated = [...this.#repeated.values()]
    this.#repeated.clear()
    for (const { last, count } of repeated) {
      if (count === 0) continue
      this.#report(new HubError(last.code, `${count} more: ${last.message}`, { cause: last }))
    }
  }
}
