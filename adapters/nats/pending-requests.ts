/** Requests that wait for an answer, which cannot come any more when the connection is lost. */
export class PendingRequests {
  readonly #rejects = new Set<(reason: Error) => void>()

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
    }
  }

  /** Has all requests fail that have no answer yet. */
  fail(reason: Error): void {
    for (const reject of this.#rejects) reject(reason)
    this.#rejects.clear()
  }
}
