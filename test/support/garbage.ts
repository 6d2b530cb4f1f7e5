import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Collects garbage now. */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  const gc: unknown = runInNewContext('gc')
  if (typeof gc !== 'function') throw new Error('there is no gc')
  gc()
}

/** Objects that are counted for as long as something refers to them. */
export class Tracked {
  readonly #refs: WeakRef<object>[] = []

  add(object: object): void {
    this.#refs.push(new WeakRef(object))
  }

  /** How many were added. */
  get total(): number {
    return this.#refs.length
  }

  /**
   * How many are still there after a collection. A `WeakRef` keeps its object until the turn ends in which it
   * was read.
   */
  async alive(): Promise<number> {
    await new Promise((resolve) => setImmediate(resolve))
    collectGarbage()
    return this.#refs.filter((ref) => ref.deref() !== undefined).length
  }
}
