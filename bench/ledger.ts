import { constants, inflateRawSync } from 'node:zlib'
import { readHeader } from './servers/payload.mjs'

interface Entry {
  bytes: Buffer
  receivers: number
  sentMicros: number
}

/**
 * The messages of one room, in the order in which all its members must get them. The first member to get a message has
 * it checked to the last character; the others must get the same bytes at the same place.
 */
export class Ledger {
  /** How many clients must get each message. */
  members: number
  readonly #isGenuine: (text: string, place: number) => boolean
  readonly #entries: (Entry | undefined)[] = []
  #inflate: ((bytes: Buffer) => string) | undefined

  constructor(members: number, isGenuine: (text: string, place: number) => boolean) {
    this.members = members
    this.#isGenuine = isGenuine
  }

  /** Decompresses messages with the parameters that the server chose for its clients. */
  useCompression(extensions: string): void {
    this.#inflate = extensions.includes('server_no_context_takeover') ? inflateAlone() : inflateInContext()
  }

  /**
   * Notes that a member got the message at `place`, and returns when that was sent, negated once all members got it.
   * @throws {Error} when it is not the message that belongs there.
   */
  record(place: number, bytes: Buffer, start: number, end: number, compressed: boolean): number {
    let entry = this.#entries[place]
    if (entry === undefined) {
      if (place !== this.#entries.length) throw new Error(`message ${place} came twice`)
      entry = this.#open(place, Buffer.from(bytes.subarray(start, end)), compressed)
      this.#entries.push(entry)
    } else if (bytes.compare(entry.bytes, 0, entry.bytes.length, start, end) !== 0) {
      throw new Error(`message ${place} differs between the clients`)
    }
    entry.receivers++
    if (entry.receivers < this.members) return entry.sentMicros
    this.#entries[place] = undefined
    return -entry.sentMicros
  }

  #open(place: number, bytes: Buffer, compressed: boolean): Entry {
    const text = compressed && this.#inflate ? this.#inflate(bytes) : bytes.toString('latin1')
    if (!this.#isGenuine(text, place))
      throw new Error(`message ${place} is not the one that was sent: ${text.slice(0, 60)}`)
    return { bytes, receivers: 0, sentMicros: readHeader(text).sentMicros }
  }
}

// What RFC 7692 §7.2.1 takes from the end of each message.
const TAIL = Buffer.from([0x00, 0x00, 0xff, 0xff])

function inflateAlone(): (bytes: Buffer) => string {
  return (bytes) =>
    inflateRawSync(Buffer.concat([bytes, TAIL]), { finishFlush: constants.Z_SYNC_FLUSH }).toString('latin1')
}

/** For a server that keeps its compression context: what was said before is the dictionary. */
function inflateInContext(): (bytes: Buffer) => string {
  let window = Buffer.alloc(0)
  return (bytes) => {
    const message = inflateRawSync(Buffer.concat([bytes, TAIL]), {
      finishFlush: constants.Z_SYNC_FLUSH,
      ...(window.length > 0 && { dictionary: window }),
    })
    window = Buffer.from(Buffer.concat([window, message]).subarray(-32_768))
    return message.toString('latin1')
  }
}
