import { FIN, headerLength, MASK, MASK_BYTES, OPCODE, Opcode, payloadLength, RSV1 } from './frame-header.ts'
import { MaskedText } from './masked-text.ts'
import { unmask } from './unmask.ts'

/** Shorter messages are left to `ws`: a view of them takes as long as it saves. */
const MIN_UNMASKED_BYTES = 256

/**
 * Reads the frames of a client before `ws` does.
 *
 * - Finds invalid UTF-8 in fragmented text messages at the first wrong byte. `ws` finds it when the message
 *   is complete.
 * - Unmasks longer messages of one frame that have arrived whole. `ws` takes three times as long, byte by
 *   byte; where it finds a masking key of zeros, it does nothing.
 * @see RFC 6455 §5.3, §8.1
 */
export class IncomingFrames {
  /** The beginning of an incomplete header. */
  #header: Buffer | undefined
  /** Bytes of the current payload that have not arrived yet. */
  #left = 0
  /** The current message, if it is fragmented text: most connections never send one. */
  #text: MaskedText | undefined
  /** Whether the current payload is part of such a message. */
  #isOfText = false
  #isValid = true
  /** Whether the latest frame is a close frame. */
  #isOfClose = false

  /**
   * Reads bytes from the client, and unmasks some of them; they may begin and end anywhere in a frame.
   * @returns `false` when they make a message invalid, once for each message
   */
  read(bytes: Buffer): boolean {
    const chunk = this.#header === undefined ? bytes : Buffer.concat([this.#header, bytes])
    this.#header = undefined
    this.#isValid = true
    // Uses offsets: with a view of each header and payload, a message takes 0.39 µs here instead of 0.03
    // (`npm run bench -- echo`).
    for (let at = 0; at < chunk.length; ) {
      if (this.#left > 0) {
        const end = Math.min(at + this.#left, chunk.length)
        this.#left -= end - at
        if (this.#isOfText) this.#text?.add(chunk, at, end)
        at = end
      } else {
        const end = at + headerLength(chunk, at)
        if (end > chunk.length) {
          this.#header = Buffer.from(chunk.subarray(at)) // a copy, because a view keeps the whole chunk alive
          break
        }
        this.#begin(chunk, at, end)
        // A chunk with the beginning of a header in front is a copy, and not what `ws` reads.
        const mayUnmask = this.#left >= MIN_UNMASKED_BYTES && chunk === bytes
        if (mayUnmask && end + this.#left <= chunk.length && isMaskedMessage(chunk, at)) {
          unmask(chunk, end, end + this.#left)
        }
        at = end
      }
    }
    this.#check()
    return this.#isValid
  }

  /** Whether the last byte so far is that of a close frame. */
  get areClosed(): boolean {
    return this.#isOfClose && this.#left === 0 && this.#header === undefined
  }

  /** Begins a frame. `ws` reports a frame that violates the protocol. */
  #begin(chunk: Buffer, at: number, end: number): void {
    const first = chunk[at] ?? 0
    this.#left = payloadLength(chunk, at)
    const opcode = first & OPCODE
    this.#isOfClose = opcode === Opcode.close
    if (opcode === Opcode.text || opcode === Opcode.binary) {
      this.#check()
      const isTextInFragments = (first & (OPCODE | FIN | RSV1)) === Opcode.text // RSV1: compressed
      this.#text = isTextInFragments ? new MaskedText() : undefined
    }
    this.#isOfText = this.#text !== undefined && opcode <= Opcode.binary
    if (this.#isOfText) this.#text?.begin(chunk, end - MASK_BYTES)
  }

  /** Checks the current message. `ws` checks in time whether its text ends within a character. */
  #check(): void {
    if (this.#text?.flush() !== false) return
    this.#text = undefined
    this.#isOfText = false
    this.#isValid = false
  }
}

/** Returns whether a header is that of a message of one frame that is masked, as it must be. */
function isMaskedMessage(chunk: Buffer, at: number): boolean {
  const first = chunk[at] ?? 0
  const opcode = first & OPCODE
  const isMessage = (opcode === Opcode.text || opcode === Opcode.binary) && (first & FIN) !== 0
  return isMessage && ((chunk[at + 1] ?? 0) & MASK) !== 0
}
