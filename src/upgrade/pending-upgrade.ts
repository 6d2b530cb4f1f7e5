import { type IncomingMessage, type OutgoingHttpHeaders, ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { HubError } from '../base/errors.ts'
import { HeadHooks } from './head-hooks.ts'
import { HeldRefusal } from './held-refusal.ts'
import { sealResponse } from './sealed-response.ts'
import type { UpgradeServer } from './upgrade-server.ts'

/** Most characters of a path that are kept. */
const MAX_PATH = 200

/** Most bytes that are taken from a client which writes before it is answered; twice as many may be held. */
const MAX_EARLY_BYTES = 65_536

/**
 * The socket of a request. A duplex stream that was injected into the server may lack what is optional here.
 */
export type UpgradeSocket = Duplex &
  Partial<Pick<Socket, 'remoteAddress' | 'bytesRead' | 'bytesWritten' | 'destroySoon'>>

/** An upgrade between the `upgrade` event and the 101 or the end of an ordinary answer. */
export class PendingUpgrade {
  readonly req: IncomingMessage
  readonly socket: UpgradeSocket
  /**
   * The path that the client asked for, without its query, which may hold a secret. Frameworks change
   * `req.url`.
   */
  readonly path: string
  /** The response that the request listeners get; nothing of it reaches the client before {@link claim}. */
  readonly response: ServerResponse
  readonly server: UpgradeServer
  /** Whether the server was listening: one that requests are injected into never does. */
  readonly wasListening: boolean
  /** Called once, when the upgrade is accepted, answered in full, abandoned, or its client is gone. */
  onSettled = (): void => {}
  /**
   * Called once when the application answers behind the 101 all the same, or destroys the response, perhaps
   * with an error.
   */
  onResponseUsed = (_error: unknown): void => {}
  /** Bytes that earlier responses on the same TCP connection had written. */
  readonly #bytesWrittenBefore: number
  #refusalOfOthers: HeldRefusal | undefined
  #holdTimer: NodeJS.Timeout | undefined
  #head: Buffer
  readonly #headHooks: HeadHooks
  #isSettled = false

  constructor(req: IncomingMessage, head: Buffer, server: UpgradeServer) {
    this.req = req
    this.socket = req.socket
    this.path = pathOf(req)
    this.#head = head
    this.server = server
    this.wasListening = server.listening
    this.#bytesWrittenBefore = this.socket.bytesWritten ?? 0
    this.response = new ServerResponse(req)
    this.response.shouldKeepAlive = false
    this.response.once('finish', this.#answered)
    this.#headHooks = new HeadHooks(this.response)
    // Node sets the flag and clears it in its own listener, which it took off; frameworks replace the
    // prototype.
    Object.defineProperty(this.response, 'writableNeedDrain', {
      configurable: true,
      get: () => this.#needsDrain(),
    })
    // From the first tick on: a reset of the connection while an async hook runs must not be an uncaught
    // error.
    this.socket.on('error', ignore)
    this.socket.once('close', this.#closed)
    this.socket.once('end', this.#ended)
    // Node has taken its own listeners off, without which a response that is larger than the buffers would
    // stop.
    this.socket.on('drain', this.#drained)
    this.socket.on('timeout', this.#timedOut)
  }

  /** Bytes that the client sent behind its request, as far as they are taken from the socket. */
  get head(): Buffer {
    return this.#head
  }

  /** Whether an `upgrade` listener besides ours has taken the socket, or the client has disconnected. */
  get isTaken(): boolean {
    const { socket } = this
    return socket.destroyed || !socket.writable || (socket.bytesWritten ?? 0) > this.#bytesWrittenBefore
  }

  /** Whether nothing of the response may reach the client yet: the request may be another listener's. */
  get isHeld(): boolean {
    return this.response.socket === null
  }

  /** Holds back what the other `upgrade` listeners answer in this tick, unless they accept. */
  holdOthers(): void {
    this.#refusalOfOthers = new HeldRefusal(this.socket)
  }

  /** Whether another listener has refused the request, for which it would have ended the connection. */
  get isRefusedByOthers(): boolean {
    return this.#refusalOfOthers?.isRefused ?? false
  }

  /** Runs `look` every so many ms until the upgrade is claimed, abandoned or accepted. */
  hold(everyMs: number, look: () => void): void {
    this.#holdTimer = setInterval(look, everyMs).unref()
  }

  /** Lets the response reach the client, unless somebody else has begun to talk to it. */
  claim(): void {
    clearInterval(this.#holdTimer)
    if (!this.isHeld) return
    if (this.isTaken) {
      this.abandon()
      return
    }
    try {
      this.response.assignSocket(this.socket as Socket) // typed for TCP; any duplex will do
    } catch {
      // An earlier response is still being written: the handshake was pipelined behind it, which no client
      // may do.
      this.socket.destroy()
    }
  }

  /**
   * Takes what the client has sent in the meantime: the socket tells its end only behind bytes that are read.
   */
  takeEarlyBytes(): void {
    if (this.isHeld || this.#head.length >= MAX_EARLY_BYTES) return
    const bytes: unknown = this.socket.read()
    if (bytes instanceof Buffer) this.#head = Buffer.concat([this.#head, bytes])
  }

  /** The headers of the response that travel with the 101. Runs the hooks of middleware, which may throw. */
  collectHeaders(): OutgoingHttpHeaders {
    this.#headHooks.run(101)
    return this.response.getHeaders()
  }

  /** Takes the socket from its response: from now on it speaks WebSocket. */
  accept(): void {
    this.#detach()
    this.#release()
    sealResponse(this.response, (error) => this.onResponseUsed(error))
  }

  /**
   * Tells the middleware that waits for the end of the response (access logs, cleanups) that the 101 was it.
   * Left waiting, it would hold on to the request for as long as the connection lives, and take its end for
   * an aborted response.
   */
  finishResponse(): void {
    this.response.statusCode = 101
    this.response.emit('finish')
    this.response.emit('close')
  }

  /**
   * Ends the upgrade with an error, whether or not an answer has begun: one that has is cut off. The
   * application may go on to write to the response; nothing of that is sent.
   * @returns `false` when there is nobody to answer
   */
  refuse(error: HubError): boolean {
    this.claim() // as any answer: not when others have taken the socket, or an earlier response still has it
    if (this.isHeld || this.socket.destroyed) return false
    if (this.response.headersSent) {
      this.socket.destroy()
      return true
    }
    this.#detach()
    this.#release()
    this.response.destroy()
    this.response.emit('close')
    this.socket.on('error', () => {}) // its own: a later release takes `ignore` away
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

  /** Leaves the socket to whoever has taken it. */
  abandon(): void {
    this.#release()
    this.response.destroy()
  }

  /** Leaves the request to the listener that refused it: its answer is sent in place of the response. */
  giveWay(): void {
    this.abandon()
    this.socket.on('error', ignore)
    this.#refusalOfOthers?.send()
  }

  readonly #answered = (): void => {
    this.#settle()
    endSocket(this.socket)
  }

  /**
   * Hangs up on a client that has hung up, as Node does for a request that was not upgraded: what is written
   * already still goes out, and 'close' follows.
   */
  readonly #ended = (): void => {
    if (this.isHeld && this.isTaken) this.abandon()
    else this.socket.end()
  }

  readonly #closed = (): void => {
    this.#release()
    if (this.response.writableFinished) return
    // As Node does for a request that was not upgraded: streams of events listen for it to stop.
    this.req.destroy(Object.assign(new Error('aborted'), { code: 'ECONNRESET' }))
    if (!this.isHeld) return // the response has a listener of its own
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
    if (!this.isHeld) this.response.detachSocket(this.socket as Socket) // typed for TCP; any duplex will do
  }

  /** Takes all listeners off: the socket has found its owner. */
  #release(): void {
    clearInterval(this.#holdTimer)
    this.#settle()
    this.response.off('finish', this.#answered)
    this.socket.off('close', this.#closed)
    this.socket.off('end', this.#ended)
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

/** A copy, since a part of a string keeps all of it in memory, and connections keep their paths. */
function pathOf({ url = '' }: IncomingMessage): string {
  const end = url.search(/[?#]/)
  return Buffer.from(url.slice(0, Math.min(end < 0 ? url.length : end, MAX_PATH))).toString()
}

function endSocket(socket: UpgradeSocket): void {
  socket.resume() // what the client still sends is of no use, but unread it would turn our answer into a reset
  if (socket.destroySoon !== undefined) socket.destroySoon()
  else socket.end(() => socket.destroy())
}

function ignore(): void {}
