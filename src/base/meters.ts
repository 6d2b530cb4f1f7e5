import { type Distribution, Histogram } from './histogram.ts'

/** Counts values by size, in histograms that have names. */
export interface Recorder<Name extends string> {
  record(name: Name, value: number): void
}

/** Several histograms, each with the upper bounds of its buckets. */
export class Meters<Name extends string> implements Recorder<Name> {
  readonly #histograms: ReadonlyMap<Name, Histogram>
  readonly #recorded: (name: Name, value: number) => void

  /** @param recorded is called for each value */
  constructor(
    bounds: Readonly<Record<Name, readonly number[]>>,
    recorded: (name: Name, value: number) => void = () => {},
  ) {
    const names = Object.keys(bounds) as Name[] // `keys` forgets the names
    this.#histograms = new Map(names.map((name) => [name, new Histogram(bounds[name])]))
    this.#recorded = recorded
  }

  record(name: Name, value: number): void {
    this.#histograms.get(name)?.record(value)
    this.#recorded(name, value)
  }

  /** Returns the counts as of now. */
  snapshot(): Readonly<Record<Name, Distribution>> {
    const entries = [...this.#histograms].map(([name, histogram]) => [name, histogram.snapshot()] as const)
    return Object.fromEntries(entries) as Record<Name, Distribution> // has all names, which it forgets
  }
}
