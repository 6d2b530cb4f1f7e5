/**
 * Items that have the same time limit, until they are deleted. It needs one timer, however many there are: a
 * timer for each pending upgrade would cost more than all other checks of it.
 */
export class Deadlines<Item> {
  readonly #limitMs: number
  readonly #passed: (item: Item) => void
  /** When each is due, by the clock of `performance`; the first one is due first. */
  readonly #dueAt = new Map<Item, number>()
  #timer: NodeJS.Timeout | undefined

  /**
   * @param limitMs 0 = no limit
   * @param passed is called for an item that is due, and again each time the limit has passed once more
   */
  constructor(limitMs: number, passed: (item: Item) => void) {
    this.#limitMs = limitMs
    this.#passed = passed
  }

  add(item: Item): void {
    if (this.#limitMs === 0) return
    this.#dueAt.set(item, performance.now() + this.#limitMs)
    // Left running when the item is deleted: most upgrades are pending for less than a millisecond.
    this.#timer ??= setTimeout(this.#sweep, this.#limitMs).unref()
  }

  delete(item: Item): void {
    this.#dueAt.delete(item)
  }

  /** Stops the timer, which starts again with the next item. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#dueAt.clear()
  }

  readonly #sweep = (): void => {
    this.#timer = undefined
    const now = performance.now()
    for (const [item, at] of this.#dueAt) {
      if (at > now) break
      this.#dueAt.delete(item)
      this.#dueAt.set(item, now + this.#limitMs)
      this.#passed(item)
    }
    const [next] = this.#dueAt.values()
    if (next !== undefined) this.#timer ??= setTimeout(this.#sweep, Math.ceil(next - now)).unref()
  }
}
