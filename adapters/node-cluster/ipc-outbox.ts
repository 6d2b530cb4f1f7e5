import { MESSAGE_OVERHEAD_BYTES } from '../backplane/backplane-options.ts'

/** One entry of a packet, from the backplane of a worker to the primary or back. */
export type Entry =
  // From a worker. It sends all its subscriptions between `hello` and `ready`; the probe shows whether bytes
  // arrive as bytes.
  | readonly ['hello', probe: Uint8Array]
  | readonly ['subscribe', channel: string, id: number]
  | readonly ['unsubscribe', channel: string]
  | readonly ['ready']
  | readonly ['bye']
  // From either side.
  | readonly ['message', channel: string, bytes: Uint8Array]
  // From the primary.
  | readonly ['serving']
  | readonly ['leaving']
  | readonly ['refused', reason: string]
  | readonly ['subscribed', channel: string, id: number]
  | readonly ['welcome']
  | readonly ['dropped', count: number]

/** A message on the channel between two processes, which the application may use as well. */
export interface Packet {
  readonly wshub: 'backplane'
  /** The name of the worker's backplane; empty = all. */
  readonly peer: string
  readonly entries: readonly Entry[]
}

/** Returns whether a message is a packet: the application may send messages of its own. */
export function isPacket(message: unknown): message is Packet {
  return (
    typeof message === 'object' && message !== null && 'wshub' in message && message.wshub === 'backplane'
  )
}

/** Sends a packet to the other process. `callback` is called when it was sent, or cannot be. */
export type SendPacket = (packet: Packet, callback: (error: Error | null) => void) => void

/** The owner of an outbox, as the outbox calls it. */
export interface IpcOutboxOwner {
  /** Something was sent: an entry that did not fit may fit now. */
  hasRoom(): void
  /** Messages could not be sent, since the other process has ended. */
  lost?(messages: number, cause: Error): void
}

/** Entries that wait to be sent to the other process, in order: one packet a turn, with a limit of bytes. */
export class IpcOutbox {
  readonly #send: SendPacket
  readonly #peer: string
  readonly #maxPendingBytes: number
  #entries: Entry[] = []
  #pendingBytes = 0
  /** How many of the entries that wait, or are being sent, are messages. */
  #pendingMessages = 0
  readonly #owner: IpcOutboxOwner
  #isScheduled = false
  #isAbandoned = false
  #onEmpty = () => {}

  constructor(send: SendPacket, peer: string, maxPendingBytes: number, owner: IpcOutboxOwner) {
    this.#send = send
    this.#peer = peer
    this.#maxPendingBytes = maxPendingBytes
    this.#owner = owner
  }

  /** Adds a message. @returns `false` when there is no room */
  pushMessage(channel: string, bytes: Uint8Array): boolean {
    if (this.#pendingBytes + bytes.byteLength + MESSAGE_OVERHEAD_BYTES > this.#maxPendingBytes) return false
    this.push(['message', channel, bytes])
    return true
  }

  /**
   * Adds an entry about a subscription. Half of the room is left to messages; a single entry always fits.
   * @returns `false` when there is no room
   */
  pushSubscription(entry: Entry): boolean {
    if (this.#pendingBytes > 0 && this.#pendingBytes + sizeOf(entry) > this.#maxPendingBytes / 2) return false
    this.push(entry)
    return true
  }

  /** Adds an entry that must not be lost, whether there is room or not. There are few of them. */
  push(entry: Entry): void {
    this.#pendingBytes += sizeOf(entry)
    if (isOfMessage(entry)) this.#pendingMessages++
    this.#entries.push(entry)
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#flush()
    })
  }

  /** Removes the entries that were not sent yet. @returns how many of them are messages */
  clear(): number {
    for (const entry of this.#entries) this.#pendingBytes -= sizeOf(entry)
    const messages = this.#entries.filter(isOfMessage).length
    this.#pendingMessages -= messages
    this.#entries = []
    return messages
  }

  /** Gives up what is not known to have been sent. @returns how many messages that is */
  abandon(): number {
    const messages = this.#pendingMessages
    this.#pendingMessages = 0
    this.#isAbandoned = true
    return messages
  }

  /** Resolves when everything was sent. */
  async empty(): Promise<void> {
    if (this.#pendingBytes === 0) return
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve
    })
  }

  #flush(): void {
    const entries = this.#entries
    if (entries.length === 0) return
    this.#entries = []
    const size = entries.reduce((sum, entry) => sum + sizeOf(entry), 0)
    const messages = entries.filter(isOfMessage).length
    this.#send({ wshub: 'backplane', peer: this.#peer, entries }, (error) => {
      this.#pendingBytes -= size // sent, or the other process has exited, which is an event of its own
      if (!this.#isAbandoned) {
        this.#pendingMessages -= messages
        if (error !== null && messages > 0) this.#owner.lost?.(messages, error)
      }
      this.#owner.hasRoom()
      if (this.#pendingBytes === 0) this.#onEmpty()
    })
  }
}

function isOfMessage(entry: Entry): boolean {
  return entry[0] === 'message'
}

function sizeOf(entry: Entry): number {
  return MESSAGE_OVERHEAD_BYTES + (entry[0] === 'message' ? entry[2].byteLength : 0)
}
