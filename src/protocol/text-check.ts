import { isUtf8 } from 'node:buffer'

/** Below this length, a loop is faster than Node's own check. */
const MIN_NATIVE_BYTES = 48

const CONTINUATION = 0x80
const CONTINUATION_MASK = 0xc0

/** Checks text that arrives in parts, cut anywhere: can it still become valid UTF-8? @see RFC 3629 §4 */
export class TextCheck {
  /** How many continuation bytes the current character lacks, and the range of the next one. */
  #missing = 0
  #least = CONTINUATION
  #most = 0xbf

  /** Adds the first `end` bytes. @returns `false` when the text can no longer become valid UTF-8 */
  add(bytes: Uint8Array, end: number): boolean {
    let at = 0
    if (end >= MIN_NATIVE_BYTES) {
      for (; this.#missing > 0; at++) if (!this.#takeByte(bytes[at] ?? 0)) return false
      const cut = lastCharacter(bytes, end)
      if (!isUtf8(bytes.subarray(at, cut))) return false
      at = cut
    }
    for (; at < end; at++) {
      const byte = bytes[at] ?? 0
      if ((byte >= 0x80 || this.#missing > 0) && !this.#takeByte(byte)) return false
    }
    return true
  }

  #takeByte(byte: number): boolean {
    if (this.#missing > 0) {
      if (byte < this.#least || byte > this.#most) return false
      this.#missing--
      this.#least = CONTINUATION
      this.#most = 0xbf
      return true
    }
    if (byte < 0x80) return true
    if (byte < 0xc2 || byte > 0xf4) return false
    this.#missing = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3
    // Refuses overlong forms, surrogates and everything above U+10FFFF.
    if (byte === 0xe0) this.#least = 0xa0
    else if (byte === 0xed) this.#most = 0x9f
    else if (byte === 0xf0) this.#least = 0x90
    else if (byte === 0xf4) this.#most = 0x8f
    return true
  }
}

/** Returns where the last character begins if it has several bytes, else `end`. */
function lastCharacter(bytes: Uint8Array, end: number): number {
  if ((bytes[end - 1] ?? 0) < CONTINUATION) return end
  let at = end - 1
  while (at > end - 4 && ((bytes[at] ?? 0) & CONTINUATION_MASK) === CONTINUATION) at--
  return at
}
