import { HubError, type HubErrorCode } from './errors.ts'
import { textOf } from './thrown.ts'

/** Deduplicates reports: the first error of each code at once, repeats as one count at `flush`. */
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

  /** Adds an error of the backplane. The application may have written the backplane, and so the cause. */
  addBackplane(what: string, cause?: unknown): void {
    const message = textOf(cause, 'message')
    const detail = message === undefined ? '' : ` (${message})`
    this.add(new HubError('WSHUB_ERR_BACKPLANE', `the backplane ${what}${detail}`, { cause }))
  }

  /** Reports the repeats, and starts again. */
  flush(): void {
    const repeated = [...this.#repeated.values()]
    this.#repeated.clear()
    for (const { last, count } of repeated) {
      if (count === 0) continue
      this.#report(new HubError(last.code, `${count} more: ${last.message}`, { cause: last }))
    }
  }
}
