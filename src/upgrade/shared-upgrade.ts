import type { ServerResponse } from 'node:http'
import type { HubError } from '../base/errors.ts'
import type { HeldRefusal } from './held-refusal.ts'
import type { PendingUpgrade } from './pending-upgrade.ts'

/**
 * If a server has other `upgrade` listeners (Socket.IO, Vite's HMR, a proxy), one of them may be about to
 * answer a request that no route of ours accepts. So our plain answer is held back. The time, in ms, is short
 * for an answer about the client's identity (401, 403), because Socket.IO ends foreign requests after 1,000
 * ms. It is longer for an answer that may only mean that the request is not ours, such as a 404. It is long
 * if there is a sign that another listener is working on the request: it listens to the socket, as a proxy
 * does, or the answer is a 400, which may be that of Socket.IO's own request listener.
 */
const HOLD_MS = 500
const QUIET_HOLD_MS = 3_000
const LONG_HOLD_MS = 30_000

/** The interval, in ms, of checks for our answer when another listener has already refused the request. */
const REFUSED_LOOK_MS = 25

/** The bridge that a shared upgrade came through. */
export interface HoldingBridge {
  /** Holds an answer back. */
  hold(pending: PendingUpgrade): void
  /** Sends an answer. */
  send(pending: PendingUpgrade): void
  /** Answers with an error. */
  refuse(pending: PendingUpgrade, error: HubError): void
}

/**
 * Gives the request to the other listeners first, since most of them take their own requests at once, and
 * then to our routes.
 */
export function shareUpgrade(
  bridge: HoldingBridge,
  pending: PendingUpgrade,
  others: HeldRefusal,
  refusal: HubError | undefined,
): void {
  const { req, response, server } = pending
  setImmediate(() => {
    if (pending.isTaken) {
      pending.abandon()
      return
    }
    if (refusal !== undefined) {
      // It may still be theirs, so they have as much time as for a 401.
      lookAgain(pending, HOLD_MS, () => bridge.refuse(pending, refusal))
      return
    }
    const isQuiet = others.addedListeners <= pending.client.ownListeners // before any route adds one
    const everyMs = others.isRefused ? REFUSED_LOOK_MS : HOLD_MS
    let heldMs = 0
    lookAgain(pending, everyMs, () => {
      heldMs += everyMs
      if (pending.isTaken) {
        pending.abandon()
        return
      }
      const holdMs = isQuiet && response.statusCode !== 400 ? QUIET_HOLD_MS : LONG_HOLD_MS
      const isOver = !server.listening || heldMs >= (response.headersSent ? holdMs : LONG_HOLD_MS)
      if (!response.headersSent && !isOver) return
      if (isAboutClient(response)) bridge.send(pending)
      else if (others.isRefused) giveWay(pending)
      else if (isOver) bridge.send(pending)
      else bridge.hold(pending)
    })
    server.emit('request', req, response)
  })
}

/** Leaves a request to the listener that has refused it: its answer is sent instead of the response. */
export function giveWay(pending: PendingUpgrade): void {
  pending.abandon()
  pending.client.socket.on('error', () => {}) // nobody else listens once it is abandoned
  pending.others?.send()
}

/** Looks at this interval, in ms, whether an answer can be sent, as long as it is held back. */
function lookAgain(pending: PendingUpgrade, everyMs: number, look: () => void): void {
  const timer = setInterval(look, everyMs).unref()
  pending.onUnheld = () => clearInterval(timer)
}

/**
 * Returns whether an answer is about the client's identity. Such an answer comes from a hook of ours, and
 * does not mean that the request is not ours.
 */
function isAboutClient({ headersSent, statusCode }: ServerResponse): boolean {
  return headersSent && (statusCode === 401 || statusCode === 403)
}
