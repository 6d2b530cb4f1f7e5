/** Requests that wait for an answer, which cannot come any more when the connection is lost. */
export class PendingRequests {
  readonly #rejects = new Set<(reason: Error) => void>()
  readonly #onEmpty: (() => void)[] = []

  /** Returns what a request resolves with; rejects when it fails, or at the next {@link fail}. */
  async track<Answer>(request: Promise<Answer>): Promise<Answer> {
    let reject: ((reason: Error) => void) | undefined
    const lost = new Promise<never>((_resolve, fail) => {
      reject = fail
      this.#rejects.add(fail)
    })
    try {
      return await Promise.race([request, lost])
    } finally {
      if (reject !== undefined) this.#rejects.delete(reject)
      if (this.#rejects.size === 0) for (const resolve of this.#onEmpty.splice(0)) resolve()
    }
  }

  /** Resolves once no request waits. */
  async settled(): Promise<void> {
    if (this.#rejects.size > 0) await new Promise<void>((resolve) => this.#onEmpty.push(resolve))
  }

  /** Has all requests fail that have no answer yet. */
  fail(reason: Error): void {
    for (const reject of this.#rejects) reject(reason)
    this.#rejects.clear()
  }
}
