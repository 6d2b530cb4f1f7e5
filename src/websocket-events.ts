import { HubError, show } from './errors.ts'

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
  on(event: string, listener: (this: WebSocketLike, ...args: never[]) => void): unknown
  send(data: Uint8Array, options: { binary?: boolean }, sent?: (error?: Error) => void): void
  ping(data?: Uint8Array): void
  pong(data?: Uint8Array): void
  pause(): void
  resume(): void
  close(code?: number, reason?: string): void
  terminate(): void
}

/** What hears a WebSocket: its connection. */
export interface WebSocketListener {
  received(data: Buffer, isBinary: boolean): void
  pinged(payload: Buffer): void
  ponged(payload: Buffer): void
  /** The client broke the protocol; `ws` has answered it. */
  broken(error: HubError): void
  closed(code: number, reason: string): void
}

// Five closures for each connection would be 320 bytes of it; `npm run bench -- memory` notices. So the listeners are
// shared and find their connection by their `this`, which is the WebSocket.
const listeners = new WeakMap<WebSocketLike, WebSocketListener>()

/** Has a WebSocket heard by its connection. */
export function listen(ws: WebSocketLike, listener: WebSocketListener): void {
  listeners.set(ws, listener)
  ws.on('message', onMessage)
  ws.on('ping', onPing)
  ws.on('pong', onPong)
  ws.on('error', onError)
  ws.on('close', onClose)
}

function onMessage(this: WebSocketLike, data: Buffer, isBinary: boolean): void {
  listeners.get(this)?.received(data, isBinary)
}

function onPing(this: WebSocketLike, payload: Buffer): void {
  listeners.get(this)?.pinged(payload)
}

function onPong(this: WebSocketLike, payload: Buffer): void {
  listeners.get(this)?.ponged(payload)
}

function onError(this: WebSocketLike, error: Error): void {
  listeners.get(this)?.broken(clientError(error))
}

function onClose(this: WebSocketLike, code: number, reason: Buffer): void {
  listeners.get(this)?.closed(code, reason.toString())
}

/** A fault of the client, as `ws` found it, by the close code that `ws` has answered it with. */
function clientError(cause: Error): HubError {
  const code = 'code' in cause ? String(cause.code) : ''
  if (code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') {
    return new HubError('WSHUB_ERR_MESSAGE_TOO_BIG', 'the client sent a message over maxMessageSize', {
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
  return new HubError('WSHUB_ERR_PROTOCOL', `the client broke the protocol: ${show(cause.message)}`, {
    cause,
  })
}
