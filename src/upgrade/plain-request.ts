import { Server as HttpServer, type IncomingMessage } from 'node:http'
import { isEncrypted } from './is-encrypted.ts'
import type { UpgradeServer } from './upgrade-server.ts'

/** The number of headers that a request may have if `server.maxHeadersCount` is not set. */
const DEFAULT_MAX_HEADERS = 1_000

/**
 * Node's own listener for connections, the same for all servers. Emitting `connection` would also call the
 * listeners of the application.
 */
const [readRequests] = new HttpServer().listeners('connection')

/**
 * Returns whether Node may have dropped headers of a request: it stops reading at `server.maxHeadersCount`,
 * without an error. The dropped headers may include the length of the body, and the address that a proxy has
 * added at the end.
 */
export function mayBeCut(server: UpgradeServer, { rawHeaders }: IncomingMessage): boolean {
  const set = 'maxHeadersCount' in server ? server.maxHeadersCount : null // servers of node:http2 have none
  const most = set ?? DEFAULT_MAX_HEADERS
  return most > 0 && rawHeaders.length >= 2 * most
}

/**
 * Serves an upgrade to another protocol (Java's HTTP client requests h2c every time) on a server without a
 * listener for it. Node would have ignored the `Upgrade` and served the request with its body, but our
 * listener made it stop. So Node's own listener reads the request again, without the `Upgrade`. If its body
 * has been read already, it is served like a handshake that failed: once, and then the connection ends.
 */
export function continueAsHttp(server: UpgradeServer, req: IncomingMessage, head: Buffer): void {
  const { socket } = req
  socket.unshift(Buffer.concat([headOf(req), head]))
  if (readRequests !== undefined) readRequests.call(server, socket)
  else server.emit(isEncrypted(socket) ? 'secureConnection' : 'connection', socket)
}

/** Returns the head of a request without its `Upgrade`. */
function headOf(req: IncomingMessage): Buffer {
  let text = `${req.method} ${req.url} HTTP/${req.httpVersion}\r\n`
  for (let i = 0; i + 1 < req.rawHeaders.length; i += 2) {
    const name = req.rawHeaders[i] ?? ''
    let value = req.rawHeaders[i + 1] ?? ''
    if (isWish(name)) continue
    if (name.toLowerCase() === 'connection') {
      const options = value.split(',').filter((option) => !isWish(option.trim()))
      if (options.length === 0) continue
      value = options.join(',').trim()
    }
    text += `${name}: ${value}\r\n`
  }
  return Buffer.from(`${text}\r\n`, 'latin1')
}

function isWish(name: string): boolean {
  return ['upgrade', 'http2-settings'].includes(name.toLowerCase())
}
