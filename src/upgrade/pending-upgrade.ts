import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import type { Socket } from 'node:net'
import type { HubError } from '../base/errors.ts'
import type { HeldRefusal } from './held-refusal.ts'
import { type ClientEvents, UpgradeClient } from './upgrade-client.ts'
import { type ResponseOwner, ResponseState, UpgradeResponse } from './upgrade-response.ts'
import type { UpgradeServer } from './upgrade-server.ts'

/** Keeps the upgrades that are not settled in the tick of their event. */
export interface UpgradeKeeper {
  /** The upgrade waits for the application. */
  waiting(pending: PendingUpgrade): void
  /**
   * The upgrade is accepted, answered in full or abandoned, or its client has disconnected. Called once.
   * @param isWaiting whether {@link UpgradeKeeper.waiting} was called
   */
  settled(pending: PendingUpgrade, isWaiting: boolean): void
}

/** An upgrade between the `upgrade` event and the 101 or the end of an ordinary answer. */
export class PendingUpgrade implements ResponseOwner {
  readonly req: IncomingMessage
  readonly client: UpgradeClient
  /** The URL of the request: frameworks change `req.url`. */
  readonly url: string
  /** The response for the request listeners; nothing of it reaches the client before {@link claim}. */
  readonly response: UpgradeResponse
  readonly server: UpgradeServer
  /** Whether the server was listening; a server that requests are injected into never is. */
  readonly wasListening: boolean
  /** The answers of other `upgrade` listeners in the tick of the event; `undefined` if there are none. */
  readonly others: HeldRefusal | undefined
  /** Called when the response is not held back any more: the upgrade is claimed, abandoned or accepted. */
  onUnheld: () => void = nothing
  /** Is told of the rest of the life of this upgrade. */
  keeper: UpgradeKeeper | undefined
  /** Ends the counting against the address of the client. */
  uncount: () => void = nothing
  /**
   * Called once if the application answers after the 101, or destroys the response, perhaps with an error.
   */
  onResponseUsed: (error: unknown) => void = nothing
  readonly #responseState = new ResponseState(this)
  #isSettled = false
  #isWatched = false

  constructor(
    req: IncomingMessage,
    head: Buffer,
    server: UpgradeServer,
    wasListening: boolean,
    others: HeldRefusal | undefined,
  ) {
    this.req = req
    this.url = req.url ?? ''
    this.server = server
    this.wasListening = wasListening
    this.others = others
    this.response = new UpgradeResponse(req, this.#responseState)
    this.client = new UpgradeClient(req.socket, head)
  }

  /**
   * Watches the client and the response, unless the upgrade is settled already: most are in the tick of their
   * event, and no event of a stream comes before its end. To be called in that tick.
   */
  watch(): void {
    if (this.#isSettled) return
    this.#isWatched = true
    this.keeper?.waiting(this)
    this.response.once('finish', this.#answered)
    this.client.watch(this.#clientEvents())
  }

  /**
   * Whether an answer has begun, by another `upgrade` listener or by the response, or the client has
   * disconnected.
   */
  get isTaken(): boolean {
    const { client, response } = this
    if (this.others?.isSwitched === true || client.isGone) return true
    // A response may have written informational answers, such as Early Hints, before its own.
    return client.isAnswered && (this.isHeld || response.headersSent)
  }

  /** Whether the response must not reach the client yet, since the request may be another listener's. */
  get isHeld(): boolean {
    return this.response.socket === null
  }

  /** Lets the response reach the client, unless another listener has begun to answer. */
  claim(): void {
    this.onUnheld()
    if (!this.isHeld) return
    if (this.isTaken) {
      this.abandon()
      return
    }
    try {
      this.response.assignSocket(this.client.socket as Socket) // typed for TCP, but any duplex works
    } catch {
      // An earlier response is still being written that is not known here: the server was attached after its
      // request.
      this.client.socket.destroy()
    }
  }

  /**
   * Runs what middleware does while the head of a response is written, which may throw.
   * @returns the headers for the 101
   */
  collectHead(): OutgoingHttpHeaders {
    // Here, and not in the hub that accepts: it may be of another copy of the package.
    return UpgradeResponse.collectHead(this.response, this.#responseState, 101)
  }

  /** Takes the socket from its response: from now on it carries WebSocket frames. */
  accept(): void {
    this.#detach()
    this.#release()
    UpgradeResponse.seal(this.response, this.#responseState)
  }

  /**
   * Ends the upgrade with an error; an answer that has begun is cut off. The application may keep writing to
   * the response; none of that is sent.
   * @returns `false` when no answer can be sent any more
   */
  refuse(error: HubError): boolean {
    this.claim() // like any answer: not if others have taken the socket, or an earlier response still has it
    if (this.isHeld || this.client.socket.destroyed) return false
    if (this.response.headersSent) {
      this.client.socket.destroy()
      return true
    }
    this.#detach()
    this.#release()
    UpgradeResponse.discard(this.response, this.#responseState)
    this.response.emit('close')
    this.client.refuse(error)
    return true
  }

  /** Leaves the socket to the listener that has taken it. */
  abandon(): void {
    this.#release()
    UpgradeResponse.discard(this.response, this.#responseState)
  }

  readonly #answered = (): void => {
    this.#settle()
    this.client.end()
  }

  #clientEvents(): ClientEvents {
    return {
      // As Node does for a request that was not upgraded: data already written is still sent, and 'close'
      // follows.
      ended: () => {
        if (this.isHeld && this.isTaken) this.abandon()
        else this.client.socket.end()
      },
      closed: () => {
        this.#release()
        if (this.response.writableFinished) return
        // As Node does for a request that was not upgraded: event streams listen for it in order to stop.
        this.req.destroy(Object.assign(new Error('aborted'), { code: 'ECONNRESET' }))
        if (!this.isHeld) return // the response has its own listener
        UpgradeResponse.discard(this.response, this.#responseState)
        this.response.emit('close')
      },
      drained: () => {
        if (!this.isHeld && !this.response.writableEnded) this.response.emit('drain')
      },
      timedOut: () => {
        if (this.isHeld) return
        const { socket } = this.client
        const ofResponse = this.response.emit('timeout', socket)
        const ofServer = this.server.emit('timeout', socket)
        if (!ofResponse && !ofServer) socket.destroy()
      },
    }
  }

  responseUsed(error: unknown): void {
    this.onResponseUsed(error)
  }

  get needsDrain(): boolean {
    const { response } = this
    if (response.destroyed || response.writableEnded) return false
    if (!this.isHeld) return this.client.socket.writableNeedDrain
    return response.writableLength >= response.writableHighWaterMark
  }

  #detach(): void {
    const { socket } = this.client
    if (!this.isHeld) this.response.detachSocket(socket as Socket) // typed for TCP, but any duplex works
  }

  /** Removes all listeners: the socket has a new owner. */
  #release(): void {
    this.onUnheld()
    this.#settle()
    if (this.#isWatched) this.response.off('finish', this.#answered)
    this.client.release()
  }

  #settle(): void {
    if (this.#isSettled) return
    this.#isSettled = true
    this.uncount()
    this.keeper?.settled(this, this.#isWatched)
  }
}

function nothing(): void {}
