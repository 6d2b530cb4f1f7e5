import type { OutgoingChannel } from './sequences.ts'

/** A message that waits, as an envelope. */
export interface EarlyMessage {
  readonly channel: OutgoingChannel
  /** Its number on the channel. */
  readonly sequence: number
  readonly bytes: Buffer
}

/** Bytes that a message counts in addition to its own. */
const OVERHEAD_BYTES = 256

/** The messages that were published before the cluster was reached for the first time, in order. */
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

  /** Adds a message. @returns `false` when it does not fit */
  add(message: EarlyMessage): boolean {
    const bytes = message.bytes.length + OVERHEAD_BYTES
    if (this.#bytes + bytes > this.#maxBytes) return false
    this.#bytes += bytes
    this.#messages.push(message)
    return true
  }

  /** Removes all messages and returns them. */
  take(): readonly EarlyMessage[] {
    const messages = this.#messages
    this.#messages = []
    this.#bytes = 0
    return messages
  }
}
