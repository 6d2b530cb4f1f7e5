import type { IncomingMessage } from 'node:http'
import { type WebSocket, WebSocketServer } from 'ws'
import { DEFLATE_PARAMETERS, negotiatedWindowBits } from './deflate.ts'
import { HubError } from './errors.ts'
import { extraHeaderLines, type HandshakeInit } from './handshake.ts'
import type { ResolvedHubOptions } from './options.ts'
import type { PendingUpgrade } from './upgrade.ts'
import { HubWebSocket } from './websocket-events.ts'

/** A WebSocket whose 101 has just been written. */
export interface AcceptedUpgrade {
  readonly ws: WebSocket
  /** Window of outgoing compressed messages in bits, 0 when compression was not negotiated. */
  readonly windowBits: number
}

/** Writes the 101: negotiates subprotocol and compression, and adds the headers of the route. */
export class Acceptor {
  readonly #wss: WebSocketServer
  readonly #protocols: readonly string[]
  // The handshake that is being written. handleUpgrade is synchronous, so there is never more than one.
  #extraLines: readonly string[] = []
  #protocol: string | undefined
  #windowBits = 0
  #refusal: Error | undefined

  constructor(options: Pick<ResolvedHubOptions, 'maxMessageSize' | 'enableCompression' | 'protocols'>) {
    this.#protocols = options.protocols
    this.#wss = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      WebSocket: HubWebSocket,
      maxPayload: options.maxMessageSize,
      perMessageDeflate: options.enableCompression ? DEFLATE_PARAMETERS : false,
      handleProtocols: (offered) => this.#selectProtocol(offered),
    })
    this.#wss.on('headers', (lines) => {
      this.#windowBits = negotiatedWindowBits(lines)
      lines.push(...this.#extraLines)
    })
    this.#wss.on('wsClientError', (error) => {
      this.#refusal = error
    })
  }

  /**
   * Accepts an upgrade. `accepted` is called in the same tick as the 101 is written, so that it loses no byte.
   * @throws {HubError} WSHUB_ERR_INVALID_HEADER, WSHUB_ERR_BAD_HANDSHAKE or WSHUB_ERR_SOCKET_CLOSED; nothing is written then
   */
  accept<Result>(
    req: IncomingMessage,
    pending: PendingUpgrade,
    init: HandshakeInit,
    accepted: (upgrade: AcceptedUpgrade) => Result,
  ): Result {
    this.#extraLines = extraHeaderLines(pending.response.getHeaders(), init.headers)
    this.#protocol = init.protocol
    const results: Result[] = []
    this.#wss.handleUpgrade(asPlainUpgrade(req), pending.socket, pending.head, (ws) => {
      results.push(accepted({ ws, windowBits: this.#windowBits }))
    })
    for (const result of results) return result
    throw this.#takeRefusal()
  }

  close(): void {
    this.#wss.close()
  }

  #selectProtocol(offered: ReadonlySet<string>): string | false {
    const chosen = this.#protocol ?? this.#protocols.find((protocol) => offered.has(protocol))
    return chosen !== undefined && offered.has(chosen) ? chosen : false
  }

  /** Why `ws` has not called back: it found a flaw that only it looks for, or the socket half closed. */
  #takeRefusal(): HubError {
    const cause = this.#refusal
    if (cause === undefined) return new HubError('WSHUB_ERR_SOCKET_CLOSED', 'the client has gone')
    this.#refusal = undefined
    return new HubError('WSHUB_ERR_BAD_HANDSHAKE', cause.message, { cause })
  }
}

/** `ws` takes a bare `Upgrade: websocket` only, where RFC 6455 §4.2.1 allows a list that contains it. */
function asPlainUpgrade(req: IncomingMessage): IncomingMessage {
  if (!req.headers.upgrade?.includes(',')) return req
  return Object.create(req, { headers: { value: { ...req.headers, upgrade: 'websocket' } } })
}
