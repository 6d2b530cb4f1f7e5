import { WebSocket } from 'ws'
import { HubError, show } from '../base/errors.ts'
import { asError, textOf } from '../base/thrown.ts'

/**
 * What a connection uses of a `ws` WebSocket: only public members, so that any copy or version of `ws` fits. It is spelled
 * out, so that an application needs no types of `ws` to compile against this package.
 */
export interface WebSocketLike {
  readonly readyState: number
  readonly protocol: string
  readonly bufferedAmount: number
  readonly isPaused: boolean
  binaryType: string
  on(event: string, listener: (...args: never[]) => void): unknown
  send(data: Uint8Array, options: { binary?: boolean }, sent?: (error?: Error) => void): void
  ping(data?: Uint8Array, mask?: boolean, sent?: (error?: Error) => void): void
  pong(data?: Uint8Array, mask?: boolean, sent?: (error?: Error) => void): void
  pause(): void
  resume(): void
  close(code?: number, reason?: string): void
  terminate(): void
}

/** The members that the hub uses, and their types. */
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
 * Checks what an application registers before anything of it is touched.
 * @throws {HubError} WSHUB_ERR_INVALID_SOCKET or WSHUB_ERR_SOCKET_CLOSED
 */
export function checkWebSocket(socket: unknown): asserts socket is WebSocketLike {
  if (typeof socket !== 'object' || socket === null) throw invalidSocket(`not ${show(socket)}`)
  const members = socket as Readonly<Record<string, unknown>> // they are about to be looked at one by one
  for (const [name, type] of Object.entries(MEMBERS)) {
    const member = members[name]
    if (typeof member !== type) throw invalidSocket(`its ${name} is ${show(member)} and no ${type}`)
  }
  if (members.readyState === WebSocket.CLOSING || members.readyState === WebSocket.CLOSED) {
    throw new HubError('WSHUB_ERR_SOCKET_CLOSED', 'the WebSocket is closing or closed')
  }
}

function invalidSocket(flaw: string): HubError {
  return new HubError('WSHUB_ERR_INVALID_SOCKET', `a socket is a WebSocket of ws 8.3 or later: ${flaw}`)
}

/** What hears a WebSocket: its connection. */
export interface WebSocketListener {
  received(data: Buffer, isBinary: boolean): void
  pinged(payload: Buffer): void
  ponged(payload: Buffer): void
  /** A close frame is about to be written, the last chance for what still waits. */
  closing(): void
  /** The socket is about to be destroyed, by `ws` or by the listener itself. */
  terminating(): void
  /** The client broke the protocol; `ws` has answered it. */
  protocolError(error: HubError): void
  /** Text of which the client has sent a part is not UTF-8; nothing has answered it. To be hung up behind the close frame. */
  invalidText(hangUp: () => void): void
  closed(code: number, reason: string): void
}

/** The WebSocket of an accepted upgrade: it knows who hears it. @internal Its declaration would need the types of `ws`. */
export class HubWebSocket extends WebSocket {
  listener: WebSocketListener | undefined

  // `ws` writes a close frame by itself, at once, when the client closes or breaks the protocol: without a word before it,
  // what was accepted for sending in the same turn would be lost behind that frame.
  override close(code?: number, reason?: string | Buffer): void {
    if (this.readyState === WebSocket.OPEN) this.listener?.closing()
    super.close(code, reason)
  }

  // `ws` does so by itself when too many pongs wait.
  override terminate(): void {
    this.listener?.terminating()
    super.terminate()
  }
}

/** Has a WebSocket heard by its connection. */
export function listen(ws: WebSocketLike, listener: WebSocketListener): void {
  if (ws instanceof HubWebSocket) ws.listener = listener
  // Five closures for each connection would be 320 bytes of it; `npm run bench -- memory` notices. So the listeners are
  // shared and find their connection by their `this`. A WeakMap in place of the field takes 0.5 µs a message (`-- echo`).
  const on = (event: string, hear: (this: Heard, ...args: never[]) => void) =>
    ws.on(event, ws instanceof HubWebSocket ? hear : hear.bind({ listener }))
  on('message', onMessage)
  on('ping', onPing)
  on('pong', onPong)
  on('error', onError)
  on('close', onClose)
}

type Heard = Pick<HubWebSocket, 'listener'>

function onMessage(this: Heard, data: Buffer, isBinary: boolean): void {
  this.listener?.received(data, isBinary)
}

function onPing(this: Heard, payload: Buffer): void {
  this.listener?.pinged(payload)
}

function onPong(this: Heard, payload: Buffer): void {
  this.listener?.ponged(payload)
}

function onError(this: Heard, error: unknown): void {
  this.listener?.protocolError(clientError(error))
}

function onClose(this: Heard, code: number, reason: Buffer): void {
  this.listener?.closed(code, reason.toString())
}

/** A fault of the client, as `ws` found it, by the close code that `ws` has answered it with. */
function clientError(thrown: unknown): HubError {
  const cause = asError(thrown, 'the WebSocket') // one that was opened elsewhere may emit anything
  const code = textOf(cause, 'code') ?? ''
  if (code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH' || code === 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH') {
    return new HubError('WSHUB_ERR_MESSAGE_TOO_BIG', 'the client sent a message over maxMessageSize', {
      cause,
    })
  }
  if (code === 'WS_ERR_TOO_MANY_BUFFERED_PARTS') {
    return new HubError('WSHUB_ERR_TOO_MANY_FRAGMENTS', 'the client sent a message in too many pieces', {
      cause,
    })
  }
  if (code === 'WS_ERR_INVALID_UTF8' || code.startsWith('Z_')) {
    return new HubError(
      'WSHUB_ERR_INVALID_DATA',
      'the client sent text that is not UTF-8, or broken compressed data',
      { cause },
    )
  }
  return new HubError(
    'WSHUB_ERR_PROTOCOL',
    `the client broke the protocol: ${show(textOf(cause, 'message'))}`,
    {
      cause,
    },
  )
}
