/** The fate of the messages that a client was to get. */
export interface Deliveries {
  received: number
  twice: number
  outOfOrder: number
  /** Not received, and the client was told so. */
  reported: number
  /** Not received, and the client was not told. */
  lost: number
}

/** The messages that a client has received, by their numbers, which begin at 0. */
export class DeliveryRecord {
  readonly #received: boolean[] = []
  readonly #reported: boolean[] = []
  #twice = 0
  #outOfOrder = 0
  #last = -1
  /** The last message before the client was away, and the first one after it. */
  #lastBefore = -1
  #firstAfter: number | undefined
  #isIncomplete = false

  /** The highest number received; −1 for none. */
  get last(): number {
    return this.#last
  }

  add(number: number): void {
    if (this.#received[number]) this.#twice++
    else if (number < this.#last) this.#outOfOrder++
    this.#received[number] = true
    this.#last = Math.max(this.#last, number)
    this.#firstAfter ??= number
    if (this.#isIncomplete) this.#report(this.#firstAfter)
  }

  /** The client is away from now on: it may miss what comes next. */
  leave(): void {
    if (this.#isIncomplete) return // the same gap
    this.#lastBefore = this.#last
    this.#firstAfter = undefined
  }

  /** The client was told that it has missed something since it left. */
  incomplete(): void {
    this.#isIncomplete = true
    if (this.#firstAfter !== undefined) this.#report(this.#firstAfter)
  }

  /** Counts the messages up to `total`, without those whose publisher was told that they were refused. */
  count(total: number, refused: ReadonlySet<number>): Deliveries {
    if (this.#isIncomplete) this.#report(total)
    const counts = { received: 0, twice: this.#twice, outOfOrder: this.#outOfOrder, reported: 0, lost: 0 }
    for (let number = 0; number < total; number++) {
      if (refused.has(number)) continue
      if (this.#received[number]) counts.received++
      else if (this.#reported[number]) counts.reported++
      else counts.lost++
    }
    return counts
  }

  #report(end: number): void {
    for (let number = this.#lastBefore + 1; number < end; number++) this.#reported[number] = true
    this.#isIncomplete = false
  }
}
