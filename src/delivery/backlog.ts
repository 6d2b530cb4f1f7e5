import type { HeldBuffers } from './held-buffers.ts'

/** Where a message can be read again after it was dropped. */
export interface Origin {
  /** Messages of the same log are read again from the first dropped one on. */
  readonly log: object
}

/** Frames that are dropped or written together: a message, or the batch of a turn. */
export interface Held {
  readonly bytes: Buffer
  /** Number of messages among the frames. */
  readonly messages: number
  /** Bytes of the pings and pongs among them. */
  readonly controlBytes: number
  readonly key: string | undefined
  /** Where the message can be read again, if it may be dropped for that. */
  origin?: Origin | undefined
}

const NOTHING = Buffer.alloc(0)

/** Beyond this many empty places, the queue is packed when they are the larger part of it. */
const MIN_GAPS_TO_PACK = 64

/** Frames that wait for a congested socket, oldest first. */
export class Backlog {
  /** The turn in which the socket became congested. */
  readonly turn: number
  /** The fewest bytes that have waited, here and in the socket, since the end of that turn. */
  leastBytes = Number.POSITIVE_INFINITY
  /** Bytes that the socket held then, and bytes that were written to it since. */
  writtenBytes: number
  /** Bytes that the client had taken when it was last judged; `undefined` if it was within its limit. */
  judgedBytes: number | undefined
  /** Bytes and messages that wait now. */
  bytes = 0
  messages = 0
  /** Bytes of the pings and pongs that wait. */
  controlBytes = 0
  /** Pings and pongs from before messages that were dropped: they are written first. */
  #front: Held[] = []
  #queue: (Held | undefined)[] = []
  #head = 0
  #gaps = 0
  /** The place of each key's message in the queue. */
  readonly #byKey = new Map<string, number>()

  /** Counts the buffers that wait here, and the last one written to the socket. */
  readonly #held: HeldBuffers
  #inSocket: Buffer

  /**
   * @param inSocket the bytes whose write congested the socket
   * @param socketBytes how many bytes the socket holds
   */
  constructor(turn: number, inSocket: Buffer, socketBytes: number, held: HeldBuffers) {
    this.turn = turn
    this.writtenBytes = socketBytes
    this.#held = held
    this.#inSocket = inSocket
    held.hold(inSocket)
  }

  get isEmpty(): boolean {
    return this.bytes === 0
  }

  /** The most frames that it may have: a ping or a pong has at least 2 bytes. */
  get maxFrames(): number {
    return this.messages + this.controlBytes / 2
  }

  /** The latest frames, unless they were removed. */
  get newest(): Held | undefined {
    return this.#queue.at(-1)
  }

  push(held: Held): void {
    if (held.key !== undefined) this.#byKey.set(held.key, this.#queue.length)
    this.#queue.push(held)
    this.#held.hold(held.bytes)
    this.bytes += held.bytes.length
    this.messages += held.messages
    this.controlBytes += held.controlBytes
  }

  /** Removes and returns the oldest message; `undefined` when there is none. */
  dropOldest(): Held | undefined {
    for (let held = this.#shift(); held !== undefined; held = this.#shift()) {
      if (held.messages > 0) return this.#removed(held)
      this.#front.push(held)
    }
    return undefined
  }

  /** Removes and returns the message of a key; `undefined` when there is none. */
  dropKey(key: string): Held | undefined {
    const place = this.#byKey.get(key)
    const held = place === undefined ? undefined : this.#queue[place]
    if (place === undefined || held === undefined) return undefined
    this.#byKey.delete(key)
    this.#queue[place] = undefined
    this.#gaps++
    if (this.#gaps > MIN_GAPS_TO_PACK && this.#gaps * 2 > this.#queue.length) this.#pack()
    return this.#removed(held)
  }

  /**
   * Removes the messages that can be read again.
   * @returns how many, their bytes, and the first one of each log
   */
  dropReplayable(): { messages: number; bytes: number; firsts: Map<object, Origin> } {
    const dropped = { messages: 0, bytes: 0, firsts: new Map<object, Origin>() }
    for (const [place, held] of this.#queue.entries()) {
      if (held?.origin === undefined) continue
      this.#queue[place] = undefined
      this.#gaps++
      this.#removed(held)
      dropped.messages += held.messages
      dropped.bytes += held.bytes.length
      if (!dropped.firsts.has(held.origin.log)) dropped.firsts.set(held.origin.log, held.origin)
    }
    this.#pack()
    return dropped
  }

  /** Makes the messages of a log stay that wait now: {@link Backlog.dropReplayable} does not remove them. */
  pin(log: object): void {
    for (const held of this.#queue) if (held?.origin?.log === log) held.origin = undefined
  }

  /** Removes frames and returns them in one buffer for the socket: up to `maxBytes`, but at least one. */
  take(maxBytes: number): Buffer {
    const parts: Buffer[] = []
    let bytes = 0
    for (let next = this.#peek(); next !== undefined; next = this.#peek()) {
      if (parts.length > 0 && bytes + next.bytes.length > maxBytes) break
      if (this.#front.length > 0) this.#front.shift()
      else this.#shift()
      parts.push(this.#removed(next).bytes)
      bytes += next.bytes.length
    }
    this.writtenBytes += bytes
    const [only] = parts
    const taken = parts.length === 1 && only !== undefined ? only : Buffer.concat(parts, bytes)
    this.#held.hold(taken)
    this.#held.release(this.#inSocket)
    this.#inSocket = taken
    return taken
  }

  /** Removes all frames, which are not held any more. */
  dispose(): void {
    for (const held of [...this.#front, ...this.#queue]) if (held !== undefined) this.#removed(held)
    this.#front = []
    this.#queue = []
    this.#head = 0
    this.#gaps = 0
    this.#byKey.clear()
    this.#held.release(this.#inSocket)
    this.#inSocket = NOTHING
  }

  #peek(): Held | undefined {
    const [first] = this.#front
    if (first !== undefined) return first
    while (this.#head < this.#queue.length && this.#queue[this.#head] === undefined) {
      this.#head++
      this.#gaps--
    }
    return this.#queue[this.#head]
  }

  #shift(): Held | undefined {
    while (this.#head < this.#queue.length) {
      const held = this.#queue[this.#head]
      this.#queue[this.#head++] = undefined
      if (held === undefined) {
        this.#gaps--
        continue
      }
      if (held.key !== undefined) this.#byKey.delete(held.key)
      if (this.#head > MIN_GAPS_TO_PACK && this.#head * 2 > this.#queue.length) this.#pack()
      return held
    }
    return undefined
  }

  #removed(held: Held): Held {
    this.#held.release(held.bytes)
    this.bytes -= held.bytes.length
    this.messages -= held.messages
    this.controlBytes -= held.controlBytes
    return held
  }

  #pack(): void {
    this.#queue = this.#queue.filter((held) => held !== undefined)
    this.#head = 0
    this.#gaps = 0
    this.#byKey.clear()
    for (const [place, held] of this.#queue.entries()) {
      if (held?.key !== undefined) this.#byKey.set(held.key, place)
    }
  }
}
