/** Work that is done in steps. Each value is what the step that was just done has cost. */
export type Steps = Iterator<number>

/**
 * Work of any size, done in the order in which it was added and not much of it in one turn of the event loop.
 * Work that fits into the turn in which it is added is done at once.
 */
export class PacedWork {
  readonly #mostPerTurn: number
  readonly #tasks = new Set<Steps>()
  /** The cost of the steps that may still be done in this turn. */
  #left: number
  #next: NodeJS.Immediate | undefined
  #isRunning = false

  /** @param mostPerTurn the cost after which the rest waits for the next turn */
  constructor(mostPerTurn: number) {
    this.#mostPerTurn = mostPerTurn
    this.#left = mostPerTurn
  }

  add(steps: Steps): void {
    this.#tasks.add(steps)
    this.#run()
  }

  /** Drops the work that is left. */
  close(): void {
    this.#tasks.clear()
    if (this.#next !== undefined) clearImmediate(this.#next)
    this.#next = undefined
  }

  #run(): void {
    if (this.#isRunning) return // a step has added some
    this.#isRunning = true
    // Also when everything is done: what is left of the turn must be counted anew in the next one.
    this.#next ??= setImmediate(this.#turn)
    try {
      for (const steps of this.#tasks) {
        while (this.#left > 0 && this.#tasks.has(steps)) {
          const { done, value } = steps.next()
          if (done === true) this.#tasks.delete(steps)
          else this.#left -= value
        }
        if (this.#left <= 0) return
      }
    } finally {
      this.#isRunning = false
    }
  }

  readonly #turn = (): void => {
    this.#next = undefined
    this.#left = this.#mostPerTurn
    if (this.#tasks.size > 0) this.#run()
  }
}
