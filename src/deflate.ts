import { constants, deflateRawSync } from 'node:zlib'
import { encodeDeflated, encodeMessage, payloadOf } from './frame.ts'
import type { Payload } from './message.ts'

/** Payloads below this many bytes travel as they are: deflating them costs more than it saves. */
const THRESHOLD_BYTES = 1_024

/** The four bytes that end a flushed block; RFC 7692 §7.2.1 leaves them out. */
const TAIL_BYTES = 4

/**
 * A message on its way out: framed once, and deflated at most once for each window size, however many receive it.
 * That one compressed frame serves every connection is why the hub negotiates `server_no_context_takeover`.
 * @see RFC 7692 §7.2.1
 */
export class OutgoingMessage {
  readonly #plain: Buffer
  /** By window bits; `#plain` again where deflating did not make it smaller. */
  #deflated: (Buffer | undefined)[] | undefined

  /** @throws {HubError} WSHUB_ERR_INVALID_PAYLOAD when `data` is neither text nor bytes */
  constructor(data: Payload) {
    this.#plain = encodeMessage(data)
  }

  /** The frame for a connection: compressed within `windowBits` (8–15), or plain for 0, which means not negotiated. */
  frame(windowBits: number): Buffer {
    if (windowBits === 0 || this.#plain.length < THRESHOLD_BYTES) return this.#plain
    this.#deflated ??= []
    this.#deflated[windowBits] ??= this.#deflate(windowBits)
    return this.#deflated[windowBits]
  }

  #deflate(windowBits: number): Buffer {
    const deflated = deflateRawSync(payloadOf(this.#plain), {
      // zlib has no raw window of 8 bits. Its window of 9 never refers back further than 512 - 262 bytes, which fits 8.
      windowBits: Math.max(9, windowBits),
      finishFlush: constants.Z_SYNC_FLUSH,
    })
    const frame = encodeDeflated(this.#plain, deflated.subarray(0, -TAIL_BYTES))
    return frame.length < this.#plain.length ? frame : this.#plain
  }
}

/** What `ws` negotiates when compression is on: no context kept on either side, so that frames can be shared. */
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
