import { constants, deflateRawSync } from 'node:zlib'
import { oldestKeys } from '../base/eviction.ts'
import { encodeDeflated, payloadOf } from '../protocol/message-frame.ts'
import type { CompressionSettings } from './delivery-options.ts'
import { type OutgoingMessage, TAIL_BYTES } from './outgoing-message.ts'

/** Messages of fewer bytes are sent plain: compressing them saves nothing. */
const MIN_MESSAGE_BYTES = 16

/**
 * A message to fewer connections is not compressed within their windows: a deflate takes as long as some five
 * writes, and a room of two would draw its clients out of the window that they share with others.
 */
const MIN_RECEIVERS = 4

/** A window is worth a deflate of its own if it has at least this share of a message's receivers. */
const WORTHWHILE_SHARE = 1 / 8

/** Bytes of all windows of a hub. Beyond them, the windows that were not used longest are forgotten. */
const MAX_TOTAL_BYTES = 16_777_216

/** Bytes that a window takes beside its text, about. */
const WINDOW_BYTES = 512

/**
 * The text that some clients last received compressed, which the next compressed message to them may refer
 * to. A message that they received plain is not part of it.
 * @see RFC 7692 §7.2.2
 */
export class SharedWindow {
  /** The end of that text; `undefined` once it is forgotten. */
  text: Buffer | undefined
  readonly bytes: number
  /** The number of clients that received exactly this. */
  members = 0

  constructor(text: Buffer) {
    this.text = text
    this.bytes = text.length + WINDOW_BYTES
  }
}

/** A message as the clients of one window receive it. */
export interface WindowedFrame {
  readonly frame: Buffer
  /** The window of its receivers from then on; `undefined` when the frame is plain, which moves no window. */
  readonly next: SharedWindow | undefined
}

/**
 * The windows of a hub's clients. Clients with the same window receive the same frame of a message: one
 * deflate for all of them, which refers to what they received before.
 *
 * Clients of several rooms receive different messages, and so their windows part. A message brings them
 * together again in two ways:
 *
 * - At most `maxDeflates` - 1 windows that many of its receivers have get a deflate each. The other receivers
 *   get the message compressed by itself, which anybody can read, and share a window that begins with it.
 * - Windows that have become the same text, because their clients received the same messages for long enough,
 *   are one window from then on.
 */
export class SharedWindows {
  /** The window, in bits, that a client must have negotiated at least. */
  readonly bits: number
  readonly #settings: CompressionSettings
  readonly #maxBytes: number
  /** The windows that clients have, oldest first: each message to a window replaces it. */
  readonly #kept = new Set<SharedWindow>()
  #bytes = 0
  /** The message that is being sent. */
  #message: OutgoingMessage | undefined
  #receivers = 0
  /** Its frames by the windows of receivers; that of `undefined` refers to nothing. */
  readonly #frames = new Map<SharedWindow | undefined, WindowedFrame>()
  /** The windows that those frames lead to. */
  #made: SharedWindow[] = []
  /** How many of the frames refer to a window. */
  #referring = 0

  constructor(settings: CompressionSettings, maxBytes = MAX_TOTAL_BYTES) {
    this.#settings = settings
    this.#maxBytes = maxBytes
    this.bits = Math.ceil(Math.log2(settings.windowBytes))
  }

  /** Bytes of all windows that are kept. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * Begins a message to that many connections, each of which is sent what {@link frame} returns for it. A
   * message to another begun meanwhile ends it: the rest of its receivers get it without a window.
   */
  begin(message: OutgoingMessage, receivers: number): void {
    this.end()
    const { length } = payloadOf(message.plain)
    const isFit = length >= MIN_MESSAGE_BYTES && length <= this.#settings.windowBytes
    if (!isFit || receivers < MIN_RECEIVERS) return
    this.#message = message
    this.#receivers = receivers
  }

  /** Ends the message that has begun. */
  end(): void {
    this.#message = undefined
    this.#frames.clear()
    this.#made = []
    this.#referring = 0
  }

  /** Whether the message is the one that has begun, and one for windows. */
  isCurrent(message: OutgoingMessage): boolean {
    return this.#message === message
  }

  /** Returns the current message for a client with this window. */
  frame(message: OutgoingMessage, window: SharedWindow | undefined): WindowedFrame {
    const known = this.#frames.get(window)
    if (known !== undefined) return known
    const from = this.#worthwhile(window)
    const frame = this.#frames.get(from) ?? this.#deflate(message, from)
    this.#frames.set(from, frame)
    this.#frames.set(window, frame)
    return frame
  }

  /** A client that had one window has another from now on. */
  move(from: SharedWindow | undefined, to: SharedWindow | undefined): void {
    if (to !== undefined && to.members++ === 0) this.#keep(to)
    if (from !== undefined && --from.members === 0) this.#forget(from)
  }

  /** Returns the window if it is worth a deflate of its own. */
  #worthwhile(window: SharedWindow | undefined): SharedWindow | undefined {
    if (window?.text === undefined) return undefined
    // One deflate is for those whose windows are not worth one.
    if (this.#referring >= this.#settings.maxDeflates - 1) return undefined
    return window.members >= this.#receivers * WORTHWHILE_SHARE ? window : undefined
  }

  #deflate(message: OutgoingMessage, from: SharedWindow | undefined): WindowedFrame {
    const { level, memLevel } = this.#settings
    const { plain } = message
    const payload = payloadOf(plain)
    const dictionary = from?.text
    if (from !== undefined) this.#referring++
    const deflated = deflateRawSync(payload, {
      level,
      memLevel: Math.min(memLevel, this.bits - 6),
      windowBits: this.bits,
      finishFlush: constants.Z_SYNC_FLUSH,
      ...(dictionary !== undefined && { dictionary }),
    })
    const frame = encodeDeflated(plain, deflated.subarray(0, -TAIL_BYTES))
    // Without a window, even a longer frame pays: the next message refers to it.
    if (from !== undefined && frame.length >= plain.length) return { frame: plain, next: undefined }
    return { frame, next: this.#windowOf(tail(dictionary, payload, this.#settings.windowBytes)) }
  }

  /** Returns the window with this text: one for all receivers of the message that have come to the same. */
  #windowOf(text: Buffer): SharedWindow {
    const same = this.#made.find((window) => window.text?.equals(text))
    if (same !== undefined) return same
    const window = new SharedWindow(text)
    this.#made.push(window)
    return window
  }

  #keep(window: SharedWindow): void {
    this.#kept.add(window)
    this.#bytes += window.bytes
    while (this.#bytes > this.#maxBytes) {
      for (const oldest of oldestKeys(this.#kept, this.#kept.size)) this.#forget(oldest)
    }
  }

  #forget(window: SharedWindow): void {
    if (!this.#kept.delete(window)) return
    this.#bytes -= window.bytes
    window.text = undefined
  }
}

/** Returns the last bytes of two texts in a row, in memory of their own. */
function tail(before: Buffer | undefined, then: Buffer, maxBytes: number): Buffer {
  const kept = Math.min(before?.length ?? 0, maxBytes - then.length)
  const text = Buffer.allocUnsafeSlow(kept + then.length)
  if (before !== undefined) before.copy(text, 0, before.length - kept)
  then.copy(text, kept)
  return text
}
