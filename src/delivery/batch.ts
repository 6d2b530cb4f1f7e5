/**
 * The frames pending in a turn, as a node of a trie: all connections with the same pending sequence hold the same node,
 * so its bytes are concatenated once for all of them.
 */
export class Batch {
  /** Bytes of all frames from the root to here. */
  readonly bytes: number
  /** How many of the frames are messages. */
  readonly messages: number
  /** Bytes of the others, which are pings and pongs. */
  readonly controlBytes: number
  #parent: Batch | undefined
  readonly #frame: Buffer | undefined
  #joined: Buffer | undefined
  // One remembered child is enough: a broadcast asks all its members' batches for the same frame in one go.
  #childFrame: Buffer | undefined
  #child: Batch | undefined

  /** Without arguments, the empty batch that a turn begins with. */
  constructor(parent?: Batch, frame?: Buffer, isMessage = false) {
    const frameBytes = frame?.length ?? 0
    this.bytes = (parent?.bytes ?? 0) + frameBytes
    this.messages = (parent?.messages ?? 0) + (isMessage ? 1 : 0)
    this.controlBytes = (parent?.controlBytes ?? 0) + (isMessage ? 0 : frameBytes)
    this.#parent = parent
    this.#frame = frame
  }

  /** The batch of this sequence and one more frame; the same one for the same frame in a row. */
  extend(frame: Buffer, isMessage: boolean): Batch {
    if (this.#child !== undefined && this.#childFrame === frame) return this.#child
    this.#childFrame = frame
    this.#child = new Batch(this, frame, isMessage)
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
