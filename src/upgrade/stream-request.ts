import { IncomingMessage } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http2'
import type { Socket } from 'node:net'
import type { StreamSocket } from './stream-socket.ts'

/** A well-formed key, which the checks of a handshake ask for, and HTTP/2 does not send. */
const KEY = 'AAAAAAAAAAAAAAAAAAAAAA=='

/**
 * Returns the request of an extended CONNECT as that of an upgrade, so that it passes through the same routes
 * as one of HTTP/1.1: a GET of `node:http` with `Upgrade: websocket`. HTTP/2 refuses that header, so no
 * client can have sent it. The pseudo-headers stay, as they are in every request of `node:http2`.
 * @see RFC 8441 §5
 */
export function requestOf(
  headers: IncomingHttpHeaders,
  rawHeaders: readonly string[],
  socket: StreamSocket,
): IncomingMessage {
  const req = new IncomingMessage(socket as unknown as Socket) // typed for TCP, but any duplex works
  req.httpVersion = '2.0'
  req.httpVersionMajor = 2
  req.httpVersionMinor = 0
  req.method = 'GET'
  req.url = headers[':path'] ?? '/'
  req.rawHeaders = [...rawHeaders]
  const { ':authority': host = headers.host, 'sec-websocket-key': key = KEY } = headers
  req.headers = {
    ...headers,
    host,
    upgrade: 'websocket',
    connection: 'Upgrade',
    'sec-websocket-key': key,
  } as IncomingMessage['headers'] // those of node:http2 have the pseudo-headers as well
  req.complete = true
  req.push(null) // a handshake has no body
  return req
}
