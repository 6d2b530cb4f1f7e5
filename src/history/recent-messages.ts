import type { HistoryMessage } from './history-message.ts'
import type { Mark } from './history-store.ts'

/** Removed messages at the front of a list, beyond which it is packed when they are the larger part of it. */
const MIN_GAPS_TO_PACK = 64

/** The latest messages of a room that this node delivered, without a gap, ready for replays. */
export class RecentMessages {
  /** The message before the first one. */
  #floor: Mark
  #messages: (HistoryMessage | undefined)[] = []
  #removed = 0

  constructor(floor: Mark) {
    this.#floor = floor
  }

  push(message: HistoryMessage): void {
    this.#messages.push(message)
  }

  /** Removes the oldest message, if it is this one. */
  drop(message: HistoryMessage): void {
    if (this.#messages[this.#removed] !== message) return
    this.#floor = message.mark
    this.#messages[this.#removed++] = undefined
    if (this.#removed <= MIN_GAPS_TO_PACK || this.#removed * 2 <= this.#messages.length) return
    this.#messages = this.#messages.slice(this.#removed)
    this.#removed = 0
  }

  /** Removes all messages; the next one follows `floor`. */
  clear(floor: Mark): void {
    this.#floor = floor
    this.#messages = []
    this.#removed = 0
  }

  /** Whether all messages after a mark are here. A mark whose message is not here cannot be told. */
  covers({ epoch, offset, tag }: Mark): boolean {
    const known = offset === this.#floor.offset ? this.#floor : this.at(offset)
    return known !== undefined && known.epoch === epoch && (known.tag === tag || known.tag === '')
  }

  /** Returns the message after an offset; `undefined` when it is not here. */
  next(offset: number): HistoryMessage | undefined {
    if (offset < this.#floor.offset) return undefined
    return this.#messages[this.#indexAfter(offset)]
  }

  /** Returns the mark before the latest `count` messages; `undefined` when fewer are here. */
  beforeLast(count: number): Mark | undefined {
    const index = this.#messages.length - count
    if (index < this.#removed) return undefined
    return index === this.#removed ? this.#floor : this.#messages[index - 1]?.mark
  }

  /** Returns the mark of the message with that offset; `undefined` when it is not here. */
  at(offset: number): Mark | undefined {
    const message = this.#messages[this.#indexAfter(offset) - 1]
    return message?.mark.offset === offset ? message.mark : undefined
  }

  /** Returns the index of the first message with a higher offset. */
  #indexAfter(offset: number): number {
    let low = this.#removed
    let high = this.#messages.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#messages[middle]?.mark.offset ?? 0) > offset) high = middle
      else low = middle + 1
    }
    return low
  }
}
