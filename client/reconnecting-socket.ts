import type { SocketData } from './send-queue.ts'

/** The end of a connection, as the `CloseEvent` of a page. */
export interface SocketCloseEvent extends Event {
  readonly code: number
  readonly reason: string
  readonly wasClean: boolean
  /** Time, in ms, to the next attempt; `undefined` after the last one, when `readyState` is `CLOSED`. */
  readonly retryInMs?: number | undefined
}

/**
 * A failure, an `error` event of a page. A `close` event follows, unless `positionOf` or `onReconnect` threw.
 */
export interface SocketErrorEvent extends Event {
  /**
   * The error that `token`, `positionOf` or `onReconnect` threw, or that a WebSocket of Node reports. A page
   * reports nothing.
   */
  readonly error?: unknown
}

/** The events of a {@link ReconnectingSocket}. */
export interface SocketEvents {
  open: Event
  message: MessageEvent
  error: SocketErrorEvent
  close: SocketCloseEvent
}

type Listen = Parameters<EventTarget['addEventListener']>
type Unlisten = Parameters<EventTarget['removeEventListener']>

/**
 * A `WebSocket` that reconnects when its connection is lost. It has the interface of a page's, with these
 * differences: `open` and `close` happen once for each connection; `readyState` is `CONNECTING` also while
 * there is no connection, and `CLOSED` only for good; `send` keeps messages until there is one, as far as
 * `maxQueuedMessages` and `maxQueuedBytes` allow.
 */
export interface ReconnectingSocket extends EventTarget {
  readonly CONNECTING: 0
  readonly OPEN: 1
  readonly CLOSING: 2
  readonly CLOSED: 3
  readonly url: string
  readonly readyState: 0 | 1 | 2 | 3
  /** The subprotocol and the extensions of the open connection; empty while there is none. */
  readonly protocol: string
  readonly extensions: string
  /** Bytes that are not sent yet, including those that wait for a connection. */
  readonly bufferedAmount: number
  binaryType: 'blob' | 'arraybuffer'
  onopen: ((event: Event) => unknown) | null
  onmessage: ((event: MessageEvent) => unknown) | null
  onerror: ((event: SocketErrorEvent) => unknown) | null
  onclose: ((event: SocketCloseEvent) => unknown) | null
  /**
   * Sends a message, or keeps it until there is a connection. After `close`, and after the last connection,
   * it is discarded, as a WebSocket does.
   * @throws {DOMException} InvalidStateError if there is no connection and the queue is full
   * @throws {TypeError} for anything but a string, bytes or a Blob
   */
  send(data: SocketData): void
  /**
   * Closes for good; queued messages are discarded.
   * @param code 1000, or 3000 to 4999
   * @throws {DOMException} for another code, or a reason of more than 123 bytes
   */
  close(code?: number, reason?: string): void
  addEventListener<Type extends keyof SocketEvents>(
    type: Type,
    listener: (event: SocketEvents[Type]) => unknown,
    options?: Listen[2],
  ): void
  addEventListener(type: string, listener: Listen[1], options?: Listen[2]): void
  removeEventListener<Type extends keyof SocketEvents>(
    type: Type,
    listener: (event: SocketEvents[Type]) => unknown,
    options?: Unlisten[2],
  ): void
  removeEventListener(type: string, listener: Unlisten[1], options?: Unlisten[2]): void
}

/** The part of a WebSocket that a {@link ReconnectingSocket} uses: a page's, Node's or that of `ws`. */
export interface SocketLike {
  readonly url: string
  readonly readyState: number
  readonly protocol: string
  readonly extensions: string
  readonly bufferedAmount: number
  // Listeners, whose types differ: they are set and never read.
  onopen: unknown
  onmessage: unknown
  onerror: unknown
  onclose: unknown
  binaryType: string
  send(data: SocketData): void
  close(code?: number, reason?: string): void
  /** Of `ws`, which would wait 30 s for the answer to `close` of a connection that is dead. */
  terminate?(): void
}
