import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { UpgradeServer } from './upgrade-server.ts'

// An association, not state: the unfinished responses of a connection, in the order of their requests. It is
// empty between requests: a socket lives longer than they do, and must not keep the application's data about
// them.
const unfinished = new WeakMap<Duplex, Set<ServerResponse>>()

/** A `request` listener that records the unfinished responses of a connection. */
export function noteResponse({ socket }: IncomingMessage, response: ServerResponse): void {
  const responses = unfinished.get(socket)
  if (responses?.has(response)) return // listeners that wrap others may call this one twice
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
 * Calls back when all earlier requests of a connection are answered, perhaps at once: Node assigns each
 * response when the one before is done. Never, where the connection ends first.
 * @param waitMs how long that may take; then the socket is destroyed. 0 = no limit
 */
export function whenAnswered(
  server: UpgradeServer,
  socket: IncomingMessage['socket'],
  waitMs: number,
  callback: () => void,
): void {
  const responses = unfinished.get(socket)
  const last = [...(responses ?? [])].at(-1)
  if (responses === undefined || last === undefined) {
    callback()
    return
  }
  const onDrain = (): void => {
    for (const response of responses) if (response.socket === socket) response.emit('drain')
  }
  const timer = waitMs > 0 ? setTimeout(() => socket.destroy(), waitMs).unref() : undefined
  socket.on('error', ignore)
  socket.on('drain', onDrain) // Node has taken its own listeners off
  last.once('close', () => {
    clearTimeout(timer)
    socket.off('drain', onDrain)
    if (!socket.writable) return // the error may not have been emitted yet
    socket.off('error', ignore)
    // Node has started the time that a connection without a request is kept: for it the upgrade is none.
    socket.setTimeout('timeout' in server ? server.timeout : 0)
    callback()
  })
}

function ignore(): void {}
