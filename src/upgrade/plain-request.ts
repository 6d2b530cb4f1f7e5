import { Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { UpgradeServer } from './upgrade-server.ts'

/** The number of headers that a request may have if `server.maxHeadersCount` is not set. */
const DEFAULT_MAX_HEADERS = 1_000

/**
 * Node's own listener for connections, the same for all servers. Emitting `connection` would also call the
 * listeners of the application.
 */
const [readRequests] = new HttpServer().listeners('connection')

// An association, not state: the unfinished responses of a connection, in the order of their requests. It is
// empty between requests: a socket lives longer than they do, and must not keep the application's data about
// them.
const unfinished = new WeakMap<Duplex, Set<ServerResponse>>()

/** A `request` listener that records the unfinished responses of a connection. */
export function noteResponse({ socket }: IncomingMessage, response: ServerResponse): void {
  const responses = unfinished.get(socket)
  if (responses?.has(response)) return // another hub of the server has recorded it
  if (responses === undefined) unfinished.set(socket, new Set([response]))
  else responses.add(response)
  response.on('close', forgetResponse)
}

/** One function for all responses, so that a request needs no closure. */
function forgetResponse(this: ServerResponse): void {
  const { socket } = this.req
  const responses = unfinished.get(socket)
  responses?.delete(this)
  if (responses?.size === 0) unfinished.delete(socket)
}

/**
 * Returns whether Node may have dropped headers of a request: it stops reading at `server.maxHeadersCount`,
 * without an error. The dropped headers may include the length of the body, and the address that a proxy has
 * added at the end.
 */
export function mayBeCut(server: UpgradeServer, { rawHeaders }: IncomingMessage): boolean {
  const most = server.maxHeadersCount ?? DEFAULT_MAX_HEADERS
  return most > 0 && rawHeaders.length >= 2 * most
}

/**
 * Serves an upgrade to another protocol (Java's HTTP client requests h2c every time) on a server without a
 * listener for it. Node would have ignored the `Upgrade` and served the request with its body, but our
 * listener made it stop. So Node's own listener reads the request again, without the `Upgrade`. If its body
 * has been read already, it is served like a handshake that failed: once, and then the connection ends.
 * @param waitMs time for the responses to earlier requests of the connection; after it the connection is
 *   destroyed. 0 = no limit
 */
export function continueAsHttp(
  server: UpgradeServer,
  req: IncomingMessage,
  head: Buffer,
  waitMs: number,
): void {
  const { socket } = req
  whenAnswered(socket, waitMs, () => {
    socket.unshift(Buffer.concat([headOf(req), head]))
    if (readRequests !== undefined) readRequests.call(server, socket)
    else server.emit('encrypted' in socket ? 'secureConnection' : 'connection', socket)
  })
}

/**
 * Calls back when all earlier requests of a connection are answered: Node assigns each response when the one
 * before has finished.
 */
function whenAnswered(socket: IncomingMessage['socket'], waitMs: number, callback: () => void): void {
  const responses = unfinished.get(socket) ?? new Set()
  const last = [...responses].at(-1)
  if (last === undefined) {
    callback()
    return
  }
  const onDrain = (): void => {
    for (const response of responses) if (response.socket === socket) response.emit('drain')
  }
  const timer = waitMs > 0 ? setTimeout(() => socket.destroy(), waitMs).unref() : undefined
  socket.on('error', ignore)
  socket.on('drain', onDrain)
  last.once('close', () => {
    clearTimeout(timer)
    socket.off('drain', onDrain)
    if (!socket.writable) return // the error may not have been emitted yet
    socket.off('error', ignore)
    callback()
  })
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

function ignore(): void {}
