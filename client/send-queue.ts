/** A message, as `send` of a WebSocket takes it. */
export type SocketData = string | ArrayBuffer | ArrayBufferView | Blob

/** The most that waits while there is no connection; 0 = nothing. */
export interface QueueLimits {
  readonly maxQueuedMessages: number
  readonly maxQueuedBytes: number
}

/** Messages that wait for a connection, in the order of the calls. */
export class SendQueue {
  readonly #limits: QueueLimits
  #waiting: { readonly data: SocketData; readonly size: number }[] = []
  #bytes = 0

  constructor(limits: QueueLimits) {
    this.#limits = limits
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Returns whether the message may wait. Bytes are copied: they may change before they are sent. */
  push(data: SocketData): boolean {
    const size = sizeOf(data)
    const { maxQueuedMessages, maxQueuedBytes } = this.#limits
    if (this.#waiting.length >= maxQueuedMessages || this.#bytes + size > maxQueuedBytes) return false
    this.#waiting.push({ data: copyOf(data), size })
    this.#bytes += size
    return true
  }

  /** Takes the first message. */
  shift(): SocketData | undefined {
    const first = this.#waiting.shift()
    this.#bytes -= first?.size ?? 0
    return first?.data
  }

  clear(): void {
    this.#waiting = []
    this.#bytes = 0
  }
}

function copyOf(data: SocketData): SocketData {
  if (data instanceof ArrayBuffer) return data.slice(0)
  if (!ArrayBuffer.isView(data)) return data
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice()
}

function sizeOf(data: SocketData): number {
  if (typeof data === 'string') return new TextEncoder().encode(data).length
  return 'size' in data ? data.size : data.byteLength
}
