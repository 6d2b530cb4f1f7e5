import type { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Server, WebSocketServer } from 'ws'
import { HubError } from '../base/errors.ts'
import { MAX_INT32 } from '../base/option-rules.ts'
import { HubWebSocket } from '../connection/hub-websocket.ts'
import { InflationGate } from '../connection/inflation-gate.ts'
import { extraHeaderLines, isBearer } from '../protocol/handshake.ts'
import { IncomingFrames } from '../protocol/incoming-frames.ts'
import {
  acceptableOffers,
  deflateParameters,
  mayKeepContext,
  mayOfferDeflate,
  negotiatedWindowBits,
} from '../protocol/permessage-deflate.ts'
import { isEncrypted } from './is-encrypted.ts'
import type { PendingUpgrade } from './pending-upgrade.ts'
import type { ResolvedInit } from './upgrade-init.ts'

/** A WebSocket whose 101 has just been written. */
export interface AcceptedUpgrade {
  readonly ws: HubWebSocket
  /** Window of outgoing compressed messages in bits, 0 when compression was not negotiated. */
  readonly windowBits: number
  /** Whether compressed messages may refer to those before them. */
  readonly keepsContext: boolean
  /** The stream that compressed messages pass through, if compression was negotiated. */
  readonly gate: InflationGate | undefined
  /** Whether no byte of the client can be read before the promises of this tick have settled. */
  readonly isQuiet: boolean
}

/** The options of a hub that an acceptor needs. */
export interface AcceptorOptions {
  readonly maxMessageSize: number
  readonly enableCompression: { readonly window: string } | false
  readonly protocols: readonly string[]
  readonly closeTimeoutMs: number
  readonly limits: { readonly maxFragments: number; readonly maxBufferedChunks: number }
}

/** Writes the 101: negotiates subprotocol and compression, and adds the headers of the route. */
export class Acceptor {
  readonly #wss: Server<typeof HubWebSocket>
  readonly #protocols: readonly string[]
  readonly #isCompressing: boolean
  // The handshake that is being written. handleUpgrade is synchronous, so there is never more than one.
  #extraLines: readonly string[] = []
  #protocol: string | undefined
  #windowBits = 0
  #keepsContext = false
  #refusal: Error | undefined

  constructor(options: AcceptorOptions) {
    this.#protocols = options.protocols
    const { enableCompression } = options
    this.#isCompressing = enableCompression !== false
    // A later deadline than that of the keepalive, which does not hold a stall of this process against the
    // client.
    const closeTimeout = Math.min(2 * options.closeTimeoutMs, MAX_INT32)
    this.#wss = new WebSocketServer({
      ...{ closeTimeout }, // the types of `ws` do not have it yet
      noServer: true,
      clientTracking: false,
      WebSocket: HubWebSocket,
      maxPayload: options.maxMessageSize,
      maxFragments: options.limits.maxFragments,
      maxBufferedChunks: options.limits.maxBufferedChunks,
      perMessageDeflate: enableCompression && deflateParameters(enableCompression.window === 'shared'),
      handleProtocols: (offered) => this.#selectProtocol(offered),
    })
    this.#wss.on('headers', (lines) => {
      if (this.#isCompressing) {
        this.#windowBits = negotiatedWindowBits(lines)
        this.#keepsContext = mayKeepContext(lines)
      }
      if (this.#extraLines.length > 0) lines.push(...this.#extraLines)
    })
    this.#wss.on('wsClientError', (error) => {
      this.#refusal = error
    })
  }

  /**
   * Accepts an upgrade. Calls `accepted` in the same tick in which the 101 is written, so that no byte is
   * lost; if it throws, the WebSocket is terminated.
   * @throws {HubError} WSHUB_ERR_INVALID_HEADER, WSHUB_ERR_BAD_HANDSHAKE or WSHUB_ERR_SOCKET_CLOSED; nothing
   *   is written then
   */
  accept<Result>(
    pending: PendingUpgrade,
    { protocol, headers }: Pick<ResolvedInit, 'protocol' | 'headers'>,
    accepted: (upgrade: AcceptedUpgrade) => Result,
  ): Result {
    const { client } = pending
    this.#extraLines = extraHeaderLines(pending.collectHead(), ...headers)
    this.#protocol = protocol
    const results: Result[] = []
    const req = asPlainUpgrade(pending.req, this.#isCompressing)
    const gate = this.#mayInflate(req, client.socket) ? new InflationGate(client.socket) : undefined
    const head = gate === undefined ? client.head : Buffer.alloc(0)
    client.unwatchEnd()
    this.#wss.handleUpgrade(req, gate ?? client.socket, head, (ws) => {
      if (this.#windowBits === 0) watchFrames(gate ?? client.socket, ws)
      try {
        const isQuiet = gate === undefined && head.length === 0 && isQuietSocket(client.socket)
        const windowBits = this.#windowBits
        results.push(accepted({ ws, windowBits, keepsContext: this.#keepsContext, gate, isQuiet }))
      } catch (error) {
        ws.on('error', () => {}) // otherwise an error without a listener could end the process
        ws.terminate()
        throw error
      }
      if (gate === undefined) return
      ws.gate = gate
      gate.start(client.head)
    })
    for (const result of results) return result
    client.watchEnd()
    throw this.#takeRefusal()
  }

  close(): void {
    this.#wss.close()
  }

  /** Returns whether the client offers compression. `ws` checks whether the socket is half-closed. */
  #mayInflate({ headers }: IncomingMessage, socket: Duplex): boolean {
    const isOffered = mayOfferDeflate(headers['sec-websocket-extensions'])
    return this.#isCompressing && isOffered && socket.readable && socket.writable
  }

  #selectProtocol(offered: ReadonlySet<string>): string | false {
    const known = this.#protocol === undefined ? this.#protocols : [this.#protocol]
    return known.find((protocol) => offered.has(protocol) && !isBearer(protocol)) ?? false
  }

  /**
   * Returns the reason why `ws` has not called back: a flaw that only `ws` checks for, or a half-closed
   * socket.
   */
  #takeRefusal(): HubError {
    const refusal = this.#refusal
    if (refusal === undefined) return new HubError('WSHUB_ERR_SOCKET_CLOSED', 'the client has disconnected')
    this.#refusal = undefined
    return new HubError('WSHUB_ERR_BAD_HANDSHAKE', refusal.message) // without a cause: loggers would add its stack
  }
}

