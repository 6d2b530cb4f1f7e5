import { type ConnectOptions, resolveConnectOptions } from './connect-options.ts'
import { LastingSocket } from './lasting-socket.ts'
import type { ReconnectingSocket } from './reconnecting-socket.ts'
import { checkTarget } from './target.ts'

export type { ConnectOptions, RoomPosition } from './connect-options.ts'
export type {
  ReconnectingSocket,
  SocketCloseEvent,
  SocketErrorEvent,
  SocketEvents,
  SocketLike,
} from './reconnecting-socket.ts'
export type { SocketData } from './send-queue.ts'

/**
 * Opens a WebSocket that reconnects: after a random, growing delay; at once when the browser is online
 * again or the page is visible again, and not at all after a close code that forbids it.
 * @param url as a `WebSocket` takes it, relative to the page where the browser allows it
 * @throws {TypeError} for invalid options
 * @throws {DOMException} SyntaxError for a URL or subprotocols that a `WebSocket` refuses
 */
export function connect(url: string | URL, options: ConnectOptions = {}): ReconnectingSocket {
  const resolved = resolveConnectOptions(options)
  if (resolved.token !== undefined) checkTarget(String(url), resolved.protocols)
  return new LastingSocket(url, resolved)
}
