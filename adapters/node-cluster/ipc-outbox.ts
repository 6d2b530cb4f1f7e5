import { MESSAGE_OVERHEAD_BYTES } from '../backplane/backplane-options.ts'

/** One thing that the backplane of a worker tells the primary, or the primary a backplane. */
export type Entry =
  // From a worker. All its subscriptions stand between `hello` and `ready`; the probe shows whether bytes
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

/** A message on the channel between two processes, beside whatever the application sends there itself. */
export interface Packet {
  readonly wshub: 'backplane'
  /** The backplane of the worker; '' = all. */
  readonly peer: string
  readonly entries: readonly Entry[]
}

/** Whether a message is one of ours. */
export function isPacket(message: unknown): message is Packet {
  return (
    typeof message === 'object' && message !== null && 'wshub' in message && message.wshub === 'backplane'
  )
}

/** The channel to the other process: `callback` is called when a packet has gone. */
export type SendPacket = (packet: Packet, callback: (error: Error | null) => void) => void

/** Messages that wait for the other process, in order: one packet a turn, and not more bytes than allowed. */
export class IpcOutbox {
  readonly #send: SendPacket
  readonly #peer: string
  readonly #maxPendingBytes: number
  #entries: Entry[] = []
  #pendingBytes = 0
  readonly #onRoom: () => void
  #isScheduled = false
  #onEmpty = () => {}

  /** @param onRoom something has gone, so what did not fit may fit now */
  constructor(send: SendPacket, peer: string, maxPendingBytes: number, onRoom: () => void) {
    this.#send = send
    this.#peer = peer
    this.#maxPendingBytes = maxPendingBytes
    this.#onRoom = onRoom
  }

  /** Takes a message unless there is no room. */
  pushMessage(channel: string, bytes: Uint8Array): boolean {
    if (this.#pendingBytes + bytes.byteLength + MESSAGE_OVERHEAD_BYTES > this.#maxPendingBytes) return false
    this.push(['message', channel, bytes])
    return true
  }

  /**
   * Takes something of a subscription unless there is no room; the half of it is left to messages. A single
   * one always fits.
   */
  pushSubscription(entry: Entry): boolean {
    if (this.#pendingBytes > 0 && this.#pendingBytes + sizeOf(entry) > this.#maxPendingBytes / 2) return false
    this.push(entry)
    return true
  }

  /** Takes what there are few of, and must not be lost. */
  push(entry: Entry): void {
    this.#pendingBytes += sizeOf(entry)
    this.#entries.push(entry)
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#flush()
    })
  }

  /** Forgets what has not gone yet. */
  clear(): void {
    for (const entry of this.#entries) this.#pendingBytes -= sizeOf(entry)
    this.#entries = []
  }

  /** Resolves when all has gone. */
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
    this.#send({ wshub: 'backplane', peer: this.#peer, entries }, () => {
      this.#pendingBytes -= size // gone, or the other process is: it has its own event
      this.#onRoom()
      if (this.#pendingBytes === 0) this.#onEmpty()
    })
  }
}

function sizeOf(entry: Entry): number {
  return MESSAGE_OVERHEAD_BYTES + (entry[0] === 'message' ? entry[2].byteLength : 0)
}
