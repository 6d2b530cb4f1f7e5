/** The number of latest numbers that are remembered; a kilobyte for each publisher. */
const WINDOW = 8_192
const BITS = 32
/** The number of publishers that are remembered. */
const MAX_WINDOWS = 10_000

/** The numbers of messages that were published on several channels at once: each is delivered once. */
export class ReplayWindows {
  readonly #windows = new Map<string, ReplayWindow>()

  /** Records a number of a publisher; see {@link ReplayWindow.add}. */
  add(node: string, number: number, beat: number): 'new' | 'seen' | 'late' {
    let window = this.#windows.get(node)
    if (window === undefined) {
      window = new ReplayWindow()
      const [oldest] = this.#windows.keys()
      if (oldest !== undefined && this.#windows.size >= MAX_WINDOWS) this.#windows.delete(oldest)
      this.#windows.set(node, window)
    }
    return window.add(number, beat)
  }

  delete(node: string): void {
    this.#windows.delete(node)
  }

  /** Forgets publishers. @param isGone is given the beat of the publisher's latest message */
  forget(isGone: (node: string, beat: number) => boolean): void {
    for (const [node, { usedAt }] of this.#windows) if (isGone(node, usedAt)) this.#windows.delete(node)
  }
}

/**
 * The numbers of one publisher that have been seen, among the latest 8,192 of a rising series: tells a
 * message from its copies on other channels.
 * @see RFC 4303 §3.4.3, the anti-replay window
 */
export class ReplayWindow {
  readonly #seen = new Uint32Array(WINDOW / BITS)
  #highest = 0
  /** The beat of the latest number. */
  usedAt = 0

  /**
   * Records a number, 1 or more.
   * @returns `seen` when it was added before, `late` when it is too old to tell
   */
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

  /** Clears the slots of these numbers: they still hold numbers of one window earlier. */
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
