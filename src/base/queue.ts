/** Removed items at the front, beyond which a queue is packed when they are the larger part of it. */
const MIN_GAPS_TO_PACK = 64

/** Items in the order in which they were added. It takes no longer to remove the first one of many. */
export class Queue<Item> {
  #items: (Item | undefined)[] = []
  #start = 0

  get size(): number {
    return this.#items.length - this.#start
  }

  /** The item that was added first; `undefined` when there is none. */
  get first(): Item | undefined {
    return this.#items[this.#start]
  }

  push(item: Item): void {
    this.#items.push(item)
  }

  /** Removes the item that was added first. */
  shift(): Item | undefined {
    const { first } = this
    if (this.#start === this.#items.length) return undefined
    this.#items[this.#start++] = undefined
    if (this.#start > MIN_GAPS_TO_PACK && this.#start * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#start)
      this.#start = 0
    }
    return first
  }
}
