/**
 * The frames pending in a turn, as a node of a trie: all connections with the same pending sequence hold the same node,
 * so its bytes are concatenated once for all of them.
 */
export class Batch {
  /** Bytes of all frames from the root to here. */
  readonly bytes: number
  /** How many of the frames are messages; the others are pings and pongs. */
  readonly messages: number
  #parent: Batch | undefined
  readonly #frame: Buffer | undefined
  #joined: Buffer | undefined
  // One remembered child is enough: a broadcast asks all its members' batches for the same frame in one go.
  #childFrame: Buffer | undefined
  #child: Batch | undefined

  /** Without arguments, the empty batch that a turn begins with. */
  constructor(parent?: Batch, frame?: Buffer, messages = 0) {
    this.bytes = parent === undefined || frame === undefined ? 0 : parent.bytes + frame.length
    this.messages = messages
    this.#parent = parent
    this.#frame = frame
  }

  /** The batch of this sequence and one more frame; the same one for the same frame in a row. */
  extend(frame: Buffer, isMessage: boolean): Batch {
    if (this.#child !== undefined && this.#childFrame === frame) return this.#child
    this.#childFrame = frame
    this.#child = new Batch(this, frame, isMessage ? this.messages + 1 : this.messages)
    return this.#child
  }

  /** All frames in one buffer, concatenated at the first call. */
  join(): Buffer {
    this.#joined ??= this.#concatenate()
    return this.#joined
  }

  #concatenate(): Buffer {
    if (this.#frame !== undefined && this.#frame.length === this.bytes) return this.#frame
    const bytes = Buffer.allocUnsafe(this.bytes)
    let end = this.bytes
    let node: Batch | undefined = this
    while (node !== undefined && end > 0) {
      const part: Buffer | undefined = node.#joined ?? node.#frame
      if (part === undefined) break
      end -= part.length
      bytes.set(part, end)
      node = node.#parent
    }
    this.#parent = undefined
    return bytes
  }
}