/**
 * Returns whether the next bytes of a socket come with a later event of the system. TLS may have decrypted
 * more already, and other streams are read when they like.
 */
function isQuietSocket(socket: Duplex): boolean {
  return isPlainTcp(socket) && socket.readableLength === 0
}

function isPlainTcp(socket: Duplex): socket is Socket {
  return socket instanceof Socket && !isEncrypted(socket)
}

/**
 * Reads frames as they arrive, before `ws` does. Skipped with compression: `ws` may still be inflating
 * earlier messages, which must be answered first.
 */
function watchFrames(socket: WatchedSocket, ws: HubWebSocket): void {
  socket[WEBSOCKET] = ws
  socket.prependListener('data', readFrames) // before `ws`, which unmasks in place
}

/** A stream with a property of our own: a closure for each connection would take 100 bytes. */
type WatchedSocket = Duplex & { [WEBSOCKET]?: HubWebSocket }

const WEBSOCKET = Symbol('the WebSocket of a socket')

function readFrames(this: WatchedSocket, bytes: Buffer): void {
  const ws = this[WEBSOCKET]
  if (ws === undefined) return
  ws.incoming ??= new IncomingFrames()
  if (!ws.incoming.read(bytes)) process.nextTick(invalidText, this, ws) // after the rest of the packet
  if (ws.incoming.areClosed && isPlainTcp(this)) process.nextTick(hangUp, this, ws)
}

/**
 * Ends a connection that both sides have closed. `ws` waits for the client to end TCP as well, and then ends
 * two streams again, for which Node makes errors: together a tenth of the CPU time of a client that comes and
 * goes (`npm run bench -- connect`). After its close frame a client sends nothing but the answer to a ping,
 * which the system would answer with a reset.
 */
function hangUp(socket: Socket, ws: HubWebSocket): void {
  if (ws.readyState !== HubWebSocket.CLOSING || ws.listener?.isAwaitingPong !== false) return
  // What the system has taken, it sends before the FIN. `ws` ends the socket once its close frame is written,
  // in the next tick if it is the answer: before that, Node would make an error.
  if (socket.writableLength > 0) socket.destroySoon()
  else if (socket.writableEnded) socket.destroy()
  else process.nextTick(destroy, socket)
}

function destroy(socket: Socket): void {
  socket.destroy()
}

function invalidText(socket: Duplex, ws: HubWebSocket): void {
  ws.listener?.invalidText(() => socket.end())
}

/**
 * Returns the request in a form that `ws` accepts. `ws` expects `Upgrade: websocket` alone, although RFC 6455
 * §4.2.1 allows a list that contains it; and it refuses a request with a compression offer that RFC 7692 §7.1
 * tells it only to decline. The request itself, where that will do, as it does for browsers: V8 makes a shape
 * of its own for each object that becomes a prototype.
 */
function asPlainUpgrade(req: IncomingMessage, isCompressing: boolean): IncomingMessage {
  const { upgrade, 'sec-websocket-extensions': offers } = req.headers
  // Without compression, `ws` does not read the offers.
  const acceptable = isCompressing && offers !== undefined ? acceptableOffers(offers) : offers
  if (!upgrade?.includes(',') && acceptable === offers) return req
  const headers = { ...req.headers, upgrade: 'websocket' }
  if (offers !== undefined) headers['sec-websocket-extensions'] = acceptable
  return Object.create(req, { headers: { value: headers } })
}
