import { encodedFrame, type MessageFrame, writeFrame } from '../protocol/message-frame.ts'

/**
 * The most messages that wait for a `writeDelayMs`. Each takes some 200 bytes until it is written, so for
 * short ones a limit of bytes alone would hold little of the memory.
 */
export const MAX_DELAYED_MESSAGES = 1_000

/**
 * The frames that wait for the end of a turn, as a node of a trie. Connections with the same waiting frames
 * hold the same node, so the frames are concatenated once for all of them.
 */
export class Batch {
  /** Bytes of all frames from the root to here. */
  readonly bytes: number
  /** Number of messages among the frames. */
  readonly messages: number
  /** Bytes of the pings and pongs among them. */
  readonly controlBytes: number
  #parent: Batch | undefined
  readonly #frame: MessageFrame | undefined
  #joined: Buffer | undefined
  // One child is enough: a broadcast extends the batches of all members with the same frame, one after
  // another.
  #childFrame: MessageFrame | undefined
  #child: Batch | undefined

  /** Without arguments, makes the empty batch with which a turn begins. */
  constructor(parent?: Batch, frame?: MessageFrame, isMessage = false) {
    const frameBytes = frame?.length ?? 0
    this.bytes = (parent?.bytes ?? 0) + frameBytes
    this.messages = (parent?.messages ?? 0) + (isMessage ? 1 : 0)
    this.controlBytes = (parent?.controlBytes ?? 0) + (isMessage ? 0 : frameBytes)
    this.#parent = parent
    this.#frame = frame
  }

  /** The most frames that it may have: a ping or a pong has at least 2 bytes. */
  get maxFrames(): number {
    return this.messages + this.controlBytes / 2
  }

  /** Returns the batch with one more frame. Calls in a row with the same frame return the same batch. */
  extend(frame: MessageFrame, isMessage: boolean): Batch {
    if (this.#child !== undefined && this.#childFrame === frame) return this.#child
    this.#childFrame = frame
    this.#child = new Batch(this, frame, isMessage)
    return this.#child
  }

  /** Returns all frames in one buffer, concatenated at the first call. */
  join(): Buffer {
    this.#joined ??= this.#concatenate()
    return this.#joined
  }

  #concatenate(): Buffer {
    if (this.#frame !== undefined && this.#frame.length === this.bytes) return encodedFrame(this.#frame)
    const bytes = Buffer.allocUnsafe(this.bytes)
    let end = this.bytes
    let node: Batch | undefined = this
    while (node !== undefined && end > 0) {
      const part: MessageFrame | undefined = node.#joined ?? node.#frame
      if (part === undefined) break
      end -= part.length
      writeFrame(part, bytes, end)
      node = node.#parent
    }
    this.#parent = undefined
    return bytes
  }
}
