import { constants, deflateRawSync } from 'node:zlib'
import type { Payload } from '../protocol/message.ts'
import { encodeDeflated, encodeMessage, payloadOf } from '../protocol/message-frame.ts'
import { FULL_WINDOW_BITS } from '../protocol/permessage-deflate.ts'
import type { CompressionSettings } from './delivery-options.ts'

/** The four bytes at the end of a flushed block, which a message omits. @see RFC 7692 §7.2.1 */
export const TAIL_BYTES = 4

/**
 * Window sizes, in bits, for clients whose window does not hold the whole message. A client gets the next
 * smaller of these sizes; with the exact size of each, a broadcast would be compressed up to eight times.
 * zlib has no raw window of 8 bits, but its window of 9 bits refers back at most 512 - 262 bytes, which fits
 * into 8 bits.
 */
const SMALL_WINDOW_BITS = 9
const MEDIUM_WINDOW_BITS = 12

/** zlib does not use this many bytes of its window. */
const ZLIB_LOOKAHEAD_BYTES = 262

/**
 * A message to send: framed once, and compressed at most three times, for any number of receivers with
 * windows of any size. Receivers can share compressed frames because these refer to nothing before them.
 * @see RFC 7692 §7.2.1
 */
export class OutgoingMessage {
  /** The frame without compression. */
  readonly plain: Buffer
  readonly #settings: CompressionSettings | false
  /** Compressed frames by window bits; `plain` where compressing did not make it smaller. */
  #frames: (Buffer | undefined)[] | undefined

  /**
   * @param settings `false` = never compress
   * @throws {HubError} WSHUB_ERR_INVALID_PAYLOAD when `data` is neither text nor bytes
   */
  constructor(data: Payload, settings: CompressionSettings | false) {
    this.plain = encodeMessage(data)
    this.#settings = settings
  }

  /**
   * Returns the frame for a connection.
   * @param windowBits the negotiated window, 8 to 15; 0 = no compression
   */
  frame(windowBits: number): Buffer {
    const settings = this.#settings
    if (windowBits === 0 || settings === false) return this.plain
    return this.#frames?.[windowBits] ?? this.#share(windowBits, settings)
  }

  #share(windowBits: number, settings: CompressionSettings): Buffer {
    const needed = neededBits(payloadOf(this.plain).length, settings)
    if (needed === undefined) return this.plain
    const bits = sharedBits(windowBits, needed)
    this.#frames ??= []
    const frame = this.#frames[bits] ?? this.#deflate(bits, settings)
    this.#frames[bits] = frame
    this.#frames[windowBits] = frame
    return frame
  }

  #deflate(bits: number, { level, memLevel }: CompressionSettings): Buffer {
    // Creates zlib's state for each message, as small as the message allows: 21 µs for 1,000 bytes, 25 µs
    // with the default size. To keep and reset one DeflateRaw takes 136 µs of CPU time, because its public
    // API uses the thread pool twice (`npm run bench -- echo-compressed`).
    const deflated = deflateRawSync(payloadOf(this.plain), {
      level,
      memLevel: Math.min(memLevel, bits - 6),
      windowBits: bits,
      finishFlush: constants.Z_SYNC_FLUSH,
    })
    const frame = encodeDeflated(this.plain, deflated.subarray(0, -TAIL_BYTES))
    return frame.length < this.plain.length ? frame : this.plain
  }
}

/**
 * Returns the bits of the smallest window that holds a whole message; `undefined` if it is not compressed.
 */
function neededBits(bytes: number, { thresholdBytes, maxBytes }: CompressionSettings): number | undefined {
  if (bytes < thresholdBytes || bytes > maxBytes) return undefined
  const bits = Math.ceil(Math.log2(bytes + ZLIB_LOOKAHEAD_BYTES))
  return Math.min(FULL_WINDOW_BITS, Math.max(SMALL_WINDOW_BITS, bits))
}

/**
 * Returns the bits to use for a client's window: one of few sizes, so that clients share compressed frames.
 */
function sharedBits(windowBits: number, needed: number): number {
  if (windowBits >= needed) return needed
  return windowBits >= MEDIUM_WINDOW_BITS ? MEDIUM_WINDOW_BITS : SMALL_WINDOW_BITS
}
