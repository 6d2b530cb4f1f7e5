import { HubError } from '../base/errors.ts'
import type { Message } from '../protocol/message.ts'

/** A read that is not inflated brings 64 KiB beside the end of one message. */
const MAX_BYTES = 1_048_576

const STARTED: Message = { type: 'text', data: '' }

/** Where the messages come from and go to. */
export interface InboxOwner {
  /** Reads on from the socket. */
  resumeReading(): void
  /** Stops reading from the socket. */
  pauseReading(): void
  /** A message of so many bytes leaves the inbox, for `onMessage` or for an iteration. */
  countReceived(bytes: number): void
  /** Calls `onMessage`. */
  callOnMessage(message: Message): void
  /** The body of an iteration runs. */
  callbackBegan(): void
  /** The body of an iteration has asked for more, or has left. */
  callbackSettled(): void
}

/** A message that waits, and its size as it came. */
interface Waiting {
  readonly message: Message
  readonly bytes: number
}

/**
 * Messages that came and that nobody takes yet: while the connection is paused, and between two steps of an
 * iteration. The socket is not read meanwhile, so no more waits here than what the last read brought: 64 KiB,
 * and one message that was compressed (see `InflationGate`).
 */
export class Inbox {
  readonly #owner: InboxOwner
  readonly #waiting: Waiting[] = []
  #bytes = 0
  /** The size of the largest message since none waited. */
  #largestBytes = 0
  #isPaused = false
  /** Reasons of the hub itself not to go on. */
  #holds = 0
  #isIterated = false
  #isEnded = false
  #isDraining = false
  /** Lets the iteration go on that waits for a message. */
  #wake: (() => void) | undefined

  constructor(owner: InboxOwner) {
    this.#owner = owner
  }

  /** Whether a message may go straight to `onMessage`. */
  get isOpen(): boolean {
    return !this.#isHeld && !this.#isIterated && this.#waiting.length === 0
  }

  /** Bytes of the messages that wait, after inflation. */
  get bytes(): number {
    return this.#bytes
  }

  /** Whether more waits than can have come in one read: of a WebSocket that inflates while it is paused. */
  get isFull(): boolean {
    return this.#bytes - this.#largestBytes > MAX_BYTES
  }

  /** @param bytes the size of the message as it came, after inflation */
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

  /** Delivers what waits, in a turn of its own, and reads on. */
  resume(): void {
    this.#isPaused = false
    this.flow()
  }

  /** Goes on, if nothing else is against it. */
  flow(): void {
    if (this.#isIterated) this.#wake?.()
    else this.#drainSoon()
  }

  /** Pauses for a reason of the hub's; each is released once. */
  hold(): void {
    this.#holds++
    this.#owner.pauseReading()
  }

  release(): void {
    this.#holds--
    this.flow()
  }

  /**
   * The messages from now on, each of which is taken by one iteration only, and by no `onMessage`.
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

  /** The client has said goodbye or has gone: what waits is still taken, and an iteration ends behind it. */
  end(): void {
    this.#isEnded = true
    this.#wake?.()
    if (!this.#isIterated) this.#deliverAll()
  }

  /** The connection is being closed from this side: nothing is delivered any more. */
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
    this.#owner.countReceived(waiting.bytes)
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
}
