import type { EventEmitter } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse, Http2Session, ServerHttp2Stream } from 'node:http2'
import type { Duplex } from 'node:stream'
import { Counts } from '../base/counts.ts'
import { HubError } from '../base/errors.ts'
import { PendingUpgrade } from './pending-upgrade.ts'
import { requestOf } from './stream-request.ts'
import { StreamSocket } from './stream-socket.ts'
import type { UpgradeCarrier, UpgradeTarget } from './upgrade-carrier.ts'
import { type Http2UpgradeServer, hasOtherListeners } from './upgrade-server.ts'

/**
 * The upgrades that come as streams of HTTP/2: each is an extended CONNECT.
 * @see RFC 8441
 */
export class StreamUpgrades implements UpgradeCarrier {
  readonly #server: Http2UpgradeServer
  /** The server: the overloads of the two types of servers have none in common. */
  readonly #events: EventEmitter
  readonly #target: UpgradeTarget
  /** The carrier of HTTP/1.1 beside this one. */
  readonly #sockets: { readonly isShared: boolean }
  /** The connections and pending upgrades of each session. */
  readonly #sessions = new Counts<Http2Session>()
  /** Sessions that were told by their settings whether extended CONNECTs are taken: no older ones. */
  readonly #told = new WeakSet<Http2Session>()
  #isAnnounced = false

  constructor(server: Http2UpgradeServer, target: UpgradeTarget, sockets: { readonly isShared: boolean }) {
    this.#server = server
    this.#events = server
    this.#target = target
    this.#sockets = sockets
  }

  listen(): void {
    this.#events.on('connect', this.#onConnect)
    // Before Node's own listeners, which send the settings.
    this.#events.prependListener('connection', this.#announce)
    this.#events.prependListener('secureConnection', this.#announce)
    this.#events.on('session', this.#onSession)
    this.#events.on('stream', this.#onStream)
    this.#announce()
  }

  unlisten(): void {
    this.#events.off('connect', this.#onConnect)
    this.#events.off('connection', this.#announce)
    this.#events.off('secureConnection', this.#announce)
    this.#events.off('session', this.#onSession)
    this.#events.off('stream', this.#onStream)
    this.#setAnnounced(false)
  }

  /** Has clients open no more streams in the sessions that still carry upgrades (GOAWAY). */
  goAway(): void {
    for (const session of this.#sessions.keys()) session.close()
  }

  /**
   * Announces extended CONNECTs to clients that connect from now on. Not beside another `upgrade` listener,
   * such as Socket.IO or Vite's HMR: browsers would send it CONNECTs instead of upgrades.
   */
  readonly #announce = (): void => {
    this.#setAnnounced(!this.#sockets.isShared && !this.#isShared)
  }

  #setAnnounced(isAnnounced: boolean): void {
    if (isAnnounced === this.#isAnnounced) return
    this.#isAnnounced = isAnnounced
    this.#server.updateSettings({ enableConnectProtocol: isAnnounced })
  }

  readonly #onSession = (session: Http2Session): void => {
    this.#told.add(session)
  }

  /**
   * Tells a session that is older than this carrier, with its next request: its first settings were sent
   * before the hub was attached.
   */
  readonly #onStream = ({ session }: ServerHttp2Stream): void => {
    if (session === undefined || session.closed || this.#told.has(session)) return
    this.#told.add(session)
    if (this.#isAnnounced) session.settings({ enableConnectProtocol: true })
  }

  /** Whether the server has `connect` listeners that are not ours. */
  get #isShared(): boolean {
    return hasOtherListeners(this.#events, 'connect', this.#onConnect)
  }

  readonly #onConnect = (
    req: Http2ServerRequest | IncomingMessage,
    response: Http2ServerResponse | Duplex,
  ): void => {
    if (!('stream' in req) || !('stream' in response)) {
      // With allowHTTP1, a CONNECT of HTTP/1.1 comes with its socket. Without this listener, Node closes it.
      if (!this.#isShared && 'destroy' in response) response.destroy()
      return
    }
    const { headers, rawHeaders } = req
    const { stream } = response
    const { first } = this.#target
    const { session } = stream
    if (first === undefined || this.#isShared || stream.headersSent || session === undefined) return
    const { ':protocol': protocol } = headers
    if (protocol !== 'websocket') {
      // Without this listener, Node answers a CONNECT with 405.
      stream.respond({ ':status': protocol === undefined ? 405 : 501 }, { endStream: true })
      return
    }
    const socket = new StreamSocket(stream, session.socket, 'sec-websocket-key' in headers)
    const upgrade = requestOf(headers, rawHeaders, socket)
    const server = this.#server
    const pending = new PendingUpgrade(upgrade, Buffer.alloc(0), server, server.listening, undefined)
    this.#target.lead(pending, this.#enter(stream, session, first.maxConnectionsPerSession))
  }

  /** Counts a stream until it is closed. @returns the reason for which it has to be refused instead */
  #enter(stream: ServerHttp2Stream, session: Http2Session, most: number): HubError | undefined {
    if (stream.endAfterHeaders) {
      return new HubError('WSHUB_ERR_BAD_HANDSHAKE', 'the client has ended the stream with its handshake')
    }
    if (this.#sessions.of(session) >= most) {
      return new HubError('WSHUB_ERR_TOO_MANY_CONNECTIONS', 'too many connections in this HTTP/2 session')
    }
    this.#sessions.add(session)
    stream.once('close', () => this.#left(session))
    return undefined
  }

  /** A stream has closed. GOAWAY follows the last goodbye: some clients, such as undici, end all at once. */
  #left(session: Http2Session): void {
    this.#sessions.remove(session)
    if (this.#target.isLeaving && this.#sessions.of(session) === 0) session.close()
  }
}
