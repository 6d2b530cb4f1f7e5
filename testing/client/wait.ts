/**
 * A wait counts its time in steps. A process that stalls loses only one of them, however long it stalls.
 */
const STEPS = 10

// Taken when the module is loaded: a test may fake the timers of its application.
const { setInterval, clearInterval } = globalThis

/** A promise with a time limit. */
export class Wait<T> {
  /** Resolves with the value passed to `end`, or with `undefined` when the time is over first. */
  readonly promise: Promise<T | undefined>
  readonly #timer: NodeJS.Timeout | undefined
  #resolve: (value: T | undefined) => void = () => {}

  /** @param timeoutMs 0 = no limit */
  constructor(timeoutMs: number) {
    this.promise = new Promise((resolve) => {
      this.#resolve = resolve
    })
    if (timeoutMs === 0) return
    let steps = 0
    // Not unref'ed: until the answer arrives or the time is over, nothing else may keep the process alive.
    this.#timer = setInterval(() => {
      steps++
      if (steps === STEPS) this.end()
    }, timeoutMs / STEPS)
  }

  /** Ends the wait. Without effect when it has ended. */
  end(value?: T): void {
    clearInterval(this.#timer)
    this.#resolve(value)
  }
}
