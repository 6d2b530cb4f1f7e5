import type { HistoryMessage } from './history-message.ts'
import type { HistoryLimits, Mark } from './history-store.ts'
import type { CachedRoom, MessageCache } from './message-cache.ts'

/** A list with more removed entries than this is packed once they are the larger part of it. */
const MIN_GAPS_TO_PACK = 64

/** Time, in ms, for which messages that were read again are kept: the store does not say how old they are. */
const READ_AGAIN_MS = 10_000

/** A message, and until when it may be replayed, in ms of `performance.now()`. */
interface Entry {
  readonly message: HistoryMessage
  readonly endsAt: number
}

/**
 * The latest messages of a room on this node, without a gap, ready for replays: within the limits of the
 * room's history.
 */
export class RecentMessages implements CachedRoom {
  readonly #limits: HistoryLimits
  /** Counts the messages of all rooms. */
  readonly #cache: MessageCache
  /** The message before the first one. */
  #floor: Mark
  #entries: (Entry | undefined)[] = []
  #removed = 0

  constructor(floor: Mark, limits: HistoryLimits, cache: MessageCache) {
    this.#floor = floor
    this.#limits = limits
    this.#cache = cache
  }

  push(message: HistoryMessage): void {
    this.#entries.push({ message, endsAt: performance.now() + this.#limits.maxAgeMs })
    this.#cache.add(this, [message])
    this.#removeOld()
  }

  /**
   * Adds messages that were read again, before the others.
   * @param floor the message before them
   * @param messages without a gap, up to the former floor
   */
  prepend(floor: Mark, messages: readonly HistoryMessage[]): void {
    const first = this.#entries[this.#removed]
    const endsAt = Math.min(
      performance.now() + Math.min(this.#limits.maxAgeMs, READ_AGAIN_MS),
      first?.endsAt ?? Number.POSITIVE_INFINITY,
    )
    const others = this.#entries.slice(this.#removed)
    this.#entries = [...messages.map((message) => ({ message, endsAt })), ...others]
    this.#removed = 0
    this.#floor = floor
    this.#cache.add(this, messages)
    this.#removeOld()
  }

  /** Removes a message, and those before it, if it is here. */
  drop(message: HistoryMessage): void {
    const index = this.#indexAfter(message.mark.offset) - 1
    if (this.#entries[index]?.message === message) this.#removeTo(index, message.mark)
  }

  /** Removes all messages; the next one follows `floor`. */
  clear(floor: Mark): void {
    for (const entry of this.#entries) if (entry !== undefined) this.#cache.delete(entry.message)
    this.#floor = floor
    this.#entries = []
    this.#removed = 0
  }

  /** The message before the first one that is here. */
  get floor(): Mark {
    this.#removeOld()
    return this.#floor
  }

  /** Whether all messages after a mark are here; `false` when that is not known. */
  covers(mark: Mark): boolean {
    return this.#indexFrom(mark) !== undefined
  }

  /** Returns the message after a mark; `undefined` when it is not here, or when that is not known. */
  next(mark: Mark): HistoryMessage | undefined {
    const index = this.#indexFrom(mark)
    return index === undefined ? undefined : this.#entries[index]?.message
  }

  /** Returns the mark before the latest `count` messages; `undefined` when fewer are here. */
  beforeLast(count: number): Mark | undefined {
    const { floor } = this
    const index = this.#entries.length - count
    if (index < this.#removed) return undefined
    return index === this.#removed ? floor : this.#entries[index - 1]?.message.mark
  }

  /** Returns the mark of the message with that offset; `undefined` when it is not here. */
  at(offset: number): Mark | undefined {
    const mark = this.#entries[this.#indexAfter(offset) - 1]?.message.mark
    return mark?.offset === offset ? mark : undefined
  }

  /** Removes the messages that exceed the limits of the room. */
  #removeOld(): void {
    const now = performance.now()
    const firstKept = this.#entries.length - this.#limits.maxMessages
    let last = this.#removed - 1
    let floor: Mark | undefined
    for (let entry = this.#entries[last + 1]; entry !== undefined; entry = this.#entries[last + 1]) {
      if (last + 1 >= firstKept && entry.endsAt >= now) break
      floor = entry.message.mark
      last++
    }
    if (floor !== undefined) this.#removeTo(last, floor)
  }

  #removeTo(last: number, floor: Mark): void {
    this.#floor = floor
    for (; this.#removed <= last; this.#removed++) {
      const entry = this.#entries[this.#removed]
      if (entry !== undefined) this.#cache.delete(entry.message)
      this.#entries[this.#removed] = undefined
    }
    if (this.#removed <= MIN_GAPS_TO_PACK || this.#removed * 2 <= this.#entries.length) return
    this.#entries = this.#entries.slice(this.#removed)
    this.#removed = 0
  }

  /**
   * Returns the index of the message after a mark; `undefined` when the message at the mark is not the one
   * that was there: the store has lost one of the two, and what comes after them is not the same.
   */
  #indexFrom({ epoch, offset, tag }: Mark): number | undefined {
    const { floor } = this
    const index = this.#indexAfter(offset)
    const known = index === this.#removed ? floor : this.#entries[index - 1]?.message.mark
    return known?.offset === offset && known.epoch === epoch && known.tag === tag ? index : undefined
  }

  /** Returns the index of the first message with a higher offset. */
  #indexAfter(offset: number): number {
    let low = this.#removed
    let high = this.#entries.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#entries[middle]?.message.mark.offset ?? 0) > offset) high = middle
      else low = middle + 1
    }
    return low
  }
}
