import type { Mark, StoredRecord } from './history-store.ts'

/**
 * Most bytes of records held for one room, and for all rooms of a hub. Others are read from the store again.
 */
const MAX_ROOM_BYTES = 1_048_576
const MAX_HUB_BYTES = 16_777_216
/** Approximate bytes of memory that a held record takes in addition to its length. */
const OVERHEAD_BYTES = 256

/** The bytes held for all rooms of a hub. */
export interface HeldBytes {
  all: number
}

/** Messages of a room that arrived before their predecessors. */
export class HeldRecords {
  readonly #shared: HeldBytes
  #records: StoredRecord[] = []
  #bytes = 0

  constructor(shared: HeldBytes) {
    this.#shared = shared
  }

  get isEmpty(): boolean {
    return this.#records.length === 0
  }

  /** Holds a message, or drops it when too much is held. */
  add(stored: StoredRecord): void {
    const bytes = stored.record.length + OVERHEAD_BYTES
    if (this.#bytes + bytes > MAX_ROOM_BYTES || this.#shared.all + bytes > MAX_HUB_BYTES) return
    this.#bytes += bytes
    this.#shared.all += bytes
    this.#records.push(stored)
  }

  /**
   * Removes the messages that can be delivered now, one after the other, and returns them in order.
   * @param contradicts whether another message with the offset of this one was delivered
   * @returns `undefined`, and holds nothing more, when the store has had two messages with one offset: it has
   *   lost one of them, and what is held may follow either
   */
  take(delivered: Mark, contradicts: (stored: StoredRecord) => boolean): StoredRecord[] | undefined {
    if (this.isEmpty) return []
    const taken: StoredRecord[] = []
    const left: StoredRecord[] = []
    let { offset } = delivered
    let isContradicted = false
    for (const stored of this.#records.sort((a, b) => a.offset - b.offset)) {
      if (stored.epoch !== delivered.epoch) left.push(stored)
      else if (stored.offset <= offset) {
        const last = taken.at(-1)
        isContradicted ||= last === undefined ? contradicts(stored) : last.tag !== stored.tag
      } else if (stored.previous > offset) left.push(stored)
      else {
        taken.push(stored)
        offset = stored.offset
      }
    }
    this.clear()
    if (isContradicted) return undefined
    for (const stored of left) this.add(stored)
    return taken
  }

  /** Returns the offset before the first message of an epoch; `undefined` when none is held. */
  offsetBefore(epoch: string): number | undefined {
    const offsets = this.#records.filter((stored) => stored.epoch === epoch).map(({ previous }) => previous)
    return offsets.length === 0 ? undefined : Math.min(...offsets)
  }

  clear(): void {
    this.#records = []
    this.#shared.all -= this.#bytes
    this.#bytes = 0
  }
}
