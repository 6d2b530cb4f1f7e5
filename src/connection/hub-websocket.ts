import { WebSocket } from 'ws'
import { HubError, show } from '../base/errors.ts'
import type { HandlerOwner } from '../base/run-handler.ts'
import { asError, textOf } from '../base/thrown.ts'
import type { IncomingFrames } from '../protocol/incoming-frames.ts'

/**
 * The members of a `ws` WebSocket that a connection uses. They are public ones, so any copy or version of
 * `ws` fits, and spelled out, so an application compiles without the types of `ws`.
 */
export interface WebSocketLike {
  readonly readyState: number
  readonly protocol: string
  readonly bufferedAmount: number
  readonly isPaused: boolean
  binaryType: string
  readonly extensions?: string
  on(event: string, listener: (...args: never[]) => void): unknown
  send(data: Uint8Array, options: { binary?: boolean }, sent?: (error?: Error) => void): void
  ping(data?: Uint8Array, mask?: boolean, sent?: (error?: Error) => void): void
  pong(data?: Uint8Array, mask?: boolean, sent?: (error?: Error) => void): void
  pause(): void
  resume(): void
  close(code?: number, reason?: string): void
  terminate(): void
}

/** A WebSocket as a session uses it. */
export interface SessionWebSocket extends Omit<WebSocketLike, 'binaryType' | 'extensions'> {
  readonly extensions?: string | undefined
  /** Receives its events. */
  listener: WebSocketListener | undefined
}

/** The `readyState` of an open WebSocket. */
export const OPEN = WebSocket.OPEN

/** The members that {@link checkWebSocket} looks for, and their types. */
const MEMBERS = {
  readyState: 'number',
  protocol: 'string',
  bufferedAmount: 'number',
  isPaused: 'boolean', // the newest of them: since ws 8.3
  on: 'function',
  send: 'function',
  ping: 'function',
  pong: 'function',
  pause: 'function',
  resume: 'function',
  close: 'function',
  terminate: 'function',
} as const satisfies Partial<Record<keyof WebSocketLike, string>>

/**
 * Checks the socket that an application registers before it is touched.
 * @throws {HubError} WSHUB_ERR_INVALID_SOCKET or WSHUB_ERR_SOCKET_CLOSED
 */
export function checkWebSocket(socket: unknown): asserts socket is WebSocketLike {
  if (typeof socket !== 'object' || socket === null) throw invalidSocket(`not ${show(socket)}`)
  const members = socket as Readonly<Record<string, unknown>> // each member is checked below
  for (const [name, type] of Object.entries(MEMBERS)) {
    const member = members[name]
    if (typeof member !== type) throw invalidSocket(`its ${name} is ${show(member)}, not a ${type}`)
  }
  if (members.readyState === WebSocket.CLOSING || members.readyState === WebSocket.CLOSED) {
    throw new HubError('WSHUB_ERR_SOCKET_CLOSED', 'the WebSocket is closing or closed')
  }
}

function invalidSocket(flaw: string): HubError {
  return new HubError('WSHUB_ERR_INVALID_SOCKET', `a socket is a WebSocket of ws 8.3 or later: ${flaw}`)
}

/** Receives the messages of a WebSocket. */
export interface MessageListener {
  /** A message has arrived. */
  received(data: Buffer, isBinary: boolean): void
  /** A ping has arrived. */
  pinged(payload: Buffer): void
  /** A pong has arrived. */
  ponged(payload: Buffer): void
}

/** Receives the events of a WebSocket. */
export interface WebSocketListener extends HandlerOwner {
  readonly receiver: MessageListener
  /** Writes the messages that still wait, before a close frame is written. */
  readonly outbox: { flushAll(): void }
  /** Whether the client may still answer a ping, even after its close frame. */
  readonly isAwaitingPong: boolean
  /** The socket is about to be destroyed, by `ws` or by the listener itself. */
  terminating(): void
  /** The client violated the protocol; `ws` has sent the close frame. */
  protocolError(error: HubError): void
  /**
   * The client sent a text fragment that is not valid UTF-8; no close frame has been sent.
   * @param hangUp ends the socket; to be called after the close frame
   */
  invalidText(hangUp: () => void): void
  /** The socket is closed. @param code 1006 when the client sent no close frame */
  closed(code: number, reason: string): void
}

/**
 * The WebSocket of an accepted upgrade. It tells its listener before it closes.
 * @internal Its declaration would need the types of `ws`.
 */
export class HubWebSocket extends WebSocket {
  listener: WebSocketListener | undefined
  /** Is told of each message after the connection, which may have paused it. */
  gate: { emitted(): void } | undefined
  /** Created with the first bytes from the client, if they are to be checked. */
  incoming: IncomingFrames | undefined

  // The listener gets the events from here. Event listeners would take 400 bytes a connection, and 1 µs of a
  // connect.
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    const { listener } = this
    if (listener === undefined || !tell(listener, event, args)) return super.emit(event, ...args)
    if (event === 'message') this.gate?.emitted()
    return true
  }

  // `ws` itself calls this when the client closes or breaks the protocol. Messages that were accepted for
  // sending in the same turn must be written before that close frame, or they would be lost.
  override close(code?: number, reason?: string | Buffer): void {
    if (this.readyState === WebSocket.OPEN) this.listener?.outbox.flushAll()
    super.close(code, reason)
  }

  // `ws` itself calls this when too many pongs wait.
  override terminate(): void {
    this.listener?.terminating()
    super.terminate()
  }
}

/** Tells a listener of an event; `false` when it is none that it receives. */
export function tell(listener: WebSocketListener, event: string | symbol, args: readonly unknown[]): boolean {
  // `ws` documents the arguments of its events.
  switch (event) {
    case 'message':
      listener.receiver.received(args[0] as Buffer, args[1] as boolean)
      return true
    case 'ping':
      listener.receiver.pinged(args[0] as Buffer)
      return true
    case 'pong':
      listener.receiver.ponged(args[0] as Buffer)
      return true
    case 'error':
      listener.protocolError(clientError(args[0]))
      return true
    case 'close':
      listener.closed(args[0] as number, String(args[1]))
      return true
    default:
      return false
  }
}

/** Returns the error for a message over `maxMessageSize`. */
export function messageTooBig(cause?: Error): HubError {
  return new HubError('WSHUB_ERR_MESSAGE_TOO_BIG', 'the client sent a message over maxMessageSize', { cause })
}

/** Turns an error of `ws` about the client into the error for the close code that `ws` has sent. */
function clientError(thrown: unknown): HubError {
  const cause = asError(thrown, 'the WebSocket') // one that was opened elsewhere may emit anything
  const code = textOf(cause, 'code') ?? ''
  if (code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH' || code === 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH') {
    return messageTooBig(cause)
  }
  if (code === 'WS_ERR_TOO_MANY_BUFFERED_PARTS') {
    return new HubError('WSHUB_ERR_TOO_MANY_FRAGMENTS', 'the client sent a message in too many pieces', {
      cause,
    })
  }
  if (code === 'WS_ERR_INVALID_UTF8' || code.startsWith('Z_')) {
    return new HubError(
      'WSHUB_ERR_INVALID_DATA',
      'the client sent text that is not UTF-8, or corrupt compressed data',
      { cause },
    )
  }
  return new HubError(
    'WSHUB_ERR_PROTOCOL',
    `the client violated the protocol: ${show(textOf(cause, 'message'))}`,
    {
      cause,
    },
  )
}
