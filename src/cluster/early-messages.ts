import type { OutgoingChannel } from './sequences.ts'

/** A message that waits, as an envelope. */
export interface EarlyMessage {
  readonly channel: OutgoingChannel
  readonly sequence: number
  readonly bytes: Buffer
}

/** What a message counts beside its bytes. */
const OVERHEAD_BYTES = 256

/** What was published before a node was connected for the first time, in order. */
export class EarlyMessages {
  readonly #maxBytes: number
  #messages: EarlyMessage[] = []
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** How many wait. */
  get size(): number {
    return this.#messages.length
  }

  /** Takes a message in; `false` when it does not fit. */
  add(message: EarlyMessage): boolean {
    const bytes = message.bytes.length + OVERHEAD_BYTES
    if (this.#bytes + bytes > this.#maxBytes) return false
    this.#bytes += bytes
    this.#messages.push(message)
    return true
  }

  /** Hands over all, and is empty. */
  take(): readonly EarlyMessage[] {
    const messages = this.#messages
    this.#messages = []
    this.#bytes = 0
    return messages
  }
}
