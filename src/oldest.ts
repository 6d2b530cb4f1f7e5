/** What has keys in the order of their arrival: a `Map` or a `Set`. */
interface Keyed<Key> {
  keys(): Iterator<Key, undefined>
}

/**
 * Finds the oldest keys of a Map or a Set from which they are then deleted. Looking from the start would pass, each time, all
 * that have been deleted since it last grew: to replace one of 100,000 takes 69 µs that way, 1 µs this way.
 */
export class Oldest<Key> {
  readonly #of: Keyed<Key>
  #keys: Iterator<Key, undefined>

  constructor(of: Keyed<Key>) {
    this.#of = of
    this.#keys = of.keys()
  }

  /** The next one, from the oldest on; those behind the last are those that came since. `undefined` when there is none. */
  next(): Key | undefined {
    const { value, done } = this.#keys.next()
    if (done !== true) return value
    this.#keys = this.#of.keys() // the other was at the end, and stays there
    return this.#keys.next().value
  }
}
