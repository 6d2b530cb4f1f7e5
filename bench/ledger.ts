import type { Decoder } from './inflater.ts'
import { readHeader } from './servers/payload.mjs'

interface Entry {
  bytes: Buffer
  receivers: number
  sentMicros: number
}

/**
 * The messages of one room, in the order in which all its members must get them. When the first member gets a
 * message, every character is checked; the others must get the same bytes in the same place.
 */
export class Ledger {
  /** The number of clients that must get each message. */
  members: number
  readonly #isGenuine: (text: string, place: number) => boolean
  readonly #entries: (Entry | undefined)[] = []
  readonly #decode: Decoder

  constructor(members: number, decode: Decoder, isGenuine: (text: string, place: number) => boolean) {
    this.members = members
    this.#decode = decode
    this.#isGenuine = isGenuine
  }

  /**
   * Notes that a member got the message at `place`, and returns when that message was sent; negated once all
   * members have it.
   * @throws {Error} when it is not the message that belongs there.
   */
  record(place: number, bytes: Buffer, start: number, end: number): number {
    let entry = this.#entries[place]
    if (entry === undefined) {
      if (place !== this.#entries.length) throw new Error(`message ${place} came twice`)
      entry = this.#open(place, Buffer.from(bytes.subarray(start, end)))
      this.#entries.push(entry)
    } else if (bytes.compare(entry.bytes, 0, entry.bytes.length, start, end) !== 0) {
      throw new Error(`message ${place} differs between the clients`)
    }
    entry.receivers++
    if (entry.receivers < this.members) return entry.sentMicros
    this.#entries[place] = undefined
    return -entry.sentMicros
  }

  #open(place: number, bytes: Buffer): Entry {
    const text = this.#decode(bytes)
    if (!this.#isGenuine(text, place))
      throw new Error(`message ${place} is not the one that was sent: ${text.slice(0, 60)}`)
    return { bytes, receivers: 0, sentMicros: readHeader(text).sentMicros }
  }
}
