/**
 * Items that become due after the same delay, in the order in which they were added. It needs one timer,
 * however many there are.
 */
export class DueQueue<Item> {
  readonly #delayMs: number
  readonly #due: (item: Item) => void
  #items: { readonly item: Item; readonly at: number }[] = []
  /** The index of the first item that is not due. */
  #start = 0
  #timer: NodeJS.Timeout | undefined

  constructor(delayMs: number, due: (item: Item) => void) {
    this.#delayMs = delayMs
    this.#due = due
  }

  /** The number of items that are not due yet. */
  get size(): number {
    return this.#items.length - this.#start
  }

  add(item: Item): void {
    this.#items.push({ item, at: performance.now() + this.#delayMs })
    this.#timer ??= setTimeout(this.#sweep, this.#delayMs).unref()
  }

  /** Drops all items. */
  close(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#items = []
    this.#start = 0
  }

  readonly #sweep = (): void => {
    this.#timer = undefined
    const now = performance.now()
    for (let next = this.#items[this.#start]; next !== undefined; next = this.#items[this.#start]) {
      if (next.at > now) {
        this.#timer ??= setTimeout(this.#sweep, Math.ceil(next.at - now)).unref()
        break
      }
      this.#start++
      this.#due(next.item)
    }
    if (this.#start * 2 < this.#items.length) return
    this.#items = this.#items.slice(this.#start)
    this.#start = 0
  }
}
