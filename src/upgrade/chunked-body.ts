/**
 * Takes the chunks of `Transfer-Encoding: chunked` apart, as Node writes them, for a carrier without chunks.
 * @see RFC 9112 §7.1
 */
export class ChunkedBody {
  /** Bytes of the current chunk that are still to come. */
  #left = 0
  /** The line between two chunks, as far as it was written. */
  #line = ''
  #isOver = false

  /** Returns the bytes of the body that the written bytes contain. */
  read(bytes: Uint8Array): Buffer {
    const parts: Uint8Array[] = []
    for (let at = 0; at < bytes.length && !this.#isOver; ) {
      if (this.#left > 0) {
        const part = bytes.subarray(at, at + this.#left)
        parts.push(part)
        at += part.length
        this.#left -= part.length
      } else {
        this.#line += String.fromCharCode(bytes[at] ?? 0)
        at++
        this.#readLine()
      }
    }
    return Buffer.concat(parts)
  }

  /** The end of a chunk has an empty line before the size of the next one. */
  #readLine(): void {
    const [, size] = /^(?:\r\n)?([\da-f]+)[^\n]*\n$/i.exec(this.#line) ?? []
    if (size === undefined) return
    this.#line = ''
    this.#left = Number.parseInt(size, 16)
    this.#isOver = this.#left === 0
  }
}
