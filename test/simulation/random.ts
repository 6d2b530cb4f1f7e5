/** A seeded source of random numbers: the same seed gives the same numbers, on every machine. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = (Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ 0x2545f491) >>> 0
    for (let i = 0; i < 4; i++) this.next() // the first numbers of neighbouring seeds are alike
  }

  /** Returns a number from 0 up to, not including, 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }

  /** Returns an integer from 0 up to, not including, `end`. */
  below(end: number): number {
    return Math.floor(this.next() * end)
  }

  /** Returns an integer between the two, both included. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1)
  }

  /** Returns whether something happens that has this probability. */
  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** Returns so many bytes. */
  bytes(count: number): Buffer {
    return Buffer.from(Array.from({ length: count }, () => this.below(256)))
  }
}
