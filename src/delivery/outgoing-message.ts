import { constants, deflateRawSync } from 'node:zlib'
import type { Payload } from '../protocol/message.ts'
import { encodeDeflated, encodeMessage, payloadOf } from '../protocol/message-frame.ts'
import { FULL_WINDOW_BITS } from '../protocol/permessage-deflate.ts'
import type { CompressionSettings } from './delivery-options.ts'

/** The four bytes that end a flushed block; RFC 7692 §7.2.1 leaves them out. */
const TAIL_BYTES = 4

/**
 * Windows, in bits, for clients whose own does not hold the whole message. All between two share the smaller
 * one: each window of its own would have a broadcast compressed eight times. zlib has no raw window of 8
 * bits; its window of 9 never refers back further than 512 - 262 bytes, which fits 8.
 */
const SMALL_WINDOW_BITS = 9
const MEDIUM_WINDOW_BITS = 12

/** zlib never refers back to the last so many bytes of its window. */
const ZLIB_LOOKAHEAD_BYTES = 262

/**
 * A message on its way out: framed once, and deflated at most three times for windows of all sizes, however
 * many receive it. That one compressed frame serves every connection is why the hub negotiates
 * `server_no_context_takeover`.
 * @see RFC 7692 §7.2.1
 */
export class OutgoingMessage {
  readonly #plain: Buffer
  readonly #settings: CompressionSettings | false
  /** By window bits; `#plain` again where deflating did not make it smaller. */
  #frames: (Buffer | undefined)[] | undefined

  /**
   * @param settings `false` = never compress
   * @throws {HubError} WSHUB_ERR_INVALID_PAYLOAD when `data` is neither text nor bytes
   */
  constructor(data: Payload, settings: CompressionSettings | false) {
    this.#plain = encodeMessage(data)
    this.#settings = settings
  }

  /**
   * The frame for a connection: compressed within `windowBits` (8–15), or plain for 0, which means not
   * negotiated.
   */
  frame(windowBits: number): Buffer {
    const settings = this.#settings
    if (windowBits === 0 || settings === false) return this.#plain
    return this.#frames?.[windowBits] ?? this.#share(windowBits, settings)
  }

  #share(windowBits: number, settings: CompressionSettings): Buffer {
    const needed = neededBits(payloadOf(this.#plain).length, settings)
    if (needed === 0) return this.#plain
    const bits = sharedBits(windowBits, needed)
    this.#frames ??= []
    const frame = this.#frames[bits] ?? this.#deflate(bits, settings)
    this.#frames[bits] = frame
    this.#frames[windowBits] = frame
    return frame
  }

  #deflate(bits: number, { level, memLevel }: CompressionSettings): Buffer {
    // The state of zlib is built for each message, but no larger than the message has use for: 21 µs for
    // 1,000 bytes. With the default size it is 25 µs; one DeflateRaw that is kept and reset takes 136 µs of
    // CPU time, because its public API goes through the thread pool twice. `npm run bench -- echo-compressed`
    // notices.
    const deflated = deflateRawSync(payloadOf(this.#plain), {
      level,
      memLevel: Math.min(memLevel, bits - 6),
      windowBits: bits,
      finishFlush: constants.Z_SYNC_FLUSH,
    })
    const frame = encodeDeflated(this.#plain, deflated.subarray(0, -TAIL_BYTES))
    return frame.length < this.#plain.length ? frame : this.#plain
  }
}

/** Bits of the least window that holds a whole message; 0 = it travels as it is. */
function neededBits(bytes: number, { thresholdBytes, maxBytes }: CompressionSettings): number {
  if (bytes < thresholdBytes || bytes > maxBytes) return 0
  const bits = Math.ceil(Math.log2(bytes + ZLIB_LOOKAHEAD_BYTES))
  return Math.min(FULL_WINDOW_BITS, Math.max(SMALL_WINDOW_BITS, bits))
}

/** The bits to use for a client's window, of as few as may be, so that clients share what is compressed. */
function sharedBits(windowBits: number, needed: number): number {
  if (windowBits >= needed) return needed
  return windowBits >= MEDIUM_WINDOW_BITS ? MEDIUM_WINDOW_BITS : SMALL_WINDOW_BITS
}
