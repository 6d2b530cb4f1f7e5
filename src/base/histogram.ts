/** Values that were counted by size. */
export interface Distribution {
  /** The upper bounds of the buckets, each included, in rising order. */
  readonly bounds: readonly number[]
  /** How many values each bucket has, one more than there are bounds: the last is for values above them. */
  readonly counts: readonly number[]
  /** The sum of all values. */
  readonly sum: number
}

/** Counts values by size, in buckets that never change. */
export class Histogram {
  readonly #bounds: readonly number[]
  readonly #counts: Float64Array
  #sum = 0

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = new Float64Array(bounds.length + 1)
  }

  record(value: number): void {
    const bounds = this.#bounds
    const counts = this.#counts
    let bucket = 0
    while (value > (bounds[bucket] ?? Number.POSITIVE_INFINITY)) bucket++
    counts[bucket] = (counts[bucket] ?? 0) + 1
    this.#sum += value
  }

  /** Returns the counts as of now. */
  snapshot(): Distribution {
    return { bounds: this.#bounds, counts: [...this.#counts], sum: this.#sum }
  }
}
