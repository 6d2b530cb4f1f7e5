import { Queue } from '../base/queue.ts'
import type { HistoryMessage } from './history-message.ts'
import type { Mark } from './history-store.ts'
import type { RecentMessages } from './recent-messages.ts'

interface Entry {
  readonly recent: RecentMessages
  readonly message: HistoryMessage
}

/** Bounds the recent messages of all rooms of a hub: the oldest are removed first. */
export class MessageCache {
  readonly #maxBytes: number
  readonly #queue = new Queue<Entry>()
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  add(recent: RecentMessages, message: HistoryMessage): void {
    recent.push(message)
    this.#count(recent, message)
  }

  /** Adds messages before the others of their room; see {@link RecentMessages.prepend}. */
  prepend(recent: RecentMessages, floor: Mark, messages: readonly HistoryMessage[]): void {
    recent.prepend(floor, messages)
    for (const message of messages) this.#count(recent, message)
  }

  #count(recent: RecentMessages, message: HistoryMessage): void {
    this.#queue.push({ recent, message })
    this.#bytes += message.bytes
    while (this.#bytes > this.#maxBytes) this.#dropOldest()
  }

  #dropOldest(): void {
    const oldest = this.#queue.shift()
    if (oldest === undefined) return
    oldest.recent.drop(oldest.message)
    this.#bytes -= oldest.message.bytes
  }
}
