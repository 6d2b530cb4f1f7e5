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

/** @throws {TypeError} for what a WebSocket would turn into text, such as `[object Object]` */
export function checkData(data: unknown): void {
  if (typeof data === 'string' || ArrayBuffer.isView(data)) return
  if (/^(ArrayBuffer|Blob|File)$/.test(kindOf(data))) return
  throw new TypeError('a message is a string, bytes or a Blob; serialize objects yourself')
}

/** Returns the name of the class of a built-in object. `instanceof` would not know those of another realm. */
function kindOf(data: unknown): string {
  return Object.prototype.toString.call(data).slice(8, -1)
}

function copyOf(data: SocketData): SocketData {
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice()
  return kindOf(data) === 'ArrayBuffer' ? data.slice(0) : data
}

function sizeOf(data: SocketData): number {
  if (typeof data === 'string') return new TextEncoder().encode(data).length
  return 'size' in data ? data.size : data.byteLength
}
