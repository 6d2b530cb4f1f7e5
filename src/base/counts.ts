/** Counts for each key. A key without any takes no memory. */
export class Counts<Key> {
  readonly #counts = new Map<Key, number>()

  of(key: Key): number {
    return this.#counts.get(key) ?? 0
  }

  /** Returns the keys that are counted. */
  keys(): IterableIterator<Key> {
    return this.#counts.keys()
  }

  /** Counts one more. @returns the new count */
  add(key: Key): number {
    const count = this.of(key) + 1
    this.#counts.set(key, count)
    return count
  }

  /** Counts one less, but never less than none. @returns the new count */
  remove(key: Key): number {
    const count = this.of(key) - 1
    if (count > 0) {
      this.#counts.set(key, count)
      return count
    }
    this.#counts.delete(key)
    return 0
  }
}
