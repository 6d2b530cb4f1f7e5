import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Collects garbage now. */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  const gc: unknown = runInNewContext('gc')
  if (typeof gc !== 'function') throw new Error('there is no gc')
  gc()
}

/** Counts objects for as long as they are referenced. */
export class Tracked {
  readonly #refs: WeakRef<object>[] = []

  add(object: object): void {
    this.#refs.push(new WeakRef(object))
  }

  /** The number of added objects. */
  get total(): number {
    return this.#refs.length
  }

  /**
   * Returns how many are left after a collection. A `WeakRef` keeps its object until the end of the turn in
   * which it was read.
   */
  async alive(): Promise<number> {
    await new Promise((resolve) => setImmediate(resolve))
    collectGarbage()
    return this.#refs.filter((ref) => ref.deref() !== undefined).length
  }
}
