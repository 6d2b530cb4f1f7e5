import { HubError } from '../base/errors.ts'
import type { Message } from '../protocol/message.ts'
import type { RateLimit } from './rate-limit.ts'

/** A read that is not inflated brings 64 KiB in addition to the end of one message. */
const MAX_BYTES = 1_048_576

const STARTED: Message = { type: 'text', data: '' }

/** The connection that an {@link Inbox} belongs to. */
export interface InboxOwner {
  /** Resumes reading from the socket. */
  resumeReading(): void
  /** Stops reading from the socket. */
  pauseReading(): void
  /** Calls `onMessage`. */
  callOnMessage(message: Message): void
  /** Closes the connection. @param message names the limit that was exceeded */
  exceeded(message: string): void
  /** The body of an iteration runs. */
  callbackBegan(): void
  /** The body of an iteration has asked for the next message, or has ended. */
  callbackSettled(): void
}

/** A message that waits, and its size as it arrived. */
interface Waiting {
  readonly message: Message
  readonly bytes: number
}

/**
 * Messages on their way to `onMessage` or to an iteration. They wait here while the connection is paused or
 * ahead of its rates, and between two steps of an iteration. The socket is not read meanwhile, so no more
 * waits here than the last read brought: 64 KiB, and one message that was compressed (see `InflationGate`).
 */
export class Inbox {
  readonly #owner: InboxOwner
  readonly #rate: RateLimit | undefined
  readonly #waiting: Waiting[] = []
  #bytes = 0
  /** The size of the largest message since the inbox was last empty. */
  #largestBytes = 0
  #isPaused = false
  /** The number of reasons for which the hub itself holds messages back. */
  #holds = 0
  #isIterated = false
  #isEnded = false
  #isDraining = false
  /** Wakes the iteration that waits for a message. */
  #wake: (() => void) | undefined

  constructor(owner: InboxOwner, rate?: RateLimit) {
    this.#owner = owner
    this.#rate = rate
  }

  /** Whether a message may go straight to `onMessage`. */
  get isOpen(): boolean {
    return !this.#isHeld && !this.#isIterated && this.#waiting.length === 0
  }

  /** Bytes of the messages that wait, after inflation. */
  get bytes(): number {
    return this.#bytes
  }

  /** Whether more waits than one read can have brought, from a WebSocket that inflates while it is paused. */
  get #isFull(): boolean {
    return this.#bytes - this.#largestBytes > MAX_BYTES
  }

  /**
   * Takes a message that has arrived: calls `onMessage` at once if nothing prevents it.
   * @param bytes the size of the message, after inflation
   * @param isEarly whether `onOpen` has not settled
   */
  receive(message: Message, bytes: number, isEarly: boolean): void {
    if (this.#rate?.policy === 'close') this.#count(bytes)
    if (this.#isEnded) return
    // A packet is received to its end, also when its first message has led to `register`, or to a pause.
    if (this.isOpen && !isEarly) {
      this.#countDelivered(bytes)
      this.#owner.callOnMessage(message)
    } else if (this.#isFull) {
      this.#owner.exceeded('the client sends faster than its messages are handled')
    } else {
      this.push(message, bytes)
    }
  }

  /** Counts a ping. */
  receivePing(bytes: number): void {
    this.#count(bytes)
  }

  /** @param bytes the size of the message as it arrived, after inflation */
  push(message: Message, bytes: number): void {
    this.#largestBytes = Math.max(bytes, this.#waiting.length === 0 ? 0 : this.#largestBytes)
    this.#waiting.push({ message, bytes })
    this.#bytes += bytes
    this.#owner.pauseReading()
    this.#wake?.()
  }

  pause(): void {
    this.#isPaused = true
    this.#owner.pauseReading()
  }

  /** Delivers the messages that wait, in a turn of their own, and resumes reading. */
  resume(): void {
    this.#isPaused = false
    this.flow()
  }

  /** Continues, unless something else holds the messages back. */
  flow(): void {
    if (this.#isIterated) this.#wake?.()
    else this.#drainSoon()
  }

  /** Holds messages back for a reason of the hub; each call is followed by one of {@link Inbox.release}. */
  hold(): void {
    this.#holds++
    this.#owner.pauseReading()
  }

  release(): void {
    this.#holds--
    this.flow()
  }

  /**
   * Iterates over the messages from now on, in place of `onMessage`.
   * @throws {HubError} WSHUB_ERR_ALREADY_ITERATED
   */
  iterate(): AsyncGenerator<Message, void, undefined> {
    if (this.#isIterated) {
      throw new HubError('WSHUB_ERR_ALREADY_ITERATED', 'the messages of this connection are being iterated')
    }
    this.#isIterated = true
    this.#owner.pauseReading()
    const messages = this.#iterate()
    void messages.next() // up to STARTED: left before its first step, a generator would not run its `finally`
    return messages
  }

  /**
   * The connection is closed: the messages that wait are still delivered, and an iteration ends after them.
   */
  end(): void {
    this.#rate?.stop()
    this.#isEnded = true
    this.#wake?.()
    if (!this.#isIterated) this.#deliverAll()
  }

  /** This side is closing the connection: nothing is delivered any more. */
  clear(): void {
    this.#waiting.length = 0
    this.#bytes = 0
    this.#isEnded = true
    this.#wake?.()
  }

  get #isHeld(): boolean {
    return this.#isPaused || this.#holds > 0
  }

  async *#iterate(): AsyncGenerator<Message, void, undefined> {
    try {
      yield STARTED
      for (;;) {
        const message = this.#isHeld && !this.#isEnded ? undefined : this.#next()
        if (message === undefined) {
          if (this.#isEnded) return
          await this.#more()
          continue
        }
        this.#owner.callbackBegan()
        try {
          yield message
        } finally {
          this.#owner.callbackSettled()
        }
      }
    } finally {
      this.#isIterated = false
      this.#drainSoon()
    }
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = undefined
        resolve()
      }
      if (!this.#isHeld) this.#owner.resumeReading()
    })
  }

  #next(): Message | undefined {
    const waiting = this.#waiting.shift()
    if (waiting === undefined) return undefined
    this.#bytes -= waiting.bytes
    this.#countDelivered(waiting.bytes)
    return waiting.message
  }

  #drainSoon(): void {
    if (this.#isDraining) return
    this.#isDraining = true
    setImmediate(() => {
      this.#isDraining = false
      while (!this.#isHeld && !this.#isIterated && this.#waiting.length > 0) this.#deliverNext()
      if (this.isOpen) this.#owner.resumeReading()
    })
  }

  #deliverAll(): void {
    while (this.#waiting.length > 0) this.#deliverNext()
  }

  #deliverNext(): void {
    const message = this.#next()
    if (message !== undefined) this.#owner.callOnMessage(message)
  }

  /** Spreads messages that arrived in one packet as well, which therefore count when they are delivered. */
  #countDelivered(bytes: number): void {
    if (this.#rate?.policy === 'pause') this.#count(bytes)
  }

  /** Counts a message or a ping. Above the rates the next messages wait, or the connection is closed. */
  #count(bytes: number): void {
    const rate = this.#rate
    if (rate === undefined || rate.take(bytes)) return
    if (rate.policy === 'pause') rate.delay(this)
    else this.#owner.exceeded('the client sends faster than its limits')
  }
}
