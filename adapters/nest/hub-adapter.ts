import { AsyncLocalStorage } from 'node:async_hooks'
import {
  HttpException,
  type INestApplication,
  type WebSocketAdapter,
  type WsMessageHandler,
} from '@nestjs/common'
import { type Observable, ReplaySubject } from 'rxjs'
import { type CloseOptions, type Connection, Hub, type Metadata, readCloseOptions } from 'wshub'
import { asRefusal } from '../refusal.ts'
import { declaredGateways } from './declared-gateways.ts'
import { type ConnectCallback, Gateway } from './gateway.ts'
import { guardHooks } from './gateway-hooks.ts'
import { type GatewayOptions, requestedPath, servedPath, upgradesByPath } from './gateway-options.ts'
import { GatewaySession, type SessionHost } from './gateway-session.ts'
import { guardUpgrade, type UpgradeOption } from './gateway-upgrade.ts'
import { type HubAdapterOptions, readClientLimits } from './hub-adapter-options.ts'
import { MessageFormat } from './message-format.ts'
import { type Exchange, mount } from './mount.ts'

/**
 * Serves the WebSocket gateways of a Nest application on a hub:
 * `app.useWebSocketAdapter(new HubAdapter(app))`. Closes the hub with the application.
 */
export class HubAdapter<Meta extends object = Metadata>
  implements WebSocketAdapter<Hub<Meta>, Connection<Meta>, GatewayOptions<Meta>>
{
  /** The hub that all gateways of the application share. */
  readonly hub: Hub<Meta>
  readonly #app: INestApplication
  readonly #upgrade: UpgradeOption<Meta>
  readonly #isShared: boolean
  readonly #close: CloseOptions | undefined
  readonly #host: SessionHost
  readonly #closing = new ReplaySubject<void>(1)
  readonly #gateways = new Map<string, Gateway<Meta>>()
  readonly #sessions = new WeakMap<Connection<Meta>, GatewaySession<Meta>>()
  #upgrades: ReadonlyMap<string, UpgradeOption<Meta>> | undefined
  #isMounted = false

  /**
   * @param app the application, before it listens
   * @throws {HubError} WSHUB_ERR_INVALID_OPTION or WSHUB_ERR_INVALID_CLOSE
   */
  constructor(app: INestApplication, options: HubAdapterOptions<Meta> = {}) {
    const { upgrade, parse, format, maxPendingMessages, maxStreams, close, ...ofHub } = options
    const limits = readClientLimits<Meta>({ upgrade, parse, format, maxPendingMessages, maxStreams })
    readCloseOptions(close) // throws now, not when the application is closed
    this.#isShared = options.hub !== undefined
    this.hub = Hub.from<Meta>(this.#isShared && close !== undefined ? Object.assign(ofHub, { close }) : ofHub) // refused
    this.#app = app
    this.#upgrade = upgrade
    this.#close = close
    this.#host = {
      limits,
      format: new MessageFormat(parse, format),
      closing: this.#closing,
      handled: new AsyncLocalStorage(),
    }
    const server = app.getHttpServer()
    server.once('close', this.hub.attach(server))
  }

  /** Returns the hub as Nest knows it for a path. @throws {HubError} WSHUB_ERR_INVALID_OPTION */
  create(_port: number, options: GatewayOptions<Meta> = {}): Hub<Meta> {
    this.#upgrades ??= this.#declare()
    const path = servedPath(options)
    let gateway = this.#gateways.get(path)
    if (gateway === undefined) {
      gateway = new Gateway(this.hub, guardUpgrade(this.#app, this.#upgrades.get(path) ?? this.#upgrade))
      this.#gateways.set(path, gateway)
    }
    return gateway.server
  }

  /** Calls back for each client of a path. */
  bindClientConnect(server: Hub<Meta>, callback: ConnectCallback): void {
    for (const gateway of this.#gateways.values()) {
      if (gateway.server === server) gateway.onConnect.push(callback)
    }
    if (this.#isMounted) return
    this.#isMounted = true
    mount(this.#app.getHttpAdapter(), (exchange) => this.#open(exchange))
  }

  /** Binds the handlers of one gateway to a connection. */
  bindMessageHandlers(
    connection: Connection<Meta>,
    handlers: readonly WsMessageHandler[],
    transform: (result: unknown) => Observable<unknown>,
  ): void {
    this.#sessions.get(connection)?.bindings.push({ handlers, transform })
  }

  /** Calls back with the close code and reason, such as `1001 going away`. */
  bindClientDisconnect(connection: Connection<Meta>, callback: (reason: string) => void): void {
    this.#sessions.get(connection)?.onDisconnect.push(callback)
  }

  /** Does nothing: {@link HubAdapter.dispose} closes the hub of all paths. */
  close(_server: Hub<Meta>): void {}

  /** Closes the hub, unless it is shared. Nest calls it before the server closes. */
  async dispose(): Promise<void> {
    this.#closing.next()
    if (!this.#isShared) await this.hub.close(this.#close)
  }

  #declare(): ReadonlyMap<string, UpgradeOption<Meta>> {
    const gateways = declaredGateways<Meta>(this.#app)
    const upgrades = upgradesByPath(gateways)
    for (const gateway of gateways) guardHooks(gateway, this.#sessions)
    return upgrades
  }

  /** Opens a connection if a request is for a gateway. */
  #open(exchange: Exchange): Promise<void> | undefined {
    const { request } = exchange
    if (request.headers.upgrade === undefined) return undefined
    const gateway = this.#gateways.get(requestedPath(request.url))
    if (gateway === undefined || gateway.onConnect.length === 0) return undefined
    return this.#upgradeTo(gateway, exchange)
  }

  async #upgradeTo(gateway: Gateway<Meta>, { request, response, raw, getHeaders }: Exchange): Promise<void> {
    const init = await gateway.upgrade(request, response)
    const session = new GatewaySession<Meta>(this.#host, (connection) => {
      this.#sessions.set(connection, session)
      for (const callback of gateway.onConnect) callback(connection, request)
    })
    try {
      this.hub.upgrade(raw, session, init, {
        // Getters: the hub, not this adapter, calls user code, here the framework's trust function.
        get remoteAddress() {
          return request.ip
        },
        get isSecure() {
          return request.protocol === 'https'
        },
        headers: getHeaders?.() ?? {},
      })
    } catch (error) {
      throw asException(error, (name, value) => this.#app.getHttpAdapter().setHeader(response, name, value))
    }
  }
}

/** Returns a refusal of the hub as Nest's exception, which filters know and which is not logged as a bug. */
function asException(error: unknown, setHeader: (name: string, value: string) => void): unknown {
  const refusal = asRefusal(error)
  if (refusal === undefined) return error
  const { message, status, headers } = refusal
  for (const [name, value] of Object.entries(headers)) setHeader(name, value)
  return new HttpException(message, status, { cause: error })
}
