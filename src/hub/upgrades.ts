import { channel } from 'node:diagnostics_channel'
import type { IncomingMessage } from 'node:http'
import { HubError } from '../base/errors.ts'
import { asError } from '../base/thrown.ts'
import { inContext } from '../connection/callback-context.ts'
import type { Connection } from '../connection/connection.ts'
import { checkHandler, type EventHandler } from '../connection/event-handler.ts'
import { checkWebSocket, type WebSocketLike } from '../connection/hub-websocket.ts'
import { transportOf } from '../connection/websocket-writable.ts'
import { CloseCode } from '../protocol/close-code.ts'
import type { UpgradeRequest } from '../protocol/handshake.ts'
import { Acceptor } from '../upgrade/acceptor.ts'
import { RequestPaths } from '../upgrade/request-paths.ts'
import { claimUpgrade, completeUpgrade, findUpgrade, UpgradeBridge } from '../upgrade/upgrade-bridge.ts'
import { UpgradeGate } from '../upgrade/upgrade-gate.ts'
import {
  type FrameworkInit,
  type RegisterInit,
  resolveRegisterInit,
  type UpgradeInit,
} from '../upgrade/upgrade-init.ts'
import { UpgradeResponse } from '../upgrade/upgrade-response.ts'
import type { UpgradeServer } from '../upgrade/upgrade-server.ts'
import type { Sessions } from './sessions.ts'
import { UpgradeTally } from './stats.ts'

const beganChannel = channel('wshub:upgrade:began')
const acceptedChannel = channel('wshub:upgrade:accepted')
const refusedChannel = channel('wshub:upgrade:refused')

/** The ways into a hub: upgrades, from the request to the session, and WebSockets opened elsewhere. */
export class Upgrades<Meta extends object> {
  readonly gate: UpgradeGate
  readonly tally = new UpgradeTally()
  readonly #hub: Connection<Meta>['hub']
  readonly #sessions: Sessions<Meta>
  readonly #bridge: UpgradeBridge
  readonly #acceptor: Acceptor
  readonly #paths = new RequestPaths()
  readonly #refusedRequests = new WeakSet<IncomingMessage>()

  /** @throws {HubError} WSHUB_ERR_INVALID_OPTION for a malformed address, origin or host */
  constructor(sessions: Sessions<Meta>) {
    const { hub, options } = sessions
    this.#hub = hub
    this.#sessions = sessions
    this.gate = new UpgradeGate(options, hub)
    this.#acceptor = new Acceptor(options)
    this.#bridge = new UpgradeBridge(options.limits, {
      enterPending: (req) => {
        if (beganChannel.hasSubscribers) beganChannel.publish({ hub: this.#hub, request: req })
        return this.gate.enterPending(req)
      },
      refused: (req, error) => this.#refused(req, error),
    })
  }

  /** Upgrades that are neither accepted nor answered yet. */
  get pendingCount(): number {
    return this.#bridge.pendingCount
  }

  /** Attaches a server; without one, all servers of this process. @returns a function that detaches again */
  attach(server: UpgradeServer | undefined): () => void {
    return server === undefined ? this.#bridge.discover() : this.#bridge.attach(server)
  }

  /**
   * Answers with 101 and opens the connection.
   * @returns a promise of the connection, once `onOpen` has settled
   * @throws {HubError} when the upgrade is refused
   */
  accept(
    request: UpgradeRequest,
    handler: EventHandler<Meta>,
    init: UpgradeInit<Meta>,
    framework: FrameworkInit,
  ): Promise<Connection<Meta>> {
    const req = request as IncomingMessage // one of `node:http2` has the members that it is refused by
    claimUpgrade(req)
    try {
      checkHandler(handler)
      return this.#accept(req, handler, init, framework)
    } catch (thrown) {
      const error = asError(thrown, 'the init or handler of an upgrade')
      if (!(error instanceof HubError) || error.status === 500) throw error
      if (req.httpVersionMajor > 1) error.dropConnectionHeaders()
      this.#refused(req, error)
      throw error
    }
  }

  #accept(
    req: IncomingMessage,
    handler: EventHandler<Meta>,
    init: UpgradeInit<Meta>,
    framework: FrameworkInit,
  ): Promise<Connection<Meta>> {
    const { init: resolved, remoteAddress } = this.gate.admit(req, init, framework)
    const pending = findUpgrade(req)
    const contextual = inContext(handler, this.#sessions.options.callbackContext, req)
    return this.#acceptor.accept(pending, resolved, ({ ws, windowBits, keepsContext, gate, isQuiet }) => {
      completeUpgrade(pending)
      const { client, server } = pending
      const transport = {
        ws,
        socket: client.socket,
        windowBits,
        keepsContext,
        gate,
        remoteAddress,
        path: this.#paths.of(pending.url),
        server: server.listening ? server : undefined,
      }
      const session = this.#sessions.add(transport, contextual, resolved)
      pending.onResponseUsed = (error) => {
        if (session.state !== 'closed')
          session.failed(asError(error ?? answeredTwice(), 'the route'), 'the route')
      }
      this.tally.countAccepted()
      const { connection } = session
      if (acceptedChannel.hasSubscribers) {
        acceptedChannel.publish({ hub: this.#hub, request: req, connection })
      }
      const opened = session.open(isQuiet)
      UpgradeResponse.finish(pending.response) // runs middleware that waits for the end of the response
      return opened
    })
  }

  /** Makes a connection of a WebSocket that was opened elsewhere. @see Hub.register */
  register(socket: WebSocketLike, handler: EventHandler<Meta>, init: RegisterInit<Meta>): Connection<Meta> {
    checkHandler(handler)
    this.gate.checkOpen()
    this.gate.checkNotFull()
    const resolved = resolveRegisterInit(init, this.#sessions.options.limits.maxMetadataEntries)
    checkWebSocket(socket)
    const contextual = inContext(handler, this.#sessions.options.callbackContext, undefined)
    const session = this.#sessions.add(transportOf(socket, resolved.remoteAddress), contextual, resolved)
    void session.open()
    return session.connection
  }

  /** Closes the connections of servers that have stopped listening. */
  leaveClosingServers(): void {
    for (const server of this.#bridge.closingServers()) {
      for (const session of this.#sessions) {
        if (session.server !== server) continue
        session.leave(CloseCode.goingAway, '', this.#sessions.options.closeTimeoutMs)
      }
    }
  }

  /** Refuses further upgrades: the hub is closing. */
  refuseAll(): void {
    this.#bridge.leave()
  }

  /** Ends pending upgrades and detaches from everything. */
  close(): void {
    this.#bridge.close()
    this.#acceptor.close()
  }

  /** Counts a request once: its client may not read the refusal, which is then cut off at the deadline. */
  #refused(request: IncomingMessage, error: HubError): void {
    if (this.#refusedRequests.has(request)) return
    this.#refusedRequests.add(request)
    this.tally.countRefused(error.code)
    if (refusedChannel.hasSubscribers) refusedChannel.publish({ hub: this.#hub, request, error })
  }
}

function answeredTwice(): HubError {
  return new HubError(
    'WSHUB_ERR_ALREADY_UPGRADED',
    'the request was answered again after its 101, most likely because of an error in its route',
  )
}
