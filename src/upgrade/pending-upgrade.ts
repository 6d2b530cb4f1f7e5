import { type IncomingMessage, type OutgoingHttpHeaders, ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { HubError } from '../base/errors.ts'
import { HeadHooks } from './head-hooks.ts'
import type { HeldRefusal } from './held-refusal.ts'
import { sealResponse } from './sealed-response.ts'
import type { UpgradeServer } from './upgrade-server.ts'

/** The most characters of a path that are kept. */
const MAX_PATH = 200

/**
 * The most bytes that are read from a client which writes before it is answered; twice as many may be held.
 */
const MAX_EARLY_BYTES = 65_536

/**
 * The socket of a request. A duplex stream that was injected into the server may lack the optional members.
 */
export type UpgradeSocket = Duplex &
  Partial<Pick<Socket, 'remoteAddress' | 'bytesRead' | 'bytesWritten' | 'destroySoon'>>

/** An upgrade between the `upgrade` event and the 101 or the end of an ordinary answer. */
export class PendingUpgrade {
  readonly req: IncomingMessage
  readonly socket: UpgradeSocket
  /** The path of the request, without its query, which may contain a secret. Frameworks change `req.url`. */
  readonly path: string
  /** The response for the request listeners; nothing of it reaches the client before {@link claim}. */
  readonly response: ServerResponse
  readonly server: UpgradeServer
  /** Whether the server was listening; a server that requests are injected into never is. */
  readonly wasListening: boolean
  /** The answers of other `upgrade` listeners in the tick of the event; `undefined` if there are none. */
  readonly others: HeldRefusal | undefined
  /**
   * Called once, when the upgrade is accepted, answered in full or abandoned, or its client has disconnected.
   */
  onSettled = (): void => {}
  /**
   * Called once if the application answers after the 101, or destroys the response, perhaps with an error.
   */
  onResponseUsed = (_error: unknown): void => {}
  /** The bytes that earlier responses on the same TCP connection had written. */
  readonly #bytesWrittenBefore: number
  #holdTimer: NodeJS.Timeout | undefined
  #head: Buffer
  readonly #headHooks: HeadHooks
  #isSettled = false

  constructor(
    req: IncomingMessage,
    head: Buffer,
    server: UpgradeServer,
    wasListening: boolean,
    others: HeldRefusal | undefined,
  ) {
    this.req = req
    this.socket = req.socket
    this.path = pathOf(req)
    this.#head = head
    this.server = server
    this.wasListening = wasListening
    this.others = others
    this.#bytesWrittenBefore = this.socket.bytesWritten ?? 0
    this.response = new ServerResponse(req)
    this.response.shouldKeepAlive = false
    this.response.once('finish', this.#answered)
    this.#headHooks = new HeadHooks(this.response)
    // Node sets this flag and clears it in its own listener, which it has removed; frameworks replace the
    // prototype.
    Object.defineProperty(this.response, 'writableNeedDrain', {
      configurable: true,
      get: () => this.#needsDrain(),
    })
    // From the first tick on: a reset of the connection during an async hook must not be an uncaught error.
    this.socket.on('error', ignore)
    this.socket.once('close', this.#closed)
    this.watchEnd()
    // Node has removed its own listeners. Without them, a response that is larger than the buffers would
    // stall.
    this.socket.on('drain', this.#drained)
    this.socket.on('timeout', this.#timedOut)
  }

  /** The bytes that the client sent after its request, as far as they were read from the socket. */
  get head(): Buffer {
    return this.#head
  }

  /** Whether another `upgrade` listener has taken the socket, or the client has disconnected. */
  get isTaken(): boolean {
    const { socket } = this
    if (socket.destroyed || !socket.writable || this.others?.isSwitched === true) return true
    return (socket.bytesWritten ?? 0) > this.#bytesWrittenBefore
  }

  /** Whether the response must not reach the client yet, since the request may be another listener's. */
  get isHeld(): boolean {
    return this.response.socket === null
  }

  /** Calls `look` at this interval, in ms, until the upgrade is claimed, abandoned or accepted. */
  hold(everyMs: number, look: () => void): void {
    this.#holdTimer = setInterval(look, everyMs).unref()
  }

  /** Lets the response reach the client, unless another listener has begun to answer. */
  claim(): void {
    clearInterval(this.#holdTimer)
    if (!this.isHeld) return
    if (this.isTaken) {
      this.abandon()
      return
    }
    try {
      this.response.assignSocket(this.socket as Socket) // typed for TCP, but any duplex works
    } catch {
      // An earlier response is still being written that is not known here: the server was attached after its
      // request.
      this.socket.destroy()
    }
  }

  /**
   * Reads what the client has sent in the meantime, because a socket reports its end only after all bytes are
   * read.
   */
  takeEarlyBytes(): void {
    if (this.isHeld || this.#head.length >= MAX_EARLY_BYTES) return
    const bytes: unknown = this.socket.read()
    if (bytes instanceof Buffer) this.#head = Buffer.concat([this.#head, bytes])
  }

  /**
   * Returns the headers of the response that are sent with the 101. Runs the hooks of middleware, which may
   * throw.
   */
  collectHeaders(): OutgoingHttpHeaders {
    this.#headHooks.run(101)
    return this.response.getHeaders()
  }

  /** Watches for a client that disconnects. */
  watchEnd(): void {
    this.socket.once('end', this.#ended)
  }

  /**
   * Stops watching, before `ws` adds its own listener: a list that had three listeners keeps room for twenty
   * when one is removed, which takes 144 bytes a connection (`npm run bench -- memory`).
   */
  unwatchEnd(): void {
    this.socket.off('end', this.#ended)
  }

  /** Takes the socket from its response: from now on it carries WebSocket frames. */
  accept(): void {
    this.#detach()
    this.#release()
    sealResponse(this.response, (error) => this.onResponseUsed(error))
  }

  /**
   * Tells the middleware that waits for the end of the response (access logs, cleanups) that it has ended
   * with the 101. Otherwise that middleware would keep the request for as long as the connection lives, and
   * take the end of the connection for an aborted response.
   */
  finishResponse(): void {
    this.response.statusCode = 101
    this.response.emit('finish')
    this.response.emit('close')
  }

  /**
   * Ends the upgrade with an error; an answer that has begun is cut off. The application may keep writing to
   * the response; none of that is sent.
   * @returns `false` when no answer can be sent any more
   */
  refuse(error: HubError): boolean {
    this.claim() // like any answer: not if others have taken the socket, or an earlier response still has it
    if (this.isHeld || this.socket.destroyed) return false
    if (this.response.headersSent) {
      this.socket.destroy()
      return true
    }
    this.#detach()
    this.#release()
    this.response.destroy()
    this.response.emit('close')
    this.socket.on('error', () => {}) // a separate listener, because a later release removes `ignore`
    const headers = Object.entries({
      ...error.headers,
      'Content-Type': 'text/plain; charset=utf-8',
      'Content-Length': Buffer.byteLength(error.message),
    }).map(([name, value]) => `${name}: ${value}\r\n`)
    const statusLine = `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}\r\n`
    this.socket.write(`${statusLine}${headers.join('')}\r\n${error.message}`)
    endSocket(this.socket)
    return true
  }

  /** Leaves the socket to the listener that has taken it. */
  abandon(): void {
    this.#release()
    this.response.destroy()
  }

  /** Leaves the request to the listener that refused it: its answer is sent instead of the response. */
  giveWay(): void {
    this.abandon()
    this.socket.on('error', ignore)
    this.others?.send()
  }

  readonly #answered = (): void => {
    this.#settle()
    endSocket(this.socket)
  }

  /**
   * Ends the socket of a client that has disconnected, as Node does for a request that was not upgraded: data
   * already written is still sent, and 'close' follows.
   */
  readonly #ended = (): void => {
    if (this.isHeld && this.isTaken) this.abandon()
    else this.socket.end()
  }

  readonly #closed = (): void => {
    this.#release()
    if (this.response.writableFinished) return
    // As Node does for a request that was not upgraded: event streams listen for it in order to stop.
    this.req.destroy(Object.assign(new Error('aborted'), { code: 'ECONNRESET' }))
    if (!this.isHeld) return // the response has its own listener
    this.response.destroy()
    this.response.emit('close')
  }

  readonly #drained = (): void => {
    if (!this.isHeld && !this.response.writableEnded) this.response.emit('drain')
  }

  readonly #timedOut = (): void => {
    if (this.isHeld) return
    const ofResponse = this.response.emit('timeout', this.socket)
    const ofServer = this.server.emit('timeout', this.socket)
    if (!ofResponse && !ofServer) this.socket.destroy()
  }

  #needsDrain(): boolean {
    const { response, socket } = this
    if (response.destroyed || response.writableEnded) return false
    return this.isHeld ? response.writableLength >= response.writableHighWaterMark : socket.writableNeedDrain
  }

  #detach(): void {
    if (!this.isHeld) this.response.detachSocket(this.socket as Socket) // typed for TCP, but any duplex works
  }

  /** Removes all listeners: the socket has a new owner. */
  #release(): void {
    clearInterval(this.#holdTimer)
    this.#settle()
    this.response.off('finish', this.#answered)
    this.socket.off('close', this.#closed)
    this.unwatchEnd()
    this.socket.off('drain', this.#drained)
    this.socket.off('timeout', this.#timedOut)
    // A socket that an earlier response has broken has yet to emit its error, which would have no other
    // listener.
    if (this.socket.writable) this.socket.off('error', ignore)
  }

  #settle(): void {
    if (this.#isSettled) return
    this.#isSettled = true
    this.onSettled()
  }
}

/** Copies a string, since a substring keeps the whole string in memory, and connections keep their paths. */
function pathOf({ url = '' }: IncomingMessage): string {
  const end = url.search(/[?#]/)
  return Buffer.from(url.slice(0, Math.min(end < 0 ? url.length : end, MAX_PATH))).toString()
}

function endSocket(socket: UpgradeSocket): void {
  socket.resume() // bytes that the client still sends are useless, but unread they would turn our answer into a reset
  if (socket.destroySoon !== undefined) socket.destroySoon()
  else socket.end(() => socket.destroy())
}

function ignore(): void {}
