import { constants, deflateRawSync } from 'node:zlib'
import type { CompressionSettings } from '../hub/hub-options.ts'
import { encodeDeflated, encodeMessage, payloadOf } from '../protocol/frame.ts'
import type { Payload } from '../protocol/message.ts'

/** The four bytes that end a flushed block; RFC 7692 §7.2.1 leaves them out. */
const TAIL_BYTES = 4

/**
 * Windows, in bits, for clients whose own does not hold the whole message. All between two share the smaller
 * one: each window of its own would have a broadcast compressed eight times. zlib has no raw window of 8
 * bits; its window of 9 never refers back further than 512 - 262 bytes, which fits 8.
 */
const SMALL_WINDOW_BITS = 9
const MEDIUM_WINDOW_BITS = 12
const FULL_WINDOW_BITS = 15

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

/**
 * What `ws` negotiates when compression is on: no context kept on either side, so that frames can be shared.
 */
export const DEFLATE_PARAMETERS = Object.freeze({
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
})

/**
 * The window, in bits, that outgoing messages may use by the `Sec-WebSocket-Extensions` line of a 101: 0 when
 * permessage-deflate was not agreed on, 15 when no smaller window was.
 * @see RFC 7692 §7.1.2.1
 */
export function negotiatedWindowBits(responseLines: readonly string[]): number {
  const line = responseLines.find((header) => /^sec-websocket-extensions:.*permessage-deflate/i.test(header))
  if (line === undefined) return 0
  return Number(/server_max_window_bits=(\d+)/.exec(line)?.[1] ?? 15)
}

/** An extension parameter: a token, and perhaps a value, which may be quoted. @see RFC 6455 §9.1 */
const PARAMETER =
  /^([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s*=\s*(?:"([!#$%&'*+.^_`|~0-9A-Za-z-]+)"|([!#$%&'*+.^_`|~0-9A-Za-z-]+)))?$/

/**
 * An offer of extensions without those of permessage-deflate that a server must decline: with a parameter
 * that is unknown, twice there or out of its range. The rest stays as it is, also what is no offer at all:
 * that breaks the handshake.
 * @returns `undefined` when nothing is left
 * @see RFC 7692 §7.1
 */
export function acceptableOffers(header: string): string | undefined {
  const offers = header.split(',').filter((offer) => !isDeclined(offer))
  return offers.length === 0 ? undefined : offers.join(',').trim()
}

function isDeclined(offer: string): boolean {
  const [name, ...parameters] = offer.split(';').map((part) => part.trim())
  if (name !== 'permessage-deflate') return false
  const parsed = parameters.map((parameter) => PARAMETER.exec(parameter))
  if (parsed.includes(null)) return false // not of the grammar, which is for `ws` to say
  const names = parsed.map((match) => match?.[1])
  if (new Set(names).size < names.length) return true
  return parsed.some((match) => !isAcceptable(match?.[1], match?.[2] ?? match?.[3]))
}

function isAcceptable(name: string | undefined, value: string | undefined): boolean {
  switch (name) {
    case 'server_no_context_takeover':
    case 'client_no_context_takeover':
      return value === undefined
    case 'server_max_window_bits':
      return isWindow(value)
    case 'client_max_window_bits':
      return value === undefined || isWindow(value)
    default:
      return false
  }
}

function isWindow(value: string | undefined): boolean {
  return /^([89]|1[0-5])$/.test(value ?? '')
}
