import type { HeldBuffers } from './held-buffers.ts'

/** Frames that are dropped or written together. */
export interface Held {
  readonly bytes: Buffer
  /** How many of the frames are messages. */
  readonly messages: number
  /** Bytes of the others, which are pings and pongs. */
  readonly controlBytes: number
  readonly key: string | undefined
}

const NOTHING = Buffer.alloc(0)

/** Places in the queue whose frames have gone; the queue is packed when they are the most of it. */
const MIN_GAPS_TO_PACK = 64

/** Frames that wait for a congested socket, oldest first. */
export class Backlog {
  /** The turn in which the socket became congested. */
  readonly turn: number
  /** The least that has waited, here and in the socket, since that turn was over. */
  leastBytes = Number.POSITIVE_INFINITY
  /** Bytes that the socket held then, and that were handed to it since. */
  writtenBytes: number
  /** Bytes that the client had taken when it was last judged. */
  judgedBytes: number | undefined
  /** Bytes, and messages among them, that wait now. */
  bytes = 0
  messages = 0
  /** Bytes of the pings and pongs that wait. */
  controlBytes = 0
  /** Pings and pongs that were in front of messages dropped since. */
  #front: Held[] = []
  #queue: (Held | undefined)[] = []
  #head = 0
  #gaps = 0
  /** Place in the queue of the waiting message of each key. */
  readonly #byKey = new Map<string, number>()

  /** The buffers that wait here, and the one that the socket was given last. */
  readonly #held: HeldBuffers
  #inSocket: Buffer

  /**
   * @param inSocket the write that congested the socket
   * @param socketBytes how much the socket holds
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

  push(held: Held): void {
    if (held.key !== undefined) this.#byKey.set(held.key, this.#queue.length)
    this.#queue.push(held)
    this.#held.hold(held.bytes)
    this.bytes += held.bytes.length
    this.messages += held.messages
    this.controlBytes += held.controlBytes
  }

  /** Takes out the oldest message; `undefined` when there is none. */
  dropOldest(): Held | undefined {
    for (let held = this.#shift(); held !== undefined; held = this.#shift()) {
      if (held.messages > 0) return this.#gone(held)
      this.#front.push(held)
    }
    return undefined
  }

  /** Takes out the message of that key; `undefined` when there is none. */
  dropKey(key: string): Held | undefined {
    const place = this.#byKey.get(key)
    const held = place === undefined ? undefined : this.#queue[place]
    if (place === undefined || held === undefined) return undefined
    this.#byKey.delete(key)
    this.#queue[place] = undefined
    this.#gaps++
    if (this.#gaps > MIN_GAPS_TO_PACK && this.#gaps * 2 > this.#queue.length) this.#pack()
    return this.#gone(held)
  }

  /** Takes frames of at least one and up to `maxBytes`, in one buffer, for the socket. */
  take(maxBytes: number): Buffer {
    const parts: Buffer[] = []
    let bytes = 0
    for (let next = this.#peek(); next !== undefined; next = this.#peek()) {
      if (parts.length > 0 && bytes + next.bytes.length > maxBytes) break
      if (this.#front.length > 0) this.#front.shift()
      else this.#shift()
      parts.push(this.#gone(next).bytes)
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

  /**
   * Lets go of all frames, for whoever still holds the backlog itself: a listener of a socket that never
   * drains.
   */
  dispose(): void {
    for (const held of [...this.#front, ...this.#queue]) if (held !== undefined) this.#gone(held)
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

  #gone(held: Held): Held {
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
    for (const [place, held] of this.#queue.entries()) {
      if (held?.key !== undefined) this.#byKey.set(held.key, place)
    }
  }
}
