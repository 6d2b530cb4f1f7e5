const WINDOW = 8_192
const BITS = 32

/**
 * Which of a rising series of numbers have been seen, for the latest 8,192 of them, in a kilobyte. It tells apart the copies
 * of one message that come on several channels.
 * @see RFC 4303 §3.4.3, the anti-replay window
 */
export class ReplayWindow {
  readonly #seen = new Uint32Array(WINDOW / BITS)
  #highest = 0
  /** Of the node's beats, the one of the latest number. */
  usedAt = 0

  /** Takes note of a number from 1; `seen` when it was there before, `late` when it is too old to tell. */
  add(number: number, beat: number): 'new' | 'seen' | 'late' {
    this.usedAt = beat
    if (number <= this.#highest - WINDOW) return 'late'
    if (number > this.#highest) {
      this.#forget(this.#highest + 1, number)
      this.#highest = number
    }
    const slot = number % WINDOW
    const index = Math.floor(slot / BITS)
    const bit = 1 << (slot % BITS)
    const word = this.#seen[index] ?? 0
    if ((word & bit) !== 0) return 'seen'
    this.#seen[index] = word | bit
    return 'new'
  }

  /** The slots of these numbers still hold what was a whole window before. */
  #forget(from: number, to: number): void {
    if (to - from >= WINDOW) {
      this.#seen.fill(0)
      return
    }
    for (let number = from; number <= to; number++) {
      const slot = number % WINDOW
      const index = Math.floor(slot / BITS)
      this.#seen[index] = (this.#seen[index] ?? 0) & ~(1 << (slot % BITS))
    }
  }
}
