import { MASK_BYTES } from './frame-header.ts'
import { TextCheck } from './text-check.ts'

// Text is unmasked into this block and then checked as a whole: `ws` unmasks the chunk itself, later. All
// texts share the block: one is flushed before the next is added.
const BLOCK_BYTES = 16_384
const block = new Uint8Array(BLOCK_BYTES)
const blockWords = new Uint32Array(block.buffer)
const mask = new Uint8Array(MASK_BYTES)
const maskWord = new Uint32Array(mask.buffer)

/** Below this length, unmasking byte by byte is faster than by words. */
const MIN_WORDS_BYTES = 128

/** The text of a message that arrives masked and in parts, and whether it can still become valid UTF-8. */
export class MaskedText {
  readonly #check = new TextCheck()
  #isValid = true
  // The masking key of the current frame, beginning with the byte for the next byte of payload.
  #mask0 = 0
  #mask1 = 0
  #mask2 = 0
  #mask3 = 0
  /** Bytes in the block. */
  #filled = 0

  /** Begins a frame. @param at where its masking key begins */
  begin(chunk: Buffer, at: number): void {
    this.#mask0 = chunk[at] ?? 0
    this.#mask1 = chunk[at + 1] ?? 0
    this.#mask2 = chunk[at + 2] ?? 0
    this.#mask3 = chunk[at + 3] ?? 0
  }

  /** Adds payload of the frame; {@link MaskedText.flush} follows before another text is added to. */
  add(chunk: Buffer, start: number, end: number): void {
    for (let at = start; at < end && this.#isValid; ) {
      if (this.#filled === BLOCK_BYTES) this.flush()
      const to = this.#filled
      const size = Math.min(end - at, BLOCK_BYTES - to)
      // Words are aligned in the block. The bytes before the first word rotate the mask.
      const bytes = size < MIN_WORDS_BYTES ? size : -to & 3
      this.#unmaskBytes(chunk, at, to, bytes)
      if (bytes < size) this.#unmaskWords(chunk, at + bytes, to + bytes, size - bytes)
      this.#filled = to + size
      at += size
    }
  }

  /** Checks everything that was added. @returns `false` when the text can no longer become valid UTF-8 */
  flush(): boolean {
    const filled = this.#filled
    this.#filled = 0
    if (filled > 0) this.#isValid &&= this.#check.add(block, filled)
    return this.#isValid
  }

  #unmaskBytes(chunk: Buffer, at: number, to: number, size: number): void {
    const m0 = this.#mask0
    const m1 = this.#mask1
    const m2 = this.#mask2
    const m3 = this.#mask3
    let i = 0
    for (; i + MASK_BYTES <= size; i += MASK_BYTES) {
      block[to + i] = (chunk[at + i] ?? 0) ^ m0
      block[to + i + 1] = (chunk[at + i + 1] ?? 0) ^ m1
      block[to + i + 2] = (chunk[at + i + 2] ?? 0) ^ m2
      block[to + i + 3] = (chunk[at + i + 3] ?? 0) ^ m3
    }
    for (; i < size; i++) {
      block[to + i] = (chunk[at + i] ?? 0) ^ this.#mask0
      this.#rotateMask()
    }
  }

  #rotateMask(): void {
    const first = this.#mask0
    this.#mask0 = this.#mask1
    this.#mask1 = this.#mask2
    this.#mask2 = this.#mask3
    this.#mask3 = first
  }

  #unmaskWords(chunk: Buffer, at: number, to: number, size: number): void {
    mask[0] = this.#mask0
    mask[1] = this.#mask1
    mask[2] = this.#mask2
    mask[3] = this.#mask3
    const word = maskWord[0] ?? 0
    block.set(chunk.subarray(at, at + size), to)
    const end = (to + size + 3) >> 2
    for (let i = to >> 2; i < end; i++) blockWords[i] = (blockWords[i] ?? 0) ^ word
    for (let i = 0; i < (size & 3); i++) this.#rotateMask()
  }
}
